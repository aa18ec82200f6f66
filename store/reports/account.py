"""The account of a delivery: what became of each of its records, as a sum that adds up or says that it does not.

received = in the target + replaced + superseded + duplicates + pending + skipped + the states of its letters
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from store import database, timestamps
from store.database.letters import STATES, dead_letters, letter_events, pruned_letters
from store.database.letters import actions as actions_table
from store.database.records import record_tables
from store.database.schema import SHIFT, batches, deliveries, lineage_events, past_lineage
from store.errors import SluiceError
from store.tables import batches as inbox
from store.tables.batches import AT_LOAD
from store.text import without_login

GONE = "letters_gone"  # of rejected records: `store check` says which
PARTS = ("in_target", "replaced", "superseded", "duplicates", "pending", "skipped", *STATES, GONE)
LATEST = 20


def accounts(
    connection: Connection, file: str | None = None, delivery: int | None = None
) -> list[dict[str, Any]]:
    """Of one delivery, of all deliveries of a file, or of the latest ones, newest first. Raises SluiceError."""
    rows = select(deliveries).order_by(deliveries.c.seq.desc())
    if delivery is not None:
        rows = rows.where(deliveries.c.seq == delivery)
    elif file is not None:
        rows = rows.where(deliveries.c.file == file)
    else:
        rows = rows.limit(LATEST)
    found = [_account(connection, database.as_dict(row)) for row in connection.execute(rows).mappings()]
    if not found and (delivery is not None or file is not None):
        which = f"delivery {delivery}" if delivery is not None else f"file {file!r}"
        raise _unknown(which)
    return found


def in_short(connection: Connection, delivery: int) -> dict[str, Any]:
    """The sum of a delivery by the counters of its batches: at once, and without what replaced its records since.

    Raises SluiceError for an unknown one.
    """
    row = connection.execute(select(deliveries).where(deliveries.c.seq == delivery)).mappings().first()
    if row is None:
        raise _unknown(f"delivery {delivery}")
    found = inbox.balance(connection, batches.c.delivery_seq == delivery)
    waits = max((row["records"] or 0) - found["received"], 0)
    names = ("kind", "source", "file")
    return {
        "delivery": delivery,
        **{name: row[name] for name in names},
        "started_at": timestamps.to_iso(row["started_at"]),
        "sent": row["records"],
        "not_processed": waits,
        **found,
    }


def _unknown(which: str) -> SluiceError:
    return SluiceError(f"{without_login(which)} is unknown: `store runs --detail` lists the deliveries")


def _account(connection: Connection, delivery: dict[str, Any]) -> dict[str, Any]:
    seq = delivery["seq"]
    of = batches.c.delivery_seq == seq
    sums = [func.coalesce(func.sum(batches.c[name]), 0) for name in ("received", "skipped")]
    received, skipped = (int(number) for number in connection.execute(select(*sums).where(of)).one())
    parts = dict.fromkeys(PARTS, 0) | {"skipped": skipped}
    tables = record_tables()
    parts["in_target"] = _count(connection, tables.target.c.lineage_id, seq)
    parts["pending"] = _count(connection, tables.staging.c.id, seq)
    for outcome, number in _of_past_lineage(connection, seq):
        name = AT_LOAD[outcome - 1]
        parts["replaced" if name in ("inserted", "updated") else name] += number
    for status, number in _of_letters(connection, seq):
        parts[status or GONE] += number
    sent = delivery["records"]
    waits = max((sent or 0) - received, 0)
    adds_up = sum(parts.values()) == received and not parts[GONE] and not waits
    return {
        "delivery": seq,
        "kind": delivery["kind"],
        "source": delivery["source"],
        "file": delivery["file"],
        "started_at": timestamps.to_iso(delivery["started_at"]),
        "sent": sent,
        "not_processed": waits,
        "received": received,
        **parts,
        "adds_up": adds_up,
        "beaten_by": _beaten_by(connection, seq),
        "discarded_because": _discarded_because(connection, seq) if parts["discarded"] else {},
    }


def _batch_of(id: ColumnElement[int]) -> ColumnElement[int]:
    return id.op(">>")(SHIFT)


def _count(connection: Connection, id: ColumnElement[int], delivery: int) -> int:
    joined = select(func.count()).where(batches.c.seq == _batch_of(id), batches.c.delivery_seq == delivery)
    return connection.execute(joined).scalar_one()


def _of_past_lineage(connection: Connection, delivery: int) -> Sequence[Any]:
    """(outcome, records) of those that are not in the target."""
    statement = select(past_lineage.c.outcome, func.count()).where(
        batches.c.seq == _batch_of(past_lineage.c.id), batches.c.delivery_seq == delivery
    )
    return connection.execute(statement.group_by(past_lineage.c.outcome)).all()


def _of_letters(connection: Connection, delivery: int) -> Sequence[Any]:
    """(state of the letter, or its last one where it was pruned; records); None where the letter is lost."""
    status = func.coalesce(dead_letters.c.status, _last(pruned_letters.c.status))
    statement = (
        select(status, func.count())
        .select_from(lineage_events)
        .join(batches, batches.c.seq == lineage_events.c.batch_seq)
        .outerjoin(dead_letters, dead_letters.c.id == lineage_events.c.dead_letter_id)
        .where(batches.c.delivery_seq == delivery, lineage_events.c.step == "reject")
    )
    return connection.execute(statement.group_by(status)).all()


def _last(column: ColumnElement[str]) -> Any:
    """Of the letter of an entry, as it was when it was pruned; null where it was not."""
    pruned = pruned_letters.c
    statement = select(column).where(pruned.id == lineage_events.c.dead_letter_id)
    return statement.order_by(pruned.pruned_at.desc(), pruned.group_id).limit(1).scalar_subquery()


def _beaten_by(connection: Connection, delivery: int) -> list[dict[str, Any]]:
    """Which deliveries hold what replaced or superseded its records, or what they repeat; the most records first."""
    own, other = batches.alias(), batches.alias()
    number = func.count()
    statement = (
        select(other.c.delivery_seq, other.c.file, number)
        .where(
            own.c.seq == _batch_of(past_lineage.c.id),
            own.c.delivery_seq == delivery,
            other.c.seq == _batch_of(past_lineage.c.beaten_by),
        )
        .group_by(other.c.delivery_seq, other.c.file)
        .order_by(number.desc(), other.c.delivery_seq)
    )
    rows = connection.execute(statement)
    return [{"delivery": seq, "file": file, "records": records} for seq, file, records in rows]


def _discarded_because(connection: Connection, delivery: int) -> dict[str, int]:
    """why -> discarded letters of its rejected records."""
    events = letter_events.alias()
    last = (
        select(func.max(events.c.seq))
        .where(events.c.letter_id == dead_letters.c.id, events.c.verb == "discard")
        .scalar_subquery()
    )
    statement = (
        select(actions_table.c.why, func.count(dead_letters.c.id.distinct()))
        .select_from(lineage_events)
        .join(batches, batches.c.seq == lineage_events.c.batch_seq)
        .join(dead_letters, dead_letters.c.id == lineage_events.c.dead_letter_id)
        .join(letter_events, letter_events.c.seq == last)
        .join(actions_table, actions_table.c.seq == letter_events.c.action_seq)
        .where(batches.c.delivery_seq == delivery, dead_letters.c.status == "discarded")
        .group_by(actions_table.c.why)
        .order_by(actions_table.c.why)
    )
    found = Counter({why: number for why, number in connection.execute(statement)})
    return dict(sorted((found + _pruned_because(connection, delivery)).items()))


def _pruned_because(connection: Connection, delivery: int) -> Counter[str]:
    """The same of letters that were pruned."""
    rows = (
        select(lineage_events.c.dead_letter_id, _last(pruned_letters.c.why))
        .join(batches, batches.c.seq == lineage_events.c.batch_seq)
        .outerjoin(dead_letters, dead_letters.c.id == lineage_events.c.dead_letter_id)
        .where(batches.c.delivery_seq == delivery, lineage_events.c.step == "reject")
        .where(dead_letters.c.id.is_(None), _last(pruned_letters.c.status) == "discarded")
    )
    return Counter(why or "" for _, why in connection.execute(rows.distinct()))

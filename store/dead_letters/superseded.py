"""Letters whose key, or line of a corrected file, has been loaded since: by a later delivery, whatever its payload.

By key: the store has a record of the letter's source and key that is a later version: of a later delivery, or later in
the same one. By line, for a letter without a key: see `by_line`.

And letters whose payload was accepted since, by the normal way: a batch closes them (`arrive`). Later is the order of
deliveries here too, not that of processing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, func, select, update

from store import database
from store.database.letters import OPEN, PARKED, RESOLVED, dead_letters, letter_events
from store.database.records import record_tables
from store.database.schema import POSITION_BITS, RECORD_BITS, SHIFT, batches, past_lineage, staged_id
from store.dead_letters import groups
from store.dead_letters.raw import by_line

_letter = dead_letters.c
# Not by an index of states: most letters are open, and the chosen ones are few.
IS_WAITING = _letter.status.concat("").in_((OPEN, PARKED))


class Loaded(NamedTuple):
    """The record that was loaded since."""

    id: int  # see `staged_id`
    file: str
    line: int
    key: str
    ts: str
    delivery: int


class _Records(NamedTuple):
    """The columns of a table with loaded records."""

    source: ColumnElement[str]
    key: ColumnElement[str]
    ts: ColumnElement[str]
    id: ColumnElement[int]
    line: ColumnElement[int]
    version: ColumnElement[int]


def find(connection: Connection, chosen: Sequence[ColumnElement[bool]]) -> dict[str, Loaded]:
    """letter -> the latest such record, of those open and parked letters that are chosen."""
    found: dict[str, Loaded] = {}
    for statement in map(_by_key, _loaded()):
        for letter, *record in connection.execute(statement.where(IS_WAITING, *chosen)):
            _keep_latest(found, letter, Loaded(*record))
    for letter, loaded in by_line.find(connection, [IS_WAITING, *chosen]):
        _keep_latest(found, letter, Loaded(*loaded))
    return found


def _keep_latest(found: dict[str, Loaded], letter: str, loaded: Loaded) -> None:
    if letter not in found or (found[letter].delivery, found[letter].id) < (loaded.delivery, loaded.id):
        found[letter] = loaded


def record(connection: Connection, action: int, found: Mapping[str, Loaded]) -> None:
    """Writes into the history of an action's letters what superseded each."""
    event = letter_events.c
    connection.execute(
        update(letter_events)
        .where(event.letter_id == bindparam("letter"), event.action_seq == action)
        .values(record_id=bindparam("loaded")),
        [{"letter": letter, "loaded": each.id} for letter, each in sorted(found.items())],
    )


def _loaded() -> Iterator[_Records]:
    held, past = record_tables().target.c, past_lineage.c
    yield _Records(held.source, held.key, held.ts, held.lineage_id, held.lineage_line, held.lineage_version)
    yield _Records(past.source, past.key, past.ts, past.id, past.line, past.version)


def _columns(records: _Records) -> list[ColumnElement[Any]]:
    return [
        _letter.id,
        records.id,
        batches.c.file,
        records.line,
        records.key,
        records.ts,
        batches.c.delivery_seq,
    ]


def _by_key(records: _Records) -> Any:
    position = records.id.op("&")((1 << POSITION_BITS) - 1)
    own = batches.c.delivery_seq * (1 << RECORD_BITS) + batches.c.first_record + position
    version = func.coalesce(func.nullif(records.version, 0), own)  # 0: the content hash decides ties
    return (
        select(*_columns(records))
        .join_from(
            dead_letters,
            records.id.table,
            (records.source == _letter.source) & (records.key == _letter.record_key),
        )
        .join(batches, batches.c.seq == records.id.op(">>")(SHIFT))
        .where(_letter.record_key.is_not(None), version > _letter.version)
    )


# --- the same payload, accepted later ---

ARRIVED = (
    update(dead_letters)
    .where(dead_letters.c.id == bindparam("letter"))
    .values(
        status=RESOLVED,
        version=bindparam("accepted_version"),  # an earlier record that is rejected later does not reopen it
        resolved_at=bindparam("at"),
        published_at=func.coalesce(dead_letters.c.published_at, bindparam("at")),
    )
)


def arrive(
    connection: Connection, accepted: Mapping[str, int], batch: int, first_version: int, at: str
) -> int:
    """Resolves open and parked letters whose payload a later record has.

    `accepted` are ids of letters, and the positions in the batch of records with their payloads; `first_version` is
    that of the record at position 0. The letters of an action are left to it. Returns how many it resolved.
    """
    columns = (dead_letters.c.id, dead_letters.c.group_id, dead_letters.c.status, dead_letters.c.version)
    known = database.with_member_of(connection, select(*columns), dead_letters.c.id, accepted)
    found = [
        row
        for row in connection.execute(known)
        if row.status in (OPEN, PARKED) and row.version < first_version + accepted[row.id]
    ]
    if not found:
        return 0
    values = [
        {"letter": row.id, "accepted_version": first_version + accepted[row.id], "at": at} for row in found
    ]
    connection.execute(ARRIVED, values)
    groups.move(connection, Counter((row.group_id, row.status, RESOLVED) for row in found))
    names = ("letter_id", "at", "verb", "before", "after", "batch_seq", "record_id")
    events = [
        (row.id, at, "arrive", row.status, RESOLVED, batch, staged_id(batch, accepted[row.id]))
        for row in found
    ]
    database.insert_tuples(connection, letter_events, names, events)
    return len(found)

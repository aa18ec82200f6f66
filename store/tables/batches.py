"""`batches`: the inbox. A batch's row is written in the transaction that stages its records, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import orjson
from sqlalchemy import ColumnElement, Connection, bindparam, func, select, update

from store import database
from store.database.schema import batches, contracts, deliveries

AT_STAGE = ("received", "staged", "rejected", "skipped", "late", "stale", "ambiguous", "shifted")
AT_LOAD = ("inserted", "updated", "superseded", "duplicates", "conflicts")  # in the order of lineage.OUTCOMES
COUNTERS = (*AT_STAGE, *AT_LOAD)


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of one batch when it was received: its receipt.

    received = staged + rejected + skipped; `late`, `stale`, `ambiguous` and `shifted` are flags of valid records: see
    `by_time`.
    """

    id: str
    kind: Literal["file", "replay", "split"]
    delivery_seq: int
    source: str
    file: str
    first_record: int  # in its delivery, from 0
    first_line: int
    last_line: int
    fingerprint: str
    received: int
    staged: int
    rejected: int
    skipped: int
    late: int
    stale: int
    reasons: dict[str, int]
    seconds: dict[str, float]
    watermark_before: str | None
    processed_at: str
    stages_run: list[str] = field(default_factory=list)  # a stage that was off is absent
    ambiguous: int = 0  # times that exist twice in the zone of their source
    shifted: int = 0  # times that do not exist there
    parts: list[str] = field(default_factory=list)  # of a split batch: the ids of its halves


def known(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of the batch ids that have been processed."""
    statement = select(batches.c.id).where(database.member_of(connection, batches.c.id, ids))
    return set(connection.execute(statement).scalars())


def knows_contract(connection: Connection, fingerprint: str) -> bool:
    """Whether the fields of this contract are stored."""
    known = select(contracts.c.fingerprint).where(contracts.c.fingerprint == fingerprint)
    return connection.execute(known).first() is not None


def remember_contract(
    connection: Connection, fingerprint: str, fields: Mapping[str, str], origins: str = "{}"
) -> None:
    """Stores the fields of a contract, with the kinds of their columns and their raw fields, unless they are there."""
    row = {"fingerprint": fingerprint, "fields": orjson.dumps(fields).decode(), "origins": origins}
    connection.execute(database.insert(connection, contracts).values(row).on_conflict_do_nothing())


def record(connection: Connection, batch: Batch) -> int | None:
    """Writes the batch's row and returns its number; None where it is there already."""
    values = asdict(batch)
    values["reasons"] = orjson.dumps(batch.reasons).decode()
    values["stages_run"] = orjson.dumps(batch.stages_run).decode()
    values["seconds"] = orjson.dumps(batch.seconds).decode()
    values["parts"] = orjson.dumps(batch.parts).decode()
    statement = (
        database.insert(connection, batches).values(values).on_conflict_do_nothing(index_elements=["id"])
    )
    number: int | None = connection.execute(statement.returning(batches.c.seq)).scalar()
    return number


def add_loaded(connection: Connection, counts: Mapping[int, Mapping[str, int]]) -> None:
    """Adds to the outcomes at load of these batches, by number: what a chunk has decided of their records."""
    given = [
        {"number": seq, **{f"add_{name}": each.get(name, 0) for name in AT_LOAD}}
        for seq, each in counts.items()
    ]
    statement = update(batches).where(batches.c.seq == bindparam("number"))
    sums = {name: batches.c[name] + bindparam(f"add_{name}") for name in AT_LOAD}
    if given:
        connection.execute(statement.values(sums), given)


def split(connection: Connection, ids: Sequence[str]) -> dict[str, list[str]]:
    """Those of the batch ids that were cut in two instead of being processed -> the ids of their halves."""
    statement = select(batches.c.id, batches.c.parts).where(database.member_of(connection, batches.c.id, ids))
    rows = connection.execute(statement.where(batches.c.kind == "split"))
    return {id: orjson.loads(parts) for id, parts in rows}


def numbers(connection: Connection, ids: Sequence[str]) -> list[int]:
    """The numbers of those of the batch ids that have been processed."""
    statement = select(batches.c.seq).where(database.member_of(connection, batches.c.id, ids))
    return list(connection.execute(statement).scalars())


def sources(connection: Connection) -> list[str]:
    """Every source that ever sent a batch, in name order."""
    return list(connection.execute(select(batches.c.source).distinct().order_by(batches.c.source)).scalars())


def recent(connection: Connection, limit: int, before: int | None = None) -> list[dict[str, object]]:
    """The latest batches, or those before one, newest first, as rows of the table with their JSON decoded."""
    statement = select(batches).order_by(batches.c.seq.desc()).limit(limit)
    if before is not None:
        statement = statement.where(batches.c.seq < before)
    rows = connection.execute(statement).mappings()
    return [
        {
            **database.as_dict(row),
            "reasons": orjson.loads(row["reasons"]),
            "seconds": orjson.loads(row["seconds"]),
            "stages_run": orjson.loads(row["stages_run"]),
            "parts": orjson.loads(row["parts"]),
        }
        for row in rows
    ]


def is_any(connection: Connection) -> bool:
    """Whether any batch has been processed."""
    return connection.execute(select(batches.c.seq).limit(1)).first() is not None


def count(connection: Connection) -> int:
    """How many batches have been processed."""
    return connection.execute(select(func.count()).select_from(batches)).scalar_one()


def sum_of(connection: Connection, ids: Sequence[str]) -> dict[str, object]:
    """The counters of these batches, summed, and their reasons."""
    condition = database.member_of(connection, batches.c.id, ids)
    sums = [func.coalesce(func.sum(batches.c[name]), 0) for name in COUNTERS]
    row = connection.execute(select(*sums).where(condition)).one()
    reasons: Counter[str] = Counter()
    for text in connection.execute(select(batches.c.reasons).where(condition)).scalars():
        reasons.update(orjson.loads(text))
    return {name: int(number) for name, number in zip(COUNTERS, row, strict=True)} | {
        "reasons": dict(reasons)
    }


def balance(connection: Connection, *of: ColumnElement[bool]) -> dict[str, Any]:
    """received = staged + rejected + skipped; staged = outcomes at load + pending: of the batches that are chosen."""
    stage, load = ("staged", "rejected", "skipped"), ("inserted", "updated", "duplicates", "superseded")
    names = ("received", *stage, *load)
    sums = [func.coalesce(func.sum(batches.c[name]), 0) for name in names]
    row = connection.execute(select(func.count(), *sums).where(*of)).one()
    found: dict[str, Any] = {name: int(number) for name, number in zip(("batches", *names), row, strict=True)}
    found["pending"] = found["staged"] - sum(found[name] for name in load)
    adds_up = found["received"] == sum(found[name] for name in stage)
    return {**found, "adds_up": adds_up and found["pending"] >= 0}


def judged(connection: Connection, delivery_ids: Sequence[str]) -> tuple[int, int]:
    """How many records of these deliveries were received so far, and how many of those were rejected."""
    numbers = select(deliveries.c.seq).where(database.member_of(connection, deliveries.c.id, delivery_ids))
    sums = [func.coalesce(func.sum(batches.c[name]), 0) for name in ("received", "rejected")]
    received, rejected = connection.execute(select(*sums).where(batches.c.delivery_seq.in_(numbers))).one()
    return int(received), int(rejected)


def by_time(counters: Mapping[str, int], rejected: Mapping[str, int]) -> dict[str, int]:
    """Late and stale records, flagged or rejected for just that, and fresh ones.

    received = fresh + stale + those rejected for anything but being stale.
    """
    return {
        "late": counters["late"] + rejected.get("late", 0),
        "stale": counters["stale"] + rejected.get("stale", 0),
        "fresh": counters["received"] - counters["rejected"] - counters["stale"],
    }


def rejected_for_time(connection: Connection) -> dict[str, dict[str, int]]:
    """source -> how many records its policies rejected for being `late` or `stale`."""
    found: dict[str, dict[str, int]] = {}
    for_time = batches.c.reasons.contains('"late"') | batches.c.reasons.contains('"stale"')
    for source, reasons in connection.execute(select(batches.c.source, batches.c.reasons).where(for_time)):
        counted, numbers = found.setdefault(source, {"late": 0, "stale": 0}), orjson.loads(reasons)
        for name in counted:
            counted[name] += numbers.get(name, 0)
    return found

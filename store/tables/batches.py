"""`batches`: the inbox. A batch's row is written in the transaction that stages its records, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import orjson
from sqlalchemy import Connection, func, select

from store import database
from store.database.schema import batches


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of one batch: its receipt.

    received = staged + duplicates + superseded + rejected + skipped; `late` and `stale` are flags of
    valid records and may overlap with any of them but `rejected`: see `by_time`.
    """

    id: str
    kind: Literal["file", "replay", "split"]
    source: str
    file: str
    first_line: int
    last_line: int
    fingerprint: str
    received: int
    staged: int
    duplicates: int
    superseded: int
    rejected: int
    skipped: int
    late: int
    stale: int
    reasons: dict[str, int]
    seconds: dict[str, float]
    watermark_before: str | None
    processed_at: str
    stages_run: list[str] = field(default_factory=list)  # a stage that was off is absent


def known(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of the batch ids that have been processed."""
    statement = select(batches.c.id).where(database.member_of(connection, batches.c.id, ids))
    return set(connection.execute(statement).scalars())


def record(connection: Connection, batch: Batch) -> int | None:
    """Writes the batch's row and returns its number; None where it is there already."""
    values = asdict(batch)
    values["reasons"] = orjson.dumps(batch.reasons).decode()
    values["stages_run"] = orjson.dumps(batch.stages_run).decode()
    values["seconds"] = orjson.dumps(batch.seconds).decode()
    statement = (
        database.insert(connection, batches).values(values).on_conflict_do_nothing(index_elements=["id"])
    )
    number: int | None = connection.execute(statement.returning(batches.c.seq)).scalar()
    return number


def split(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of the batch ids that were cut in two instead of being processed."""
    statement = select(batches.c.id).where(database.member_of(connection, batches.c.id, ids))
    return set(connection.execute(statement.where(batches.c.kind == "split")).scalars())


def numbers(connection: Connection, ids: Sequence[str]) -> list[int]:
    """The numbers of those of the batch ids that have been processed."""
    statement = select(batches.c.seq).where(database.member_of(connection, batches.c.id, ids))
    return list(connection.execute(statement).scalars())


def sources(connection: Connection) -> list[str]:
    """Every source that ever sent a batch, in name order."""
    return list(connection.execute(select(batches.c.source).distinct().order_by(batches.c.source)).scalars())


def recent(connection: Connection, limit: int) -> list[dict[str, object]]:
    """The latest batches, newest first, as rows of the table with their JSON decoded."""
    rows = connection.execute(select(batches).order_by(batches.c.seq.desc()).limit(limit)).mappings()
    return [
        {
            **database.as_dict(row),
            "reasons": orjson.loads(row["reasons"]),
            "seconds": orjson.loads(row["seconds"]),
            "stages_run": orjson.loads(row["stages_run"]),
        }
        for row in rows
    ]


def last_number(connection: Connection) -> int:
    """The number of the latest batch; 0 before the first."""
    return connection.execute(select(func.max(batches.c.seq))).scalar() or 0


def staged_since(connection: Connection, number: int) -> int:
    """How many rows batches after this one have staged."""
    staged = select(func.coalesce(func.sum(batches.c.staged), 0)).where(batches.c.seq > number)
    return int(connection.execute(staged).scalar_one())


def count(connection: Connection) -> int:
    """How many batches have been processed."""
    return connection.execute(select(func.count()).select_from(batches)).scalar_one()


def sum_of(connection: Connection, ids: Sequence[str]) -> dict[str, object]:
    """The counters of these batches, summed, and their reasons."""
    condition = database.member_of(connection, batches.c.id, ids)
    names = ("received", "staged", "duplicates", "superseded", "rejected", "skipped", "late", "stale")
    sums = [func.coalesce(func.sum(batches.c[name]), 0) for name in names]
    row = connection.execute(select(*sums).where(condition)).one()
    reasons: Counter[str] = Counter()
    for text in connection.execute(select(batches.c.reasons).where(condition)).scalars():
        reasons.update(orjson.loads(text))
    return {name: int(number) for name, number in zip(names, row, strict=True)} | {"reasons": dict(reasons)}


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
        counted, told = found.setdefault(source, {"late": 0, "stale": 0}), orjson.loads(reasons)
        for name in counted:
            counted[name] += told.get(name, 0)
    return found

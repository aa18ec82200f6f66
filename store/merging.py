"""One chunk from `staging` to `target`, inside the caller's transaction: merge, lineage, staging cleared.

The chunk is judged once, into a temporary table: which of its rows is the best of its key, and what the
target holds against it. What follows is one statement each, in key order.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    case,
    exists,
    func,
    select,
    tuple_,
)
from sqlalchemy.schema import CreateTable

from store import lineage, staging, target
from store.crash_points import reach
from store.errors import SluiceError
from store.schema import KIND_TYPES, ContractColumn, RecordTables, record_tables
from store.watermarks import Move

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Merged:
    """What merging one chunk did: rows, the count of each outcome, and each source's greatest event time."""

    rows: int
    outcomes: dict[str, int]
    newest: list[Move]
    seconds: dict[str, float]  # step -> seconds


@lru_cache(maxsize=8)
def chunk_table(columns: tuple[ContractColumn, ...]) -> Table:
    """The temporary table that holds a chunk while it is merged."""
    typed = [Column(column.name, KIND_TYPES[column.kind]()) for column in columns]
    return Table(
        "chunk",
        MetaData(),
        Column("source", Text),
        Column("key", Text),
        Column("ts", Text),
        Column("content_hash", LargeBinary),
        Column("extra", Text),
        *typed,  # none begins with an underscore: pydantic has no such fields
        Column("id", BigInteger),
        Column("line", BigInteger),
        Column("parent_id", BigInteger),
        Column("_best", Integer),  # 1: the greatest (ts, content hash) of its key in the chunk
        Column("_outcome", Integer),
        prefixes=["TEMPORARY"],
    )


def merge_chunk(
    connection: Connection, columns: tuple[ContractColumn, ...], run_seq: int, size: int
) -> Merged | None:
    """Merges up to `size` staged rows; None where nothing is staged."""
    last = staging.bound(connection, size)
    if last is None:
        return None
    tables, chunk = record_tables(columns), chunk_table(columns)
    connection.execute(CreateTable(chunk, if_not_exists=True))
    connection.execute(chunk.delete())
    watch = Stopwatch()
    rows = watch.took("judge", _judge(connection, tables, chunk, last))
    reach("load.judged")
    outcomes = watch.took("lineage", lineage.record_loads(connection, chunk, run_seq))
    reach("load.lineage_written")
    written = watch.took("merge", target.merge(connection, tables, chunk))
    if written != outcomes["inserted"] + outcomes["updated"]:
        raise SluiceError(
            f"the merge wrote {written} rows where {outcomes} were due: the chunk is rolled back"
        )
    reach("load.merged")
    newest = _newest(connection, chunk)
    watch.took("clear", staging.clear(connection, last))
    connection.execute(chunk.delete())
    return Merged(rows, outcomes, newest, watch.seconds)


class Stopwatch:
    """How long each step of a chunk took, one after another."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def took(self, step: str, result: T) -> T:
        """Notes the time since the step before, and passes the step's result on."""
        now = time.perf_counter()
        self.seconds[step] = round(now - self._since, 6)
        self._since = now
        return result


def _judge(connection: Connection, tables: RecordTables, chunk: Table, last: staging.Bound) -> int:
    """Fills the chunk table, each row with `best` and `outcome`; how many rows."""
    staged, held = tables.staging, tables.target
    rival = staged.alias("rival")
    version = tuple_(staged.c.ts, staged.c.content_hash)
    beaten = exists().where(
        rival.c.source == staged.c.source,
        rival.c.key == staged.c.key,
        tuple_(rival.c.source, rival.c.key, rival.c.content_hash) <= tuple_(*last),
        tuple_(rival.c.ts, rival.c.content_hash) > version,
    )
    best = case((beaten, 0), else_=1)
    outcome = case(
        (beaten, 3),
        (held.c.key.is_(None), 1),
        (version > tuple_(held.c.ts, held.c.content_hash), 2),
        else_=3,
    )
    same_key = and_(held.c.source == staged.c.source, held.c.key == staged.c.key)
    names = [*tables.data, "id", "line", "parent_id"]
    rows = (
        select(*(staged.c[name] for name in names), best, outcome)
        .select_from(staged.outerjoin(held, same_key))
        .where(staging.within(tables, last))
        .order_by(staged.c.source, staged.c.key, staged.c.content_hash)
    )
    return connection.execute(chunk.insert().from_select([*names, "_best", "_outcome"], rows)).rowcount


def _newest(connection: Connection, chunk: Table) -> list[Move]:
    """Each source's greatest event time in the chunk, and the record that has it (the first by id)."""
    greatest = select(chunk.c.source, func.max(chunk.c.ts).label("ts")).group_by(chunk.c.source).subquery()
    there = and_(chunk.c.source == greatest.c.source, chunk.c.ts == greatest.c.ts)
    first = (
        select(chunk.c.source, func.min(chunk.c.id).label("id"))
        .join(greatest, there)
        .group_by(chunk.c.source)
    )
    found = first.subquery()
    same = and_(chunk.c.source == found.c.source, chunk.c.id == found.c.id)
    rows = connection.execute(select(chunk.c.source, chunk.c.ts, chunk.c.id, chunk.c.key).join(found, same))
    return [Move(*row) for row in rows]

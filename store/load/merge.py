"""One chunk from `staging` to `target`, inside the caller's transactions: merge, lineage, staging cleared.

The chunk is judged once, into a temporary table: which of its rows is the best of its key, and what the
target holds against it. That only reads, and leaves the write lock to the workers. What follows is one
statement each, in key order.
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

from store import database
from store.crash_points import reach
from store.database.schema import KIND_TYPES, ContractColumn, RecordTables, Serial, record_tables
from store.errors import SluiceError
from store.tables import lineage, staging, target
from store.tables.watermarks import Move

CHUNK_CACHE_MB = 48  # of a chunk table that is larger, the rest is written to a file

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
        # In the order of the target's key, and of versions: the greatest of a key is its last.
        Column("_place", Serial, primary_key=True, autoincrement=True),
        Column("source", Text),
        Column("key", Text),
        Column("ts", Text),
        Column("content_hash", LargeBinary),
        Column("extra", Text),
        *typed,  # none begins with an underscore: pydantic has no such fields
        Column("id", BigInteger),
        Column("line", BigInteger),
        Column("parent_id", BigInteger),
        Column("_outcome", Integer, server_default="1"),
        prefixes=["TEMPORARY"],
    )


@dataclass(frozen=True, slots=True)
class Chunk:
    """Staged rows, judged and not yet merged."""

    tables: RecordTables
    table: Table  # temporary: of the connection that took it
    last: int  # the greatest id of its rows
    rows: int
    outcomes: dict[str, int]
    newest: list[Move]


def take_chunk(
    connection: Connection, columns: tuple[ContractColumn, ...], size: int, until: int | None = None
) -> Chunk | None:
    """Takes up to `size` staged rows, none beyond the id `until`, and judges them; None where there is none.

    It only reads: staged rows do not change and the target is the loader's alone, so what is found here
    holds until the same loader merges it.
    """
    last = staging.bound(connection, size, until)
    if last is None:
        return None
    tables, table = record_tables(columns), chunk_table(columns)
    connection.execute(CreateTable(table, if_not_exists=True))
    database.keep_temporary(connection, CHUNK_CACHE_MB)
    connection.execute(table.delete())
    rows = _judge(connection, tables, table, last)
    return Chunk(
        tables, table, last, rows, _outcomes(connection, table), _newest(connection, table, tables.staging)
    )


def merge_chunk(connection: Connection, chunk: Chunk, run_seq: int) -> Merged:
    """Merges a chunk that was taken over the same connection: lineage, target, staging cleared."""
    watch = Stopwatch()
    outcomes = chunk.outcomes
    lineage.record_loads(connection, chunk.tables, chunk.table, run_seq, outcomes)
    watch.took("lineage", None)
    reach("load.lineage_written")
    written = watch.took("merge", target.merge(connection, chunk.tables, chunk.table, run_seq, outcomes))
    if written != outcomes["inserted"] + outcomes["updated"]:
        raise SluiceError(
            f"the merge wrote {written} rows where {outcomes} were due: the chunk is rolled back"
        )
    reach("load.merged")
    cleared = watch.took("clear", staging.clear(connection, chunk.last))
    if cleared != chunk.rows:
        raise SluiceError(
            f"{cleared} rows left staging where {chunk.rows} were merged: the chunk is rolled back"
        )
    return Merged(chunk.rows, outcomes, chunk.newest, watch.seconds)


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


def _judge(connection: Connection, tables: RecordTables, chunk: Table, last: int) -> int:
    """Fills the chunk table, each row with its outcome; how many rows."""
    staged, held = tables.staging, tables.target
    names = [*tables.data, "id", "line", "parent_id"]
    in_order = (staged.c.source, staged.c.key, staged.c.ts, staged.c.content_hash)
    rows = select(*(staged.c[name] for name in names)).where(staged.c.id <= last).order_by(*in_order)
    taken = connection.execute(chunk.insert().from_select(names, rows)).rowcount
    later = chunk.alias("later")
    beaten = exists().where(
        later.c["_place"] == chunk.c["_place"] + 1,
        later.c.source == chunk.c.source,
        later.c.key == chunk.c.key,
    )
    newer = tuple_(chunk.c.ts, chunk.c.content_hash) > tuple_(held.c.ts, held.c.content_hash)
    against_held = (
        select(case((newer, 2), else_=3))
        .where(held.c.source == chunk.c.source, held.c.key == chunk.c.key)
        .correlate(chunk)
        .scalar_subquery()
    )
    # Most rows are new, and keep the outcome they were filled with.
    meets_one = exists().where(held.c.source == chunk.c.source, held.c.key == chunk.c.key)
    connection.execute(chunk.update().where(meets_one).values({"_outcome": against_held}))
    connection.execute(chunk.update().where(beaten).values({"_outcome": 3}))
    return taken


def _outcomes(connection: Connection, chunk: Table) -> dict[str, int]:
    """The count of each outcome."""
    outcome = chunk.c["_outcome"]
    counted = connection.execute(select(outcome, func.count()).group_by(outcome))
    found = {number: count for number, count in counted}
    return {name: found.get(number, 0) for number, name in lineage.OUTCOMES.items()}


def _newest(connection: Connection, chunk: Table, staged: Table) -> list[Move]:
    """Each source's greatest event time in the chunk, and the record that has it (the first by id)."""
    greatest = select(chunk.c.source, func.max(chunk.c.ts).label("ts")).group_by(chunk.c.source).subquery()
    there = and_(chunk.c.source == greatest.c.source, chunk.c.ts == greatest.c.ts)
    first = select(func.min(chunk.c.id).label("id")).join(greatest, there).group_by(chunk.c.source).subquery()
    names = (staged.c.source, staged.c.ts, staged.c.id, staged.c.key)
    rows = connection.execute(select(*names).join(first, staged.c.id == first.c.id))
    return [Move(*row) for row in rows]

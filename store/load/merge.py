"""A chunk that was decided, written inside the caller's transaction: lineage, target, staging cleared.

One statement each, in key order.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, case, literal, select, update

from store import database
from store.crash_points import reach
from store.database.records import CARRIED
from store.database.schema import past_lineage
from store.errors import SluiceError
from store.load.chunk import Chunk
from store.tables import batches, staging
from store.tables.lineage import DUPLICATE, INSERTED, SUPERSEDED, UPDATED
from store.tables.watermarks import Move

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Merged:
    """What merging one chunk did: rows, the count of each outcome, and each source's greatest event time."""

    rows: int
    outcomes: dict[str, int]
    conflicts: dict[str, int]  # source -> count
    newest: list[Move]
    seconds: dict[str, float]  # step -> seconds


def merge_chunk(connection: Connection, chunk: Chunk, run_seq: int) -> Merged:
    """Merges a chunk that was taken over the same connection: lineage, target, staging cleared, batches.

    From the last of these on no other loader writes what loaders share: see `take_sums`.
    """
    watch = Stopwatch()
    outcomes = chunk.outcomes
    _keep_past(connection, chunk, run_seq)
    watch.took("lineage", None)
    reach("load.lineage_written")
    written = watch.took("merge", _write_target(connection, chunk, run_seq))
    if written != outcomes["inserted"] + outcomes["updated"]:
        raise SluiceError(
            f"the merge wrote {written} rows where {outcomes} were due: the chunk is rolled back"
        )
    reach("load.merged")
    staged = chunk.tables.staging
    of_chunk = staging.of_chunk(connection, chunk.last, chunk.batches, chunk.without, rows=staged)
    cleared = watch.took("clear", staging.clear(connection, staged, of_chunk))
    if cleared != chunk.rows:
        raise SluiceError(
            f"{cleared} rows left staging where {chunk.rows} were merged: the chunk is rolled back"
        )
    database.take_sums(connection)
    batches.add_loaded(connection, chunk.batches)
    return Merged(chunk.rows, outcomes, chunk.conflicts, chunk.newest, watch.seconds)


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


def _keep_past(connection: Connection, chunk: Chunk, run_seq: int) -> None:
    """Keeps the lineage of what is not in the target, or no more: of this chunk, and of what it replaces."""
    columns = [column.name for column in past_lineage.columns]
    rows, held, outcomes = chunk.table, chunk.tables.target, chunk.outcomes
    outcome = rows.c["_outcome"]
    conflict_run = case((rows.c["_conflict"] == 1, literal(run_seq)))
    if outcomes["superseded"] or outcomes["duplicates"]:
        given: dict[str, ColumnElement[Any]] = {
            "run_seq": literal(run_seq),
            "outcome": outcome,
            "beaten_by": rows.c["_rival"],
            "conflict_run": conflict_run,
        }
        lost = select(*(given[name] if name in given else rows.c[name] for name in columns))
        lost = lost.where(outcome.in_((SUPERSEDED, DUPLICATE))).order_by(rows.c["_position"])
        connection.execute(past_lineage.insert().from_select(columns, lost))
    if outcomes["updated"]:
        carried = {theirs: ours for ours, theirs in CARRIED.items()}
        given = {"beaten_by": rows.c.id, "conflict_run": conflict_run}
        old = select(*(given[name] if name in given else held.c[carried.get(name, name)] for name in columns))
        replaced = old.select_from(rows.join(held, _same_key(chunk))).where(outcome == UPDATED)
        connection.execute(past_lineage.insert().from_select(columns, replaced.order_by(rows.c["_position"])))


def _write_target(connection: Connection, chunk: Chunk, run_seq: int) -> int:
    """Writes the rows that win; how many it wrote."""
    rows, held, outcomes = chunk.table, chunk.tables.target, chunk.outcomes
    written = 0
    if outcomes["inserted"]:
        names = [*chunk.tables.data, *CARRIED]
        values = _values(chunk, run_seq, INSERTED)
        # In the order of the target's key: SQLite then fills its pages one after another.
        new = select(*(values[name] for name in names)).where(rows.c["_outcome"] == INSERTED)
        statement = database.insert_whole(connection, held)
        written += connection.execute(
            statement.from_select(names, new.order_by(rows.c["_position"]))
        ).rowcount
    if outcomes["updated"]:
        values = _values(chunk, run_seq, UPDATED)
        changed = {name: value for name, value in values.items() if name not in ("source", "key")}
        # Whatever was written to the target since the chunk was decided is not overwritten.
        unchanged = and_(_same_key(chunk), held.c.lineage_id == rows.c["_rival"])
        statement = update(held).where(unchanged, rows.c["_outcome"] == UPDATED)
        written += connection.execute(statement.values(changed)).rowcount
    return written


def _values(chunk: Chunk, run_seq: int, outcome: int) -> dict[str, ColumnElement[Any]]:
    """The target's columns, and what each gets of a row of the chunk."""
    given: dict[str, ColumnElement[Any]] = {"run_seq": literal(run_seq), "outcome": literal(outcome)}
    columns = chunk.table.c
    carried = {
        name: given[theirs] if theirs in given else columns[theirs] for name, theirs in CARRIED.items()
    }
    return {name: columns[name] for name in chunk.tables.data} | carried


def _same_key(chunk: Chunk) -> ColumnElement[bool]:
    rows, held = chunk.table, chunk.tables.target
    return and_(held.c.source == rows.c.source, held.c.key == rows.c.key)

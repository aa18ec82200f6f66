"""Lateness: how long after their event time records arrive, and how many would have been late.

Arrival is when the batch was processed. What is counted is what was staged or loaded: a record that was
turned away has no row to count. The database counts, in one pass over the records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Select,
    Table,
    Text,
    case,
    func,
    select,
    true,
    union_all,
)
from sqlalchemy.schema import CreateTable, DropTable

from store import database
from store.database.schema import PLACE_BITS, Serial, batches, record_lineage, record_tables
from store.errors import SluiceError, UsageError
from store.tables import batches as inbox

# Upper edges; a lag belongs to the first edge that it does not exceed.
EDGES = {"1s": 1, "10s": 10, "1m": 60, "10m": 600, "1h": 3600, "6h": 21_600, "1d": 86_400, "7d": 604_800,
         "30d": 2_592_000}  # fmt: skip
AHEAD, MORE = "ahead", "more"  # of the clock that processed it; than the last edge
LAGS = (AHEAD, *EDGES, MORE)
CANDIDATES = tuple(timedelta(seconds=seconds) for seconds in (0, 60, 3600, 86_400, 604_800))


@dataclass(frozen=True, slots=True)
class Lateness:
    """One source: its records by arrival lag, and how many would be late for each allowed lateness."""

    source: str
    lags: dict[str, int]
    late: dict[timedelta, int]
    turned_away: int  # late records that became dead letters or were skipped: not among the others

    @property
    def records(self) -> int:
        return sum(self.lags.values())


def of_sources(
    connection: Connection, sources: Sequence[str] = (), allowed: Sequence[timedelta] = CANDIDATES
) -> list[Lateness]:
    """The sources asked for, or all, in name order. Raises SluiceError for an unknown one, UsageError."""
    known = inbox.sources(connection)
    if missing := sorted(set(sources) - set(known)):
        raise SluiceError(
            f"nothing is known of source {missing[0]!r}: there are {', '.join(known) or 'none yet'}"
        )
    seconds = [whole_seconds(each) for each in allowed]
    turned_away, limits = _turned_away(connection), _write_limits(connection, seconds)
    found = []
    for source in sorted(sources or known):
        counts = [int(each or 0) for each in connection.execute(_counts(limits, source, seconds)).one()]
        arrived, late = counts[: len(LAGS)], counts[len(LAGS) :]
        lags = dict(zip(LAGS, (after - before for before, after in pairwise([0, *arrived])), strict=True))
        away = turned_away.get(source, 0)
        found.append(Lateness(source, lags, dict(zip(allowed, late, strict=True)), away))
    return found


def whole_seconds(span: timedelta) -> int:
    """Raises UsageError for a span with a fraction of a second, which no histogram needs."""
    if span % timedelta(seconds=1):
        raise UsageError(f"--allowed {span.total_seconds():g}s: give whole seconds")
    return span // timedelta(seconds=1)


def _write_limits(connection: Connection, allowed: Sequence[int]) -> Table:
    """For each batch the event times where one lag ends and the next begins, and where lateness begins.

    A temporary table: each is worked out once a batch, and found by the batch's number.
    """
    at, mark = batches.c.processed_at, batches.c.watermark_before
    given: dict[str, ColumnElement[Any]] = {"seq": batches.c.seq, "processed_at": at}
    given |= {f"lag_{name}": database.earlier(connection, at, seconds) for name, seconds in EDGES.items()}
    given |= {f"late_{place}": database.earlier(connection, mark, each) for place, each in enumerate(allowed)}
    columns = [Column(name, Text) for name in given if name != "seq"]
    seq = Column("seq", Serial, primary_key=True)
    limits = Table("arrival_limits", MetaData(), seq, *columns, prefixes=["TEMPORARY"])
    connection.execute(DropTable(limits, if_exists=True))
    connection.execute(CreateTable(limits))
    connection.execute(limits.insert().from_select(list(given), select(*given.values())))
    return limits


def _counts(limits: Table, source: str, allowed: Sequence[int]) -> Select[Any]:
    """One row: of all records of a source, how many arrived within each of LAGS, and how many were late.

    Sums without groups: nothing is sorted, and each table is read in the order of its key, which begins
    with the source.
    """
    waiting, loaded = record_tables().staging, record_lineage
    each = union_all(
        select(loaded.c.id, loaded.c.ts).where(loaded.c.source == source),
        select(waiting.c.id, waiting.c.ts).where(waiting.c.source == source),
    ).subquery()
    conditions = [
        each.c.ts > limits.c.processed_at,
        *(each.c.ts >= limits.c[f"lag_{name}"] for name in EDGES),
        true(),
        *(each.c.ts < limits.c[f"late_{place}"] for place in range(len(allowed))),
    ]
    joined = each.join(limits, limits.c.seq == each.c.id.op(">>")(PLACE_BITS))
    return select(*(func.sum(case((held, 1), else_=0)) for held in conditions)).select_from(joined)


def _turned_away(connection: Connection) -> dict[str, int]:
    """source -> late records that were skipped or became dead letters."""
    skipped = select(batches.c.source, func.sum(batches.c.skipped)).group_by(batches.c.source)
    rejected = inbox.rejected_for_time(connection)
    return {
        source: int(number) + rejected.get(source, {}).get("late", 0)
        for source, number in connection.execute(skipped)
    }

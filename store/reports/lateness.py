"""Lateness: how long after their event time records arrive, and how many would have been late.

A record arrives when its batch is processed. Staged and loaded records are counted; a late record that was
rejected or skipped has no row and is counted from its batch. The database counts, in one pass over the records.
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

from store import database
from store.database.records import record_tables
from store.database.schema import SHIFT, Serial, batches, record_lineage
from store.errors import SluiceError, UsageError
from store.tables import batches as inbox

# Upper bounds in seconds; a lag belongs to the first bound that it does not exceed.
EDGES = {"1s": 1, "10s": 10, "1m": 60, "10m": 600, "1h": 3600, "6h": 21_600, "1d": 86_400, "7d": 604_800,
         "30d": 2_592_000}  # fmt: skip
AHEAD, MORE = "ahead", "more"  # ahead of the clock of the worker; more than the last bound
LAGS = (AHEAD, *EDGES, MORE)
CANDIDATES = tuple(timedelta(seconds=seconds) for seconds in (0, 60, 3600, 86_400, 604_800))


@dataclass(frozen=True, slots=True)
class Lateness:
    """The records of one source by arrival lag, and how many would be late for each allowed lateness."""

    source: str
    lags: dict[str, int]
    late: dict[timedelta, int]
    not_loaded: int  # late records that were rejected or skipped; not counted in `lags` and `late`

    @property
    def records(self) -> int:
        return sum(self.lags.values())


def of_sources(
    connection: Connection, sources: Sequence[str] = (), allowed: Sequence[timedelta] = CANDIDATES
) -> list[Lateness]:
    """These sources, or all, in name order. Raises SluiceError for an unknown one, UsageError."""
    known = inbox.sources(connection)
    if missing := sorted(set(sources) - set(known)):
        raise SluiceError(
            f"source {missing[0]!r} is unknown: the sources are {', '.join(known) or 'none yet'}"
        )
    seconds = [whole_seconds(each) for each in allowed]
    not_loaded, limits = _not_loaded(connection), _write_limits(connection, seconds)
    found = []
    for source in sorted(sources or known):
        counts = [int(each or 0) for each in connection.execute(_counts(limits, source, seconds)).one()]
        arrived, late = counts[: len(LAGS)], counts[len(LAGS) :]
        lags = dict(zip(LAGS, (after - before for before, after in pairwise([0, *arrived])), strict=True))
        found.append(Lateness(source, lags, dict(zip(allowed, late, strict=True)), not_loaded.get(source, 0)))
    return found


def whole_seconds(span: timedelta) -> int:
    """Raises UsageError for a span with a fraction of a second: no histogram needs one."""
    if span % timedelta(seconds=1):
        raise UsageError(f"--allowed {span.total_seconds():g}s: give whole seconds")
    return span // timedelta(seconds=1)


def _write_limits(connection: Connection, allowed: Sequence[int]) -> Table:
    """For each batch the event times at which one lag ends and the next begins, and at which lateness begins.

    A temporary table: each time is computed once for a batch, and found by the number of the batch.
    """
    at, watermark = batches.c.processed_at, batches.c.watermark_before
    given: dict[str, ColumnElement[Any]] = {"seq": batches.c.seq, "processed_at": at}
    given |= {f"lag_{name}": database.earlier(connection, at, seconds) for name, seconds in EDGES.items()}
    given |= {f"late_{n}": database.earlier(connection, watermark, each) for n, each in enumerate(allowed)}
    columns = [Column(name, Text) for name in given if name != "seq"]
    seq = Column("seq", Serial, primary_key=True)
    limits = Table("arrival_limits", MetaData(), seq, *columns, prefixes=["TEMPORARY"])
    database.create_temporary(connection, limits)
    connection.execute(limits.insert().from_select(list(given), select(*given.values())))
    return limits


def _counts(limits: Table, source: str, allowed: Sequence[int]) -> Select[Any]:
    """One row: how many records of a source arrived within each of LAGS, and how many were late.

    Sums without groups: the database sorts nothing, and reads each table in the order of its key, which
    begins with the source.
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
        *(each.c.ts < limits.c[f"late_{n}"] for n in range(len(allowed))),
    ]
    joined = each.join(limits, limits.c.seq == each.c.id.op(">>")(SHIFT))
    return select(*(func.sum(case((held, 1), else_=0)) for held in conditions)).select_from(joined)


def _not_loaded(connection: Connection) -> dict[str, int]:
    """source -> late records that were skipped or rejected."""
    skipped = select(batches.c.source, func.sum(batches.c.skipped)).group_by(batches.c.source)
    rejected = inbox.rejected_for_time(connection)
    return {
        source: int(number) + rejected.get(source, {}).get("late", 0)
        for source, number in connection.execute(skipped)
    }

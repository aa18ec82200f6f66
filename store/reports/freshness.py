"""Freshness: how old the newest record of each source is, and whether the source is late for its own rhythm.

A source's rhythm is the median step, in event time, of its watermark from one run to the next. Event time,
because a month of history that is loaded in an hour does not make a monthly source an hourly one; a median,
because one pause must not change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median

from sqlalchemy import Connection, Select, func, select

from store import timestamps
from store.checks import conservation
from store.database.records import record_tables
from store.database.schema import watermark_history
from store.tables import watermarks

LATE_AFTER_STEPS = 3
STEPS_USED = 100  # the latest; a rhythm may change
STEPS_NEEDED = 2  # fewer give no rhythm


@dataclass(frozen=True, slots=True)
class Freshness:
    """The newest record, the flagged records and the rhythm of one source."""

    source: str
    newest: str | None  # greatest event time in the target
    age_seconds: float | None
    records: int  # fresh + stale: all but those rejected for another reason than being stale
    fresh: int
    stale: int
    rhythm_seconds: float | None  # None: fewer than STEPS_NEEDED steps
    late: bool  # older than LATE_AFTER_STEPS times its rhythm
    last_batch_at: str | None


def of_sources(connection: Connection, now: datetime) -> list[Freshness]:
    """Every source with a batch, in name order."""
    newest, steps = _newest(connection), rhythms(connection)
    last = watermarks.last_batches(connection)
    return [
        _of(source, counted, newest.get(source), steps.get(source), last.get(source), now)
        for source, counted in conservation.totals_by_source(connection).items()
    ]


def _of(
    source: str,
    counted: dict[str, int],
    newest: str | None,
    rhythm: float | None,
    last_batch_at: str | None,
    now: datetime,
) -> Freshness:
    age = (now - timestamps.from_text(newest)).total_seconds() if newest else None
    fresh, stale = counted["fresh"], counted["stale"]
    is_late = age is not None and rhythm is not None and age > LATE_AFTER_STEPS * rhythm
    return Freshness(source, newest, age, fresh + stale, fresh, stale, rhythm, is_late, last_batch_at)


def _newest(connection: Connection) -> dict[str, str]:
    target = record_tables().target
    rows = connection.execute(select(target.c.source, func.max(target.c.ts)).group_by(target.c.source))
    return {source: ts for source, ts in rows}


def rhythms(connection: Connection) -> dict[str, float]:
    """source -> seconds of event time between its latest runs, for sources with enough runs."""
    stops: dict[str, list[str]] = {}
    for source, value in connection.execute(_latest_stops()):
        stops.setdefault(source, []).append(value)
    steps = {source: _steps(values) for source, values in stops.items()}
    return {source: median(each) for source, each in steps.items() if len(each) >= STEPS_NEEDED}


def _latest_stops() -> Select[str, str]:
    """(source, watermark) after each of the latest runs of a source, in the order of the runs."""
    moves = watermark_history.c
    stops = (
        select(moves.source, moves.run_seq, func.max(moves.value).label("value"))
        .where(moves.run_seq.is_not(None))
        .group_by(moves.source, moves.run_seq)
        .subquery()
    )
    rank = func.row_number().over(partition_by=stops.c.source, order_by=stops.c.run_seq.desc())
    ranked = select(stops, rank.label("rank")).subquery()
    latest = select(ranked.c.source, ranked.c.value).where(ranked.c.rank <= STEPS_USED + 1)
    return latest.order_by(ranked.c.source, ranked.c.run_seq)


def _steps(stops: Sequence[str]) -> list[float]:
    """Seconds from each stop to the next; a rewind is not a step."""
    moments = [timestamps.from_text(stop) for stop in stops]
    return [(after - before).total_seconds() for before, after in pairwise(moments) if after > before]

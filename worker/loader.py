"""The loader: staging -> target, chunk by chunk, each one transaction with its watermark and run log.

It takes rows because they are in staging, never because they are newer than a watermark: a late record
cannot be lost by arithmetic. The rows of a source whose watermark does not hold stay in staging; all others are loaded.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from datetime import timedelta

from sqlalchemy import Connection, Engine

from store import database, timestamps
from store.crash_points import reach
from store.database import install
from store.errors import LockLost, SluiceError, WatermarkCorrupt
from store.load import chunk, merge
from store.logs import event
from store.tables import flags, leases, load_runs, staging, watermarks
from worker.partitions import Lease, RunLeases, check
from worker.settings import WorkerSettings

LOCK = leases.LOADER
log = logging.getLogger("sluice.loader")


@dataclass(frozen=True, slots=True)
class Run:
    """What one run did: its receipt. A run that found nothing staged has no number and is not logged."""

    number: int | None
    chunks: int
    rows: int
    inserted: int
    updated: int
    duplicates: int
    superseded: int
    conflicts: int  # records of equal time and sequence and other content than the one that won
    watermark_before: str | None
    watermark_after: str | None
    seconds: float


def load(
    engine: Engine, settings: WorkerSettings, holder: str | None = None, idle_after: timedelta | None = None
) -> Run:
    """Merges all that is staged when it begins, or as much as `load_run_seconds` allow.

    What comes meanwhile is the next run's: each chunk goes through all of the target, so few large ones are
    cheaper than many small ones.

    Raises LockHeld where another loader works, StoreUnavailable, and WatermarkCorrupt where staging still holds rows of
    a source whose watermark does not hold, after all others are loaded. A run that fails is logged as failed and leaves
    nothing else behind; the chunks before it stand.
    """
    taken = RunLeases(engine, holder or leases.new_holder(), settings.load_lease_seconds)
    try:
        return _run(engine, settings, taken, idle_after)
    finally:
        taken.end()


@dataclass(slots=True)
class _Begun:
    """A run that has a number: what it has done so far."""

    number: int
    watermark_before: str | None
    watermark_after: str | None
    chunks: list[merge.Merged] = field(default_factory=list)
    spent: Counter[str] = field(default_factory=Counter)
    conflicts: Counter[str] = field(default_factory=Counter)


def _run(engine: Engine, settings: WorkerSettings, taken: RunLeases, idle_after: timedelta | None) -> Run:
    started = time.monotonic()
    begun: _Begun | None = None
    try:
        with database.connected(engine) as connection:
            for lease in taken.each(connection):
                if lease.until is None:
                    continue
                begun = begun or _begin(connection, settings, lease, idle_after)
                while _has_time(settings, started) and _load_chunk(
                    connection, settings, lease, begun, idle_after
                ):
                    pass
                if not _has_time(settings, started):
                    break
            else:
                if begun:
                    _refuse_what_is_left(connection, settings.max_future_skew)
    except BaseException as error:
        if begun:
            _log_failure(engine, begun.number, error)
        raise
    if begun is None:
        with database.reading(engine) as connection:
            checked = watermarks.read_all(connection, settings.max_future_skew)
            pipeline_watermark = _pipeline(connection, checked, idle_after)
        return Run(None, 0, 0, 0, 0, 0, 0, 0, pipeline_watermark, pipeline_watermark, 0.0)
    with database.transaction(engine, "sums") as connection:
        load_runs.finish(connection, begun.number)
    reach("load.finished")
    chunks = begun.chunks
    return Run(
        begun.number,
        chunks=len(chunks),
        rows=sum(merged.rows for merged in chunks),
        **{name: sum(merged.outcomes[name] for merged in chunks) for name in load_runs.OUTCOMES},
        conflicts=sum(sum(merged.conflicts.values()) for merged in chunks),
        watermark_before=begun.watermark_before,
        watermark_after=begun.watermark_after,
        seconds=time.monotonic() - started,
    )


def _has_time(settings: WorkerSettings, started: float) -> bool:
    return time.monotonic() - started < settings.load_run_seconds


def _begin(
    connection: Connection, settings: WorkerSettings, lease: Lease, idle_after: timedelta | None
) -> _Begun:
    """Opens the run in the run log."""
    with database.transaction(connection, "sums") as writing:
        lease.renew(writing, settings.load_lease_seconds)
        checked = watermarks.read_all(writing, settings.max_future_skew)
        before = _pipeline(writing, checked, idle_after)
        number = load_runs.start(writing, lease.holder, before)
    reach("load.run_started")
    return _Begun(number, before, before)


def _load_chunk(
    connection: Connection,
    settings: WorkerSettings,
    lease: Lease,
    run: _Begun,
    idle_after: timedelta | None,
) -> bool:
    """One chunk: taken and judged while workers may write; then, in one transaction, merge, lineage, staging
    cleared, watermarks, run log.

    False where nothing up to the lease's `until` is left.
    """
    started = time.monotonic()
    with database.reading_then_writing(connection) as write:
        reach("load.chunk_begun")
        taken, corrupt = _judge(connection, settings, lease)
        if taken is None:
            return False
        reach("load.judged")
        judged = time.monotonic()
        connection = write()
        locked = time.monotonic()
        # Whoever holds the lease is the only one who writes this partition of the target: what was judged still holds.
        lease.renew(connection, settings.load_lease_seconds)
        merged = merge.merge_chunk(connection, taken, run.number)
        reach("load.staging_cleared")
        checked = watermarks.read_all(connection, settings.max_future_skew)
        _refuse({source: why for source, why in checked.problems.items() if source not in corrupt})
        _advance(connection, merged.newest, checked.sound, run.number)
        reach("load.watermark_moved")
        run.watermark_after = _pipeline(connection, checked, idle_after)
        run.spent.update({"judge": judged - started, "lock": locked - judged, **merged.seconds})
        run.conflicts.update(merged.conflicts)
        load_runs.add_chunk(
            connection,
            run.number,
            merged.outcomes,
            run.watermark_after,
            time.monotonic() - started,
            run.spent,
            run.conflicts,
        )
        reach("load.run_logged")
    reach("load.committed")
    run.chunks.append(merged)
    database.checkpoint(connection)
    log.info(
        "loaded a chunk of %d records in run %d",
        merged.rows,
        run.number,
        extra=event("chunk_loaded", run=run.number, records=merged.rows),
    )
    return True


def _judge(
    connection: Connection, settings: WorkerSettings, lease: Lease
) -> tuple[chunk.Chunk | None, Collection[str]]:
    """The next chunk, decided, and the sources that it leaves in staging because their watermarks do not hold."""
    check(connection, lease)
    columns = install.contract_columns(connection)
    share = (settings.stages.shares() | flags.overrides(connection))["dedupe"]
    corrupt = watermarks.read_all(connection, settings.max_future_skew).problems
    # A worker whose clock was wrong may have staged a later time.
    latest = timestamps.to_text(watermarks.latest_sound(connection, settings.max_future_skew))
    taken = chunk.take(
        connection, columns, settings.load_chunk_records, lease.until, share, without=corrupt, latest=latest,
        partition=lease.partition,
    )  # fmt: skip
    return taken, corrupt


def _refuse_what_is_left(connection: Connection, max_future: timedelta) -> None:
    """Raises WatermarkCorrupt where staging holds rows of a source whose watermark does not hold."""
    with database.reading(connection):
        corrupt = watermarks.read_all(connection, max_future).problems
        left = staging.sources(connection, corrupt)
    _refuse({source: corrupt[source] for source in left})


def _refuse(problems: dict[str, str]) -> None:
    if problems:
        raise WatermarkCorrupt("; ".join(problems.values()))


def _pipeline(
    connection: Connection, checked: watermarks.Checked, idle_after: timedelta | None
) -> str | None:
    """The pipeline's watermark: sources that have been idle for long do not hold it back.

    None where that of another does not hold: which is the least is not known.
    """
    idle = watermarks.idle_sources(connection, idle_after)
    return None if set(checked.problems) - idle else watermarks.pipeline(checked.sound, idle)


def _advance(
    connection: Connection, newest: list[watermarks.Move], by_source: dict[str, str], number: int
) -> None:
    for move in newest:
        if watermarks.advance(connection, move, by_source.get(move.source), number) and move.value:
            by_source[move.source] = move.value


def _log_failure(engine: Engine, number: int, error: BaseException) -> None:
    """Logs the run as failed; where even that cannot be written, the first error is the one to see."""
    if isinstance(error, LockLost):
        return  # the run that took over has closed this one
    reported = str(error) if isinstance(error, SluiceError) else repr(error)
    try:
        with database.transaction(engine, "sums") as connection:
            load_runs.finish(connection, number, error=reported[:2000])
    except SluiceError as second:
        log.warning(
            "run %d could not be logged as failed: %s",
            number,
            second,
            extra=event("run_not_recorded", run=number),
        )


def as_receipt(run: Run) -> dict[str, object]:
    """A run as a JSON-able dictionary."""
    return asdict(run)

"""The RQ entry points: what a worker is asked to do, read as a table of contents."""

from __future__ import annotations

import faulthandler
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from redis import Redis
from rq import Retry, get_current_job
from rq.timeouts import BaseTimeoutException
from sqlalchemy import Engine

from store import database
from store.crash_points import reach
from store.dead_letters import parking
from store.errors import (
    ForgedMessage,
    LockHeld,
    MessageError,
    NewerMessage,
    OtherContract,
    StoreUnavailable,
    UsageError,
    WatermarkCorrupt,
)
from store.logs import event
from store.reconcile import runs as reconciliation
from store.tables import batches, flags
from worker import loader
from worker.batch import claims, receive
from worker.batch import poison as attempts
from worker.dead_letters import mirror, sweep
from worker.judge import stages
from worker.queue import client, identity, send
from worker.queue.message import Message
from worker.queue.quarantine import refuse
from worker.queue.rq_jobs import DONE
from worker.queue.upkeep import notes
from worker.workplace import Workplace, renewed_workplace, workplace

LOADER_PAGE_CACHE_MB = 28

LONGEST_WAIT_FOR_WATERMARK_SECONDS = 30
FOR_EVER = 10**9  # retries: a database that is away is no fault of the batch's

T = TypeVar("T")

log = logging.getLogger("sluice.jobs")


def process_batch(wire: dict[str, Any]) -> dict[str, Any] | Retry:
    """One batch: adapt, validate, store in one transaction, then mirror its dead letters.

    Delivered a second time it does nothing but finish what the first delivery left undone. While the
    database is away it waits here, and then on the queue, as long as that takes.
    """
    reach("job.begun")
    here = workplace()
    job = get_current_job()
    try:
        if isinstance(wire, dict) and DONE in wire:
            return patiently(here.worker.patience_seconds, lambda: _done_before(here, wire[DONE]))
        message = Message.from_wire(wire)
        identity.check(message, job.id if job else None)
        receipt = _process_by_its_contract(here, message)
    except ForgedMessage as error:
        if job:
            refuse(job, str(error))
        raise
    except (StoreUnavailable, WatermarkCorrupt, OtherContract, NewerMessage, UsageError) as error:
        log.warning(
            "batch %s goes back to the queue: %s",
            job.id if job else "",
            error,
            extra=event("batch_returned", batch=job.id if job else None),
        )
        if job and not isinstance(error, StoreUnavailable):
            client.Broker(here.redis(), here.worker).hold(job.id, str(error))
        return _another_attempt(here, error)
    reach("job.done")
    return receipt


def _another_attempt(here: Workplace, error: Exception) -> Retry:
    """When a batch is tried again. What a repair of its watermark or of a clock ends is tried often."""
    most = client.ATTEMPTS if isinstance(error, OtherContract | UsageError) else FOR_EVER
    intervals = [max(each, 1) for each in here.worker.retry_intervals_seconds]  # a burst must see it wait
    if isinstance(error, WatermarkCorrupt):
        intervals = [min(each, LONGEST_WAIT_FOR_WATERMARK_SECONDS) for each in intervals]
    return Retry(max=most, interval=intervals)


def _process_by_its_contract(here: Workplace, message: Message) -> dict[str, Any]:
    """Reads configuration and modules again where the batch was sent for others. Raises OtherContract, UsageError."""
    try:
        return patiently(here.worker.patience_seconds, lambda: _process(here, message))
    except OtherContract:
        log.info(
            "batch %s was sent for another contract or mapping: both are read again",
            message.id,
            extra=event("configuration_read_again", batch=message.id),
        )
    renewed = renewed_workplace()
    if renewed is not here and (job := get_current_job()):
        notes.renew(here.redis(), job.worker_name, renewed.judges.fingerprints())
    return patiently(renewed.worker.patience_seconds, lambda: _process(renewed, message))


def _process(here: Workplace, message: Message) -> dict[str, Any]:
    redis = here.redis()
    with here.database() as engine:
        view = receive.look(engine, message, here.worker.max_future_skew)
        batch = None
        if view.split:
            _send_parts(here, engine, redis, message)
        if not view.processed:
            claims.check(engine, message)
            judge = here.judges.judge_for(message.source, message.fingerprint)
            shares = here.worker.stages.shares() | view.flags
            deaths = attempts.begin(redis, message)
            suspect = attempts.is_suspect(message, deaths)
            if suspect and len(message.records) > 1:
                return _split(here, engine, redis, message)
            verdict = _judge(here, redis, message, judge, view, shares, poison=suspect)
            here.check_columns(judge, verdict.judged.valid)
            stored = receive.store(engine, message, judge, verdict, here.worker.max_replays)
            if stored:
                batch = stored.batch
                with mirror.tolerated():
                    mirror.publish_new(redis, engine, stored.letters)
        with mirror.tolerated():
            mirror.flush_outbox(redis, engine)
    here.load_requests.count(batch.staged if batch else 0, client.Broker(redis, here.worker))
    if batch is None:
        log.info(
            "batch %s was processed before: nothing to do",
            message.id,
            extra=event("batch_known", batch=message.id),
        )
        return {"batch": message.id, "processed_before": True}
    log.info(
        "batch %s of %s: received %d, staged %d, rejected %d",
        batch.id, batch.source, batch.received, batch.staged, batch.rejected,
        extra=event(
            "batch_processed", batch=batch.id, source=batch.source, received=batch.received, staged=batch.staged,
            rejected=batch.rejected, skipped=batch.skipped,
        ),
    )  # fmt: skip
    return {"batch": batch.id, "received": batch.received, "staged": batch.staged, "rejected": batch.rejected}


def _judge(
    here: Workplace,
    redis: Redis,
    message: Message,
    judge: stages.Judge,
    view: receive.View,
    shares: dict[str, float],
    *,
    poison: bool,
) -> receive.Verdict:
    """Judges the batch's records; a single one that killed its judges is not judged again, but poison."""
    started = time.monotonic()
    limit = here.worker.judge_timeout_seconds + here.worker.judge_timeout_per_record_seconds * len(
        message.records
    )
    # Not a signal: a validator that hangs in C code would never let one in. The process ends, with a
    # traceback of where it hung, and that is an attempt that counts.
    faulthandler.dump_traceback_later(limit, exit=True)
    try:
        judged = (
            stages.poisoned(message)
            if poison
            else stages.judge_batch(message, judge, view.watermark, view.now, shares)
        )
    except (MemoryError, BaseTimeoutException):
        raise  # the attempt stays counted
    except BaseException:
        attempts.end(redis, message)
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()
    reach("batch.judged")
    attempts.end(redis, message)
    return receive.Verdict(judged, view.watermark, time.monotonic() - started, view.letters_waiting)


def _done_before(here: Workplace, batch: Any) -> dict[str, Any]:
    """A job whose batch was processed, once more: it holds no records. Raises MessageError if the store lacks them."""
    with here.database() as engine, database.reading(engine) as connection:
        if isinstance(batch, str) and batches.known(connection, [batch]):
            return {"batch": batch, "processed_before": True}
    raise MessageError(
        f"job {batch!s:.64} was done before and holds no records, and the store does not know its batch: if the store "
        "was restored from a backup, send its file again"
    )


def _split(here: Workplace, engine: Engine, redis: Redis, message: Message) -> dict[str, Any]:
    """Sends the two halves of a batch that killed its workers; first the halves, then the note of it."""
    parts = identity.halves(message)
    if message.kind == "replay":
        claims.register_parts(engine, parts)
    client.Broker(redis, here.worker).send(parts)
    reach("split.sent")
    receive.store_split(engine, message, parts)
    attempts.end(redis, message)
    log.warning(
        "batch %s of %s killed its workers: its %d records are tried in halves", message.id, message.source,
        len(message.records),
        extra=event("batch_split", batch=message.id, source=message.source, records=len(message.records)),
    )  # fmt: skip
    return {"batch": message.id, "split_into": [part.id for part in parts]}


def _send_parts(here: Workplace, engine: Engine, redis: Redis, message: Message) -> None:
    """Sends those parts of a batch that was split before that Redis has lost before they were processed."""
    broker = client.Broker(redis, here.worker)
    if parts := send.unsent(engine, broker, [message]):
        broker.send([part.message for part in parts])
        log.warning(
            "batch %s was split before: %d of its parts were lost and are sent again",
            message.id,
            len(parts),
            extra=event("parts_sent_again", batch=message.id, parts=len(parts)),
        )


def patiently(seconds: float, do: Callable[[], T]) -> T:
    """Tries until it succeeds or the time is up, with backoff, one log line a try. Raises StoreUnavailable."""
    deadline = time.monotonic() + seconds
    pause = 0.5
    while True:
        try:
            return do()
        except StoreUnavailable as error:
            if time.monotonic() + pause > deadline:
                raise
            log.warning(
                "%s; the next try in %.1f s", error, pause, extra=event("store_away", pause_seconds=pause)
            )
            time.sleep(pause)
            pause = min(pause * 2, 8.0)


def load_staged() -> dict[str, Any]:
    """One run of the loader, and whatever the outbox still holds. A loader at work already is no error."""
    reach("load.begun")
    here = workplace()
    return patiently(here.worker.patience_seconds, lambda: _load(here))


def _load(here: Workplace) -> dict[str, Any]:
    with here.database(page_cache_mb=LOADER_PAGE_CACHE_MB) as engine:
        redis = here.redis()
        for action in parking.open_due(engine):
            log.info(
                "action %d: %d parked letters are open again, %s",
                action.seq,
                action.letters,
                action.why,
                extra=event("letters_unparked", action=action.seq, letters=action.letters),
            )
        with mirror.tolerated():
            sweep.sweep(engine, client.Broker(redis, here.worker))
        with mirror.tolerated():
            mirror.flush_outbox(redis, engine)
        try:
            return loader.as_receipt(loader.load(engine, here.worker, idle_after=here.store.idle_after))
        except LockHeld as held:
            log.info("%s: this run is left to it", held, extra=event("load_held"))
            return {"number": None, "held": True}


def reconcile_sources() -> dict[str, Any]:
    """The periodic comparison of sources, kept with what is new since the last; only where its flag is on."""
    here = workplace()
    with here.database() as engine:
        with database.reading(engine) as connection:
            share = (here.worker.stages.shares() | flags.overrides(connection))["reconcile"]
        if not share:
            return {"off": True}
        with database.transaction(engine) as connection:
            result = reconciliation.reconcile_and_keep(
                connection, tolerances=here.worker.reconcile_tolerances
            )
    log.info(
        "reconciled: %d matched, %d mismatched",
        result.matched,
        result.mismatched,
        extra=event("reconciled", keys=result.keys, matched=result.matched, mismatched=result.mismatched),
    )
    return {"keys": result.keys, "matched": result.matched, "mismatched": result.mismatched}

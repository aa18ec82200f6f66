"""The metrics of the queue: lengths of lists and registries, the workers, and how long the oldest batch waits."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from redis import Redis
from rq.registry import FailedJobRegistry

from store import database
from store.database import install
from store.errors import SluiceError
from store.reports.metrics import SUCCESS, Metric, Values
from store.settings import StoreSettings
from store.tables import batches
from worker.queue import lost
from worker.queue.client import Broker
from worker.queue.names import LOADER_QUEUE, RECORDS_QUEUE
from worker.queue.rq_jobs import SluiceJob
from worker.settings import WorkerSettings

BATCHES = Metric(
    "sluice_queue_batches",
    "Jobs of a queue in each state: queued, started, retrying, failed; of batches also held and lost. "
    "On the queue loader each is a load",
    ("queue", "state"),
)
OLDEST = Metric(
    "sluice_queue_oldest_timestamp_seconds",
    "When the batch that waits longest, or is worked on, was sent; absent where there is none",
)
WORKERS = Metric("sluice_workers", "Live workers that take batches")

METRICS = (BATCHES, OLDEST, WORKERS)

MOST_LOOKED_AT = (
    100  # of the queue, of those started and of those that wait for another attempt: the first ones
)


def queue_values(redis: Redis, settings: WorkerSettings, store: StoreSettings) -> Values:
    """The queue's metrics; without the store not whether noted batches are lost. Raises QueueUnavailable."""
    broker = Broker(redis, settings)
    counts: dict[tuple[str, ...], float] = {
        (queue, state): float(number)
        for queue in (RECORDS_QUEUE, LOADER_QUEUE)
        for state, number in _counts(broker, queue).items()
    }
    held = min(broker.held_count(), int(counts[RECORDS_QUEUE, "retrying"]))
    counts[RECORDS_QUEUE, "retrying"] -= held
    counts[RECORDS_QUEUE, "held"] = float(held)
    if (unsettled := _lost(redis, store)) is not None:
        counts[RECORDS_QUEUE, "lost"] = float(unsettled)
    oldest = _oldest(broker)
    return {
        BATCHES.name: counts,
        OLDEST.name: {} if oldest is None else {(): oldest},
        WORKERS.name: {(): float(broker.workers(RECORDS_QUEUE))},
        SUCCESS.name: {("queue",): 1.0},
    }


def _counts(broker: Broker, name: str) -> dict[str, int]:
    """State -> jobs, at one moment."""
    queue = broker.queue(name)
    with broker.redis.pipeline(transaction=True) as pipeline:
        pipeline.llen(queue.key)
        pipeline.llen(queue.intermediate_queue_key)  # a worker has just taken these
        pipeline.zcard(queue.started_job_registry.key)
        pipeline.zcard(queue.scheduled_job_registry.key)
        pipeline.zcard(FailedJobRegistry(queue=queue).key)
        queued, taken, started, retrying, failed = pipeline.execute()
    return {"queued": queued, "started": taken + started, "retrying": retrying, "failed": failed}


def _lost(redis: Redis, store: StoreSettings) -> int | None:
    """Noted batches that the inbox does not have, as `lost.unsettled`, which writes; None: no store answers."""
    keys: Any = redis.hkeys(lost.KEY)
    noted = [id.decode() for id in keys if id.isascii()]
    if not noted:
        return 0
    try:
        with install.opened_for_reading(store) as engine, database.reading(engine) as connection:
            return len(set(noted) - batches.known(connection, noted))
    except SluiceError:  # the store's own metrics say why
        return None


def _oldest(broker: Broker) -> float | None:
    """When the first of the first ones was sent, as Unix time."""
    queue, last = broker.queue(), MOST_LOOKED_AT - 1
    with broker.redis.pipeline(transaction=True) as pipeline:
        pipeline.lrange(queue.key, 0, last)
        pipeline.lrange(queue.intermediate_queue_key, 0, last)
        pipeline.zrange(queue.started_job_registry.key, 0, last)
        pipeline.zrange(queue.scheduled_job_registry.key, 0, last)
        ids = {member.partition(b":")[0].decode(errors="replace") for member in chain(*pipeline.execute())}
    with broker.redis.pipeline(transaction=False) as pipeline:
        for id in ids:
            pipeline.hget(SluiceJob.key_for(id), "created_at")
        return min(_times(pipeline.execute(raise_on_error=False)), default=None)


def _times(found: Iterable[object]) -> Iterable[float]:
    """Those that are times; a job's hash in Redis may be anybody's."""
    for each in found:
        if isinstance(each, bytes):
            try:
                moment = datetime.fromisoformat(each.decode("ascii", "replace"))
            except ValueError:  # not of a job of ours
                continue
            yield moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()

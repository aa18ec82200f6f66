"""What brings abandoned jobs back: done by every worker, every few seconds, by whoever gets there first.

RQ does this every ten minutes, under a lock that outlives its holder by fifteen, and takes a minute to
believe that a popped job was lost. Here a job whose worker died is another's within half a minute,
however long the queue is.
"""

from __future__ import annotations

import time

from redis import Redis
from redis.exceptions import WatchError
from rq import Queue
from rq.job import JobStatus
from rq.registry import ScheduledJobRegistry
from rq.utils import as_text, current_timestamp

from worker.queue.quarantine import is_job_id, set_aside
from worker.queue.rq_internals import SluiceJob, SluiceQueue

LOCK_KEY = "sluice:maintenance:"
LOCK_SECONDS = 10
SEEN_KEY = "sluice:intermediate:"


def maintain(redis: Redis, queue: SluiceQueue, abandoned_after: float) -> None:
    """Retries that are due, jobs lost between queue and worker, jobs whose worker fell silent."""
    enqueue_due(redis, queue)
    # Two at once would spend two of an abandoned job's retries; the lock dies with its holder soon.
    if redis.set(LOCK_KEY + queue.name, 1, nx=True, ex=LOCK_SECONDS):
        try:
            # Of RQ's registries, those that our jobs are in: they have no dependencies and no rate limits.
            for registry in (
                queue.started_job_registry,
                queue.finished_job_registry,
                queue.failed_job_registry,
            ):
                registry.cleanup()
            recover_popped(redis, queue, abandoned_after / 2)
        finally:
            redis.delete(LOCK_KEY + queue.name)


def enqueue_due(redis: Redis, queue: Queue) -> int:
    """Puts jobs whose wait for another attempt is over back on their queue, at its head; how many.

    The move is one transaction, so a death here leaves the job where it was.
    """
    registry = ScheduledJobRegistry(queue=queue)  # type: ignore[no-untyped-call]
    moved = 0
    for id in registry.get_jobs_to_schedule(current_timestamp()):
        with redis.pipeline(transaction=True) as pipeline:
            try:
                pipeline.watch(registry.key)  # type: ignore[no-untyped-call]
                if pipeline.zscore(registry.key, id) is None:
                    continue
                pipeline.multi()
                pipeline.zrem(registry.key, id)
                pipeline.hset(SluiceJob.key_for(id), "status", JobStatus.QUEUED)
                pipeline.lpush(queue.key, id)
                pipeline.execute()
                moved += 1
            except WatchError:  # another worker moves it, or the next round does
                continue
    return moved


def recover_popped(redis: Redis, queue: SluiceQueue, stuck_after: float) -> int:
    """Puts back jobs that were popped by a worker that died before it began; how many.

    A job is popped and begun within milliseconds: one that lies between for seconds is lost.
    """
    lying = []
    for found in redis.lrange(queue.intermediate_queue_key, 0, -1):
        if is_job_id(found):  # type: ignore[arg-type]
            lying.append(as_text(found))
        else:
            set_aside(redis, queue.key, found, "no job has such an id")  # type: ignore[arg-type]
    started = set(queue.started_job_registry.get_job_ids(cleanup=False)) if lying else set()
    seen_key = SEEN_KEY + queue.name
    recovered = 0
    for id in lying:
        if id in started:
            continue
        redis.hsetnx(seen_key, id, str(time.time()))
        if time.time() - float(redis.hget(seen_key, id) or 0) < stuck_after:
            continue
        with redis.pipeline(transaction=True) as pipeline:
            pipeline.lrem(queue.intermediate_queue_key, 1, id)
            pipeline.hdel(seen_key, id)
            if redis.exists(SluiceJob.key_for(id)):
                pipeline.hset(SluiceJob.key_for(id), "status", JobStatus.QUEUED)
                pipeline.lpush(queue.key, id)
                recovered += 1
            pipeline.execute()
    gone = {as_text(id) for id in redis.hkeys(seen_key)} - set(lying)
    if gone:
        redis.hdel(seen_key, *gone)
    return recovered

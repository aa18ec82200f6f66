"""What brings abandoned jobs back: done by every worker, every few seconds, by whoever gets there first.

RQ does this every ten minutes, under a lock that outlives its holder by fifteen, and takes a minute to
believe that a popped job was lost. Here a job whose worker died is another's within half a minute,
however long the queue is.

Each member of a registry is looked at by itself: one that is not ours is quarantined, and the others go on.

RQ scores its registries by the clock of whoever writes there. Those scores decide nothing here: a batch is abandoned
when Redis has let the heartbeat of its execution expire, and whatever is asked for by time is asked by Redis' clock.
"""

from __future__ import annotations

import logging
from typing import Any, cast

from redis import Redis
from redis.exceptions import ResponseError, WatchError
from rq import Queue
from rq.defaults import RQ_KEY_PREFIX
from rq.exceptions import AbandonedJobError, NoSuchJobError
from rq.job import JobStatus
from rq.job_lifecycle import record_job_failure
from rq.registry import BaseRegistry, ScheduledJobRegistry
from rq.utils import as_text
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from store.logs import event
from worker.queue import lost
from worker.queue.quarantine import is_job_id, is_worker_key, set_aside, set_member_aside
from worker.queue.rq_jobs import SluiceJob, SluiceQueue
from worker.queue.serializer import JsonSerializer
from worker.queue.server.clock import server_time

LOCK_KEY = "sluice:maintenance:"
LOCK_SECONDS = 10
SEEN_KEY = "sluice:intermediate:"
AT_ONCE = 1000
GONE, NO_END = -2, -1  # what Redis says of the time to live of a key
# No job waits for another attempt longer than its intervals say, or than this where they are not known: a later time
# was written by a stranger, or before Redis' clock was set back.
LONGEST_SECONDS = 7 * 86400
SLACK_SECONDS = (
    60  # a heartbeat that lasts this much longer than ours do was sent before Redis' clock was set back
)

log = logging.getLogger("sluice.queue")


def maintain(redis: Redis, queue: SluiceQueue, abandoned_after: float) -> None:
    """Retries that are due, jobs lost between queue and worker, jobs whose worker fell silent."""
    enqueue_due(redis, queue)
    # Two at once would spend two of an abandoned job's retries; the lock dies with its holder soon.
    if _locked(redis, LOCK_KEY + queue.name):
        try:
            recover_abandoned(redis, queue, abandoned_after)
            # Of RQ's other registries, those that our jobs are in: they have no dependencies and no rate limits.
            for registry in (queue.finished_job_registry, queue.failed_job_registry):
                forget_expired(redis, registry)
            recover_popped(redis, queue, abandoned_after / 2)
            clean_workers(redis, queue.name)
        finally:
            redis.delete(LOCK_KEY + queue.name)


def _locked(redis: Redis, key: str) -> bool:
    """Takes the lock; one that would not end by itself is no lock of ours, and is made to end."""
    if redis.set(key, 1, nx=True, ex=LOCK_SECONDS):
        return True
    if not 0 <= redis.ttl(key) <= LOCK_SECONDS:
        redis.expire(key, LOCK_SECONDS)
    return False


def enqueue_due(redis: Redis, queue: Queue) -> int:
    """Puts jobs whose wait for another attempt is over back on their queue, at its head; how many.

    The move is one transaction, so a death here leaves the job where it was.
    """
    key = ScheduledJobRegistry(queue=queue).key  # type: ignore[no-untyped-call]
    terms = SluiceJob.terms.get(queue.name)
    longest = max(terms.retry_intervals, default=0) + 1 if terms else LONGEST_SECONDS
    return sum(_enqueue(redis, queue, key, found) for found in _due(redis, key, longest))


def _due(redis: Redis, key: str, longest: float) -> list[bytes]:
    """Members whose time has come, or that would wait for longer than any does."""
    at = server_time(redis)
    due: Any = redis.zrangebyscore(key, "-inf", at, start=0, num=AT_ONCE)
    too_late: Any = redis.zrangebyscore(key, at + longest, "+inf", start=0, num=AT_ONCE)
    return [*due, *too_late]


def _enqueue(redis: Redis, queue: Queue, registry: str, found: bytes) -> bool:
    """Moves one due job from its registry to the head of the queue."""
    if not is_job_id(found):
        set_member_aside(redis, registry, found, "no job has such an id")
        return False
    id = as_text(found)
    with redis.pipeline(transaction=True) as pipeline:
        try:
            pipeline.watch(registry)  # type: ignore[no-untyped-call]
            if pipeline.zscore(registry, id) is None:
                return False
            exists = pipeline.exists(SluiceJob.key_for(id))
            pipeline.multi()
            pipeline.zrem(registry, id)
            if exists:
                _push(pipeline, queue, id)
            pipeline.execute()
        except WatchError:  # another worker moves it, or the next round does
            return False
    if not exists:
        lost.note(redis, registry, id)
    return bool(exists)


def _push(pipeline: Redis, queue: Queue, id: str) -> None:
    """Puts a job that is in Redis on its queue, to be taken next; a job that waits does not expire."""
    pipeline.hset(SluiceJob.key_for(id), "status", JobStatus.QUEUED)
    pipeline.persist(SluiceJob.key_for(id))
    pipeline.lpush(queue.key, id)


def recover_abandoned(redis: Redis, queue: SluiceQueue, abandoned_after: float) -> int:
    """Gives jobs whose worker fell silent another attempt, or fails those that had all of theirs; how many."""
    registry = queue.started_job_registry.key
    recovered = 0
    for member in cast("list[bytes]", redis.zrange(registry, 0, -1)):
        job_id, colon, execution = member.partition(b":")
        if not (colon and is_job_id(job_id) and is_job_id(execution)):
            set_member_aside(redis, registry, member, "it names no job and execution")
        elif not _beats(redis, member, abandoned_after):
            recovered += _recover(redis, queue, registry, member, as_text(job_id))
    return recovered


def _beats(redis: Redis, member: bytes, abandoned_after: float) -> bool:
    """Whether the execution's latest heartbeat has not expired; one that lasts too long is made to expire soon."""
    key = f"{RQ_KEY_PREFIX}:execution:".encode() + member
    left = redis.ttl(key)
    if left == NO_END or left > abandoned_after + SLACK_SECONDS:
        redis.expire(key, max(int(abandoned_after), 1))
    return left != GONE


def forget_expired(redis: Redis, registry: BaseRegistry) -> None:
    """Takes jobs off a registry whose time there is over; not those that Redis still has.

    RQ asks the scores alone: a worker whose clock was behind would make a failed batch be forgotten at once.
    """
    over: Any = redis.zrangebyscore(registry.key, "-inf", server_time(redis), start=0, num=AT_ONCE)
    with redis.pipeline(transaction=False) as pipeline:
        for id in over:
            pipeline.exists(f"{RQ_KEY_PREFIX}:job:".encode() + id)
        gone = [id for id, exists in zip(over, pipeline.execute(), strict=True) if not exists]
    if gone:
        redis.zrem(registry.key, *gone)


def _recover(redis: Redis, queue: SluiceQueue, registry: str, member: bytes, id: str) -> bool:
    """Another attempt at one abandoned job; its status in Redis is not asked: it may be anybody's."""
    try:
        job: Any = SluiceJob.fetch(id, connection=redis, serializer=JsonSerializer)
    except NoSuchJobError:
        redis.zrem(registry, member)
        lost.note(redis, registry, id)
        return False
    except (ValueError, TypeError, LookupError, ResponseError) as error:
        set_member_aside(redis, registry, member, str(error)[:200] or type(error).__name__)
        return False
    if _is_elsewhere(redis, queue, id):
        redis.zrem(registry, member)
        return False
    job.belong_to(queue.name)
    with redis.pipeline(transaction=True) as pipeline:
        if job.retries_left and job.retries_left > 0:
            job.retry(queue, pipeline)
        else:
            why = f"Moved to FailedJobRegistry, due to {AbandonedJobError.__name__}"
            log.warning(
                "job %s was abandoned by its worker, and had all of its attempts",
                id,
                extra=event("job_abandoned", job=id),
            )
            record_job_failure(job, why, pipeline)
        pipeline.zrem(registry, member)
        pipeline.execute()
    return True


def _is_elsewhere(redis: Redis, queue: SluiceQueue, id: str) -> bool:
    """Whether a job has failed, or waits already: then what was left of it among those at work says nothing.

    That it was finished once says nothing either: it may have been sent again since.
    """
    failed_or_waits = (queue.failed_job_registry, queue.scheduled_job_registry)
    if any(redis.zscore(registry.key, id) is not None for registry in failed_or_waits):
        return True
    return redis.lpos(queue.key, id) is not None


def recover_popped(redis: Redis, queue: SluiceQueue, stuck_after: float) -> int:
    """Puts back jobs that were popped by a worker that died before it began; how many.

    A job is popped and begun within milliseconds: one that lies between for seconds is lost.
    """
    lying = []
    for found in cast("list[bytes]", redis.lrange(queue.intermediate_queue_key, 0, -1)):
        if is_job_id(found):
            lying.append(as_text(found))
        else:
            set_aside(redis, queue.key, found, "no job has such an id")
    started = _started(redis, queue) if lying else set()
    seen_key = SEEN_KEY + queue.name
    recovered = 0
    for id in lying:
        if id not in started and _lies_since(redis, seen_key, id) >= stuck_after:
            recovered += _put_back(redis, queue, seen_key, id)
    gone = set(cast("list[bytes]", redis.hkeys(seen_key))) - {id.encode() for id in lying}
    if gone:
        redis.hdel(seen_key, *gone)
    return recovered


def _started(redis: Redis, queue: SluiceQueue) -> set[str]:
    """The jobs that are being worked on."""
    members = cast("list[bytes]", redis.zrange(queue.started_job_registry.key, 0, -1))
    return {as_text(id) for id in (member.partition(b":")[0] for member in members) if is_job_id(id)}


def _lies_since(redis: Redis, seen_key: str, id: str) -> float:
    """For how many seconds an id is known to lie between queue and worker."""
    at = server_time(redis)
    redis.hsetnx(seen_key, id, str(at))
    try:
        seconds = at - float(redis.hget(seen_key, id) or 0)
    except ValueError:  # a stranger's; it is seen anew
        seconds = -1.0
    if not seconds >= 0:
        redis.hset(seen_key, id, str(at))
        return 0.0
    return seconds


def _put_back(redis: Redis, queue: SluiceQueue, seen_key: str, id: str) -> bool:
    with redis.pipeline(transaction=True) as pipeline:
        pipeline.lrem(queue.intermediate_queue_key, 1, id)
        pipeline.hdel(seen_key, id)
        if exists := bool(redis.exists(SluiceJob.key_for(id))):
            _push(pipeline, queue, id)
        pipeline.execute()
    if not exists:
        lost.note(redis, queue.key, id)
    return exists


def clean_workers(redis: Redis, queue: str) -> None:
    """Takes workers that are gone off the lists, and whatever is no worker's key."""
    for key in (WORKERS_BY_QUEUE_KEY % queue, REDIS_WORKER_KEYS):
        for member in cast("set[bytes]", redis.smembers(key)):
            if not is_worker_key(member):
                set_member_aside(redis, key, member, "it is no worker's key", is_sorted=False)
            elif not redis.exists(member):
                redis.srem(key, member)

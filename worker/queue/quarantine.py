"""What is on a queue and is no job: moved to a list of its own, where RQ's worker would die of it."""

from __future__ import annotations

import logging
import re

from redis import Redis
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.worker import BaseWorker

from store.errors import SluiceError
from store.logs import event
from store.text import printable

SET_ASIDE_KEY = (
    "sluice:set-aside"  # a list of job ids, of members of registries, and of keys that were renamed
)
JOB_ID = re.compile(rb"[A-Za-z0-9_-]+")
WORKER_PREFIX = BaseWorker.redis_worker_namespace_prefix

log = logging.getLogger("sluice.queue")


class ForbiddenFunction(SluiceError):
    """A job names a function that is not one of ours: it fails without being run."""


class NotAJob(ValueError):
    """What lies under a job's id cannot be read as one."""


def refuse(job: Job, why: str) -> None:
    """Quarantines the id of a job that is at work, and lets it fail for good: another attempt would find the same."""
    log.error(
        "job %.200r is refused (%s): set aside on %s",
        job.id,
        printable(why),
        SET_ASIDE_KEY,
        extra=event("quarantined", entry=printable(job.id)[:200]),
    )
    job.retries_left = None
    job.connection.rpush(SET_ASIDE_KEY, job.id)


def is_job_id(found: bytes) -> bool:
    """Whether RQ would take it for a job's id."""
    return JOB_ID.fullmatch(found) is not None


def is_worker_key(found: bytes) -> bool:
    """Whether RQ would take it for a worker's key."""
    text = found.decode(errors="replace")
    return text.startswith(WORKER_PREFIX) and "\ufffd" not in text and text.isprintable()


def set_aside(redis: Redis, queue_key: str, job_id: bytes, why: str) -> None:
    """Moves what was popped from the queue to the list; what lies under its id stays where it is."""
    log.error(
        "%.200r on %s is no job (%s): set aside on %s",
        job_id,
        queue_key,
        why,
        SET_ASIDE_KEY,
        extra=event("quarantined", entry=printable(repr(job_id))[:200], key=queue_key),
    )
    with redis.pipeline(transaction=True) as pipeline:
        pipeline.lrem(IntermediateQueue.get_intermediate_queue_key(queue_key), 1, job_id)  # type: ignore[arg-type]
        pipeline.rpush(SET_ASIDE_KEY, job_id)
        pipeline.execute()


def set_member_aside(redis: Redis, key: str, member: bytes, why: str, *, is_sorted: bool = True) -> None:
    """Moves a member that is not ours from a sorted set, or from a set, to the list.

    Redis is not asked which of them it is: for a moment it may be neither, while another process mends it.
    """
    log.error(
        "%.200r in %s is not ours (%s): set aside on %s",
        member,
        key,
        why,
        SET_ASIDE_KEY,
        extra=event("quarantined", entry=printable(repr(member))[:200], key=key),
    )
    with redis.pipeline(transaction=True) as pipeline:
        (pipeline.zrem if is_sorted else pipeline.srem)(key, member)
        pipeline.rpush(SET_ASIDE_KEY, member)
        pipeline.execute()


def count(redis: Redis) -> int:
    """How many entries are in quarantine."""
    return int(redis.llen(SET_ASIDE_KEY))

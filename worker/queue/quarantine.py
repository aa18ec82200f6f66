"""What is on a queue and is no job: moved to a list of its own, where RQ's worker would die of it."""

from __future__ import annotations

import logging
import re

from redis import Redis
from rq.intermediate_queue import IntermediateQueue

from store.errors import SluiceError

SET_ASIDE_KEY = "sluice:set-aside"  # a list of job ids
JOB_ID = re.compile(rb"[A-Za-z0-9_-]+")

log = logging.getLogger("sluice.queue")


class ForbiddenFunction(SluiceError):
    """A job names a function that is not one of ours: it fails without being run."""


class NotAJob(ValueError):
    """What lies under a job's id cannot be read as one."""


def is_job_id(found: bytes) -> bool:
    """Whether RQ would take it for a job's id."""
    return JOB_ID.fullmatch(found) is not None


def set_aside(redis: Redis, queue_key: str, job_id: bytes, why: str) -> None:
    """Moves what was popped from the queue to the list; what lies under its id stays where it is."""
    log.error("%.200r on %s is no job (%s): set aside on %s", job_id, queue_key, why, SET_ASIDE_KEY)
    with redis.pipeline(transaction=True) as pipeline:
        pipeline.lrem(IntermediateQueue.get_intermediate_queue_key(queue_key), 1, job_id)  # type: ignore[arg-type]
        pipeline.rpush(SET_ASIDE_KEY, job_id)
        pipeline.execute()

"""Batches that Redis has lost: their id was on the queue, and no job under it.

An id alone holds no records. So it is said aloud, and noted in `sluice:lost`, a hash of id -> when (ISO 8601, UTC),
until the batch is processed or sent again. The inbox tells which of them were processed after all.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Any

from redis import Redis
from rq.intermediate_queue import IntermediateQueue
from sqlalchemy import Engine

from store import database, timestamps
from store.logs import event
from store.tables import batches
from worker.queue.names import RECORDS_QUEUE
from worker.queue.quarantine import set_aside

KEY = "sluice:lost"
BATCH_ID = re.compile(r"[0-9a-f]{32}")
MOST = 10_000  # ids that are noted: more of them say nothing more

WHAT_TO_DO = "send its file again: only what is missing is sent"

log = logging.getLogger("sluice.queue")


def note_popped(redis: Redis, queue_key: str, id: str) -> None:
    """An id was popped from the queue, and no job is there."""
    redis.lrem(IntermediateQueue.get_intermediate_queue_key(queue_key), 1, id)
    note(redis, queue_key, id)


def note(redis: Redis, key: str, id: str) -> None:
    """An id was found in a list or registry, and was taken out of it, and no job is there."""
    if not key.endswith(f":{RECORDS_QUEUE}"):
        log.warning(
            "job %s on %s is gone from Redis: the next one of its kind does the same",
            id,
            key,
            extra=event("job_lost", job=id, key=key),
        )
    elif not BATCH_ID.fullmatch(id):
        set_aside(redis, key, id.encode(), "it is no batch's id, and no job is there")
    else:
        log.error(
            "batch %s on %s is gone from Redis: if it is not processed already, %s",
            id,
            key,
            WHAT_TO_DO,
            extra=event("batch_lost", batch=id, key=key),
        )
        if redis.hlen(KEY) < MOST:
            redis.hsetnx(KEY, id, timestamps.now_text())


def unsettled(redis: Redis, engine: Engine) -> list[str]:
    """The noted ids that the inbox does not have; the others are forgotten."""
    keys: Any = redis.hkeys(KEY)
    noted = [id.decode() for id in keys if id.isascii()]
    if not noted:
        return []
    with database.reading(engine) as connection:
        known = batches.known(connection, noted)
    forget(redis, known)
    return sorted(set(noted) - known)


def forget(redis: Redis, ids: Iterable[str]) -> None:
    """These were processed, or are sent again."""
    if found := list(ids):
        redis.hdel(KEY, *found)

"""Attempts at judging a batch, counted in Redis, to find the record that kills whoever judges it.

    judging begins: +1        judging ends, or fails like a program does: 0

What is left are the attempts that ended with their process: killed, out of memory, out of time. A batch
that did so too often is cut in half, each half is a batch of its own, and a single record that does it
becomes a dead letter with reason `poison`. Database and Redis are not touched while judging, so waiting
for them is never held against a record.
"""

from __future__ import annotations

from redis import Redis
from redis.exceptions import ResponseError

from worker.queue.client import translated
from worker.queue.message import Message

KEY = "sluice:attempts:"
REMEMBERED_SECONDS = 7 * 86400

TOLERATED = 3  # deaths before a whole batch, or a single record, is suspected
TOLERATED_PART = 1  # deaths before a part of a suspected batch is: an innocent part is only cut once more


def begin(redis: Redis, message: Message) -> int:
    """Counts one more attempt; how many before it ended with their process."""
    with translated():
        try:
            return _count(redis, message)
        except ResponseError as error:
            if "not an integer" not in str(error) and "overflow" not in str(error):
                raise
            redis.delete(KEY + message.id)  # a stranger's: no count of ours
            return _count(redis, message)


def _count(redis: Redis, message: Message) -> int:
    with redis.pipeline(transaction=True) as pipeline:
        pipeline.incr(KEY + message.id)
        pipeline.expire(KEY + message.id, REMEMBERED_SECONDS)
        return max(int(pipeline.execute()[0]), 1) - 1


def end(redis: Redis, message: Message) -> None:
    """The batch was judged, or failed for a reason that is not its records'."""
    with translated():
        redis.delete(KEY + message.id)


def is_under_suspicion(redis: Redis, batch_id: str) -> bool:
    """Whether somebody died while judging this batch, and nobody has judged it since."""
    with translated():
        return bool(redis.exists(KEY + batch_id))


def is_suspect(message: Message, deaths: int) -> bool:
    """Whether these deaths are enough to hold them against the batch."""
    is_part = message.part_of is not None and len(message.records) > 1
    return deaths >= (TOLERATED_PART if is_part else TOLERATED)

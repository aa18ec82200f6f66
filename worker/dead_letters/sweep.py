"""The sweep: letters of a replay whose batch is neither processed nor on its way, and that nobody sends, open again.

A batch is missed twice, half a minute apart by the clock of Redis, before its letters are opened: one that is just
being cut in two, or whose end is just being written, is in none of these for a moment. A batch that turns up later
is refused by the worker that takes it, for its letters are not in its action any more: nothing is loaded twice.
"""

from __future__ import annotations

import logging
from typing import Any

from redis import Redis
from sqlalchemy import Engine

from store import database
from store.dead_letters import sending
from store.logs import event
from store.tables import batches
from worker.dead_letters.replay import lost_batches
from worker.queue.client import Broker, translated
from worker.queue.server.clock import server_time

MISSED_KEY = "sluice:missed"  # a hash: batch -> when it was first missed, by the clock of Redis
TURN_KEY = "sluice:sweep"
EVERY_SECONDS = 15
MISSED_SECONDS = 30.0

log = logging.getLogger("sluice.jobs")


def sweep(engine: Engine, broker: Broker) -> int:
    """Opens the letters that are lost, if nobody has done so in the last seconds; how many."""
    redis = broker.redis
    with translated():
        if not _is_due(redis):
            return 0
    with database.reading(engine) as connection:
        found = sending.unattended(connection)
    missing = {action: lost_batches(engine, broker, action) for action in found}
    with translated():
        since = _missed_since(redis, set().union(*missing.values()))
        long_ago = server_time(redis) - MISSED_SECONDS
    number = 0
    for action, is_interrupted in found.items():
        lost = sorted(id for id in missing[action] if since[id] <= long_ago)
        if is_interrupted or lost:
            number += _open(engine, action, lost, is_interrupted=is_interrupted)
    return number


def _is_due(redis: Redis) -> bool:
    """Takes the turn; one that would not end by itself is none of ours, and is made to end."""
    if redis.set(TURN_KEY, 1, nx=True, ex=EVERY_SECONDS):
        return True
    if not 0 <= redis.ttl(TURN_KEY) <= EVERY_SECONDS:
        redis.expire(TURN_KEY, EVERY_SECONDS)
    return False


def _open(engine: Engine, action: int, lost: list[str], *, is_interrupted: bool) -> int:
    with database.transaction(engine) as connection:
        still_lost = set(lost) - batches.known(connection, lost)
        number = sending.open_lost(connection, action, sorted(still_lost)) if still_lost else 0
        if is_interrupted:
            number += sending.give_up(connection, action)
    if number:
        log.warning(
            "%d letters of replay %d were neither processed nor on their way: they are open again",
            number,
            action,
            extra=event("letters_reopened", action=action, letters=number),
        )
    return number


def _missed_since(redis: Redis, missing: set[str]) -> dict[str, float]:
    """When each was first missed; what turned up is forgotten."""
    noted: dict[Any, Any] = redis.hgetall(MISSED_KEY)
    now = server_time(redis)
    since = {id: _time(noted.get(id.encode()), now) for id in missing}
    with redis.pipeline(transaction=True) as pipeline:
        pipeline.delete(MISSED_KEY)
        if since:
            pipeline.hset(MISSED_KEY, mapping={id: str(at) for id, at in since.items()})
            pipeline.expire(MISSED_KEY, 86400)
        pipeline.execute()
    return since


def _time(noted: bytes | None, now: float) -> float:
    """The time that was noted; now where there is none, or one that cannot be."""
    try:
        at = float(noted) if noted else now
    except ValueError:  # a stranger's
        return now
    return at if at <= now else now

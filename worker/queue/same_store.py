"""Whether the database is the one that this Redis has worked for: a restored or a new one lacks what was processed."""

from __future__ import annotations

import logging

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from store import database
from store.database import generation
from store.logs import event
from store.settings import StoreSettings
from store.text import printable

KEY = "sluice:generation"

log = logging.getLogger("sluice.queue")


def note(redis: Redis, store: StoreSettings) -> None:
    """Lets Redis know the generation of the database; where it knew another one, with a warning, once."""
    path = database.sqlite_file(database.url_of(store))
    found = generation.state_of(path, counted=False) if path else None
    if found is None or not found.generation:
        return
    try:
        before = _known(redis)
        redis.set(KEY, found.generation)
    except RedisError:  # away, or not ready: whoever works with it next says so
        return
    if before not in (None, str(found.generation).encode()):
        log.warning(
            "the database %s is not the one that this Redis has worked for (generation %d): it was restored, replaced "
            "or made anew. What was processed since is not in it: send those files again, in their first order, and "
            "`store check --repair` makes the Redis DLQ equal to it",
            printable(str(path)),
            found.generation,
            extra=event("other_store", generation=found.generation),
        )


def _known(redis: Redis) -> bytes | None:
    try:
        known: bytes | None = redis.get(KEY)  # type: ignore[assignment]
    except ResponseError:  # of another type: it is written over
        return None
    return known

"""A short look at Redis by somebody who only shows it: starts no server, and waits no longer than a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from store.errors import QueueUnavailable
from worker.queue.client import at_address, redis_url, translated
from worker.queue.server import private_server
from worker.queue.server.connection import open_client
from worker.settings import WorkerSettings

REDIS_SECONDS = 1.0


@contextmanager
def visited(settings: WorkerSettings, home: Path) -> Iterator[tuple[Redis, str]]:
    """The Redis of the settings, and where it is. Raises QueueUnavailable."""
    if settings.redis_url is None and not private_server.is_running(home):
        raise QueueUnavailable("the private Redis does not run: `worker up` starts it")
    url = redis_url(settings, home)
    with (
        translated(url),
        open_client(url, socket_connect_timeout=REDIS_SECONDS, socket_timeout=REDIS_SECONDS) as redis,
    ):
        try:
            yield redis, at_address(url).removeprefix(" at ")
        except RedisError as error:
            raise QueueUnavailable(
                f"Redis{at_address(url)} does not answer ({type(error).__name__})"
            ) from error

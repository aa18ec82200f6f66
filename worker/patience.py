"""Waiting for a Redis that is away or full: with backoff, one log line a try, until it is back."""

from __future__ import annotations

import logging
import socket
from typing import Any

from redis import Redis
from redis.backoff import AbstractBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, OutOfMemoryError, ReadOnlyError, TimeoutError
from redis.retry import Retry

FIRST_SECONDS, LONGEST_SECONDS = 0.2, 5.0
QUIET_TRIES = 1  # a connection that was merely cut is made anew without a word

log = logging.getLogger("sluice.redis")

PASSING = (ConnectionError, TimeoutError, socket.timeout, BusyLoadingError, OutOfMemoryError, ReadOnlyError)


class Patience(AbstractBackoff):
    """The pauses between tries. `give_up` ends all waiting: the process has been asked to stop."""

    def __init__(self) -> None:
        self.give_up = False

    def compute(self, failures: int) -> float:
        if self.give_up:
            raise ConnectionError("Redis is away, and this process was asked to stop")
        pause = float(min(FIRST_SECONDS * 2.0 ** (failures - 1), LONGEST_SECONDS))
        if failures > QUIET_TRIES:
            log.warning("Redis does not answer or is full: try %d, the next in %.1f s", failures, pause)
        return pause


def make_patient(client: Redis) -> Patience:
    """Lets every command of this client wait for Redis to come back, however long it takes.

    A command whose answer was lost is sent again. For ours that is harmless: a batch queued twice is
    processed once, and a job moved to a worker that never heard of it is found by maintenance.
    """
    patience = Patience()
    retry = Retry(patience, retries=-1, supported_errors=PASSING)
    pool: Any = client.connection_pool
    pool.connection_kwargs |= {"retry": retry, "socket_connect_timeout": LONGEST_SECONDS}
    pool.connection_kwargs.pop("retry_on_error", None)
    pool.disconnect()
    client.set_retry(retry)
    return patience

"""Waiting for a Redis that is away or full: with backoff, one log line a try, until it is back."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.backoff import AbstractBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, OutOfMemoryError, ReadOnlyError, TimeoutError
from redis.retry import Retry
from rq.exceptions import StopRequested

FIRST_SECONDS, LONGEST_SECONDS = 0.2, 5.0
ANSWER_SECONDS = 15.0
QUIET_TRIES = 1  # a connection that was merely cut is made anew without a word

log = logging.getLogger("sluice.redis")

PASSING = (ConnectionError, TimeoutError, socket.timeout, BusyLoadingError, OutOfMemoryError, ReadOnlyError)


class Patience(AbstractBackoff):
    """The pauses between tries. `give_up` ends all waiting: the process has been asked to stop."""

    def __init__(self, say: Callable[[str], None] = log.warning) -> None:
        self.give_up = False
        self.is_silent = False  # somebody else waits too, and says so
        self._say = say

    def __deepcopy__(self, _memo: dict[int, Any]) -> Patience:
        return self  # redis copies it for every connection, and `give_up` is meant for all of them

    def compute(self, failures: int) -> float:
        if self.give_up and failures > QUIET_TRIES:
            # RQ's own word for it: its loops try again after a ConnectionError, and end at this.
            raise StopRequested("Redis is away, and this process was asked to stop")
        pause = float(min(FIRST_SECONDS * 2.0 ** (failures - 1), LONGEST_SECONDS))
        # RQ's thread for commands waits beside the worker's main one, and would say the same again.
        is_heard = not self.is_silent and threading.current_thread() is threading.main_thread()
        if is_heard and failures > QUIET_TRIES:
            self._say(f"Redis does not answer or is full: try {failures}, the next in {pause:.1f} s")
        return pause


def make_patient(client: Redis, say: Callable[[str], None] = log.warning) -> Patience:
    """Lets every command of this client wait for Redis to come back, however long it takes.

    A command whose answer was lost is sent again. For ours that is harmless: a batch queued twice is
    processed once, and a job moved to a worker that never heard of it is found by maintenance.
    """
    patience = Patience(say)
    retry = Retry(patience, retries=-1, supported_errors=PASSING)
    pool: Any = client.connection_pool
    pool.connection_kwargs |= {"retry": retry, "socket_connect_timeout": LONGEST_SECONDS}
    if (
        pool.connection_kwargs.get("socket_timeout") is None
    ):  # a server that hangs would be waited for in silence
        pool.connection_kwargs["socket_timeout"] = ANSWER_SECONDS
    pool.connection_kwargs.pop("retry_on_error", None)
    pool.disconnect()
    client.set_retry(retry)
    return patience

"""Waiting for a Redis that is away: with backoff, until it is back.

It is away where it does not answer, and where it answers but refuses to write or to work for now: its disk is full
(MISCONF), its replicas are missing (NOREPLICAS), it has become a replica (READONLY), it reads its file (LOADING), it
runs a script (BUSY), its memory is full (OOM). A transaction that meets one of these ends as EXECABORT.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from redis import Redis
from redis.backoff import AbstractBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    ExecAbortError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)
from redis.retry import Retry
from rq.exceptions import StopRequested

from store.errors import QueueUnavailable
from store.logs import event
from worker.queue.upkeep.key_types import set_misfits_aside

FIRST_SECONDS, LONGEST_SECONDS = 0.2, 5.0
ANSWER_SECONDS = 15.0
QUIET_TRIES = 1  # a connection that was merely cut is made anew without a word
REMIND_SECONDS = 60.0

log = logging.getLogger("sluice.redis")

T = TypeVar("T")
Say = Callable[[str], None]

UNREACHABLE = (ConnectionError, TimeoutError, OSError)
# State -> what it means, for people. redis-py has classes for some of them, and removes the word from their message.
STATES = {
    "MISCONF": "it cannot write to its disk",
    "NOREPLICAS": "too few of its replicas are connected",
    "READONLY": "it is a replica and takes no writes",
    "UNBLOCKED": "it is becoming a replica",
    "LOADING": "it reads its data",
    "BUSY": "it runs a script",
    "OOM": "its memory is full",
    "EXECABORT": "it refuses transactions",
    "MASTERDOWN": "it is a replica without its master",
    "CLUSTERDOWN": "its cluster is down",
    "TRYAGAIN": "its cluster is being changed",
}
CLASSES: dict[type[Exception], str] = {
    BusyLoadingError: "LOADING",
    OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY",
    ExecAbortError: "EXECABORT",
    MasterDownError: "MASTERDOWN",
    ClusterDownError: "CLUSTERDOWN",
    TryAgainError: "TRYAGAIN",
}

MOST_IN_VAIN = 20  # looks for keys of another type that find none
# Others are told to connect anew: a name may lead to another server now.
STAYS_CONNECTED = frozenset(STATES) - {"READONLY", "UNBLOCKED", "LOADING", "MASTERDOWN"}


def state_of(error: BaseException) -> str | None:
    """In which state Redis says that it is, one of STATES, where it cannot do what it was asked for now."""
    for kind, state in CLASSES.items():
        if isinstance(error, kind):
            return state
    # In a transaction redis-py puts the command before the server's words: what is sent must not look like a state.
    word = str(error).rpartition("caused error: ")[2].split(" ", 1)[0]
    return word if isinstance(error, ResponseError) and word in STATES else None


def _say(message: str) -> None:
    log.warning("%s", message, extra=event("redis_waited_for"))


class Patience(AbstractBackoff):
    """The pauses between tries, and what is said of them. `give_up` ends all waiting: the process is to stop."""

    def __init__(self, say: Say = _say) -> None:
        self.give_up = False
        self.is_silent = False  # somebody else waits too, and says so
        self.tend: Callable[[], str | None] = lambda: None  # mends what it can; why waiting does not help
        self._say = say
        self._state_logged_at = -REMIND_SECONDS
        self._is_away = False

    def __deepcopy__(self, _memo: dict[int, Any]) -> Patience:
        return self  # redis copies it for every connection, and `give_up` is meant for all of them

    def compute(self, failures: int) -> float:
        return self.pause(failures, None)

    def pause(self, failures: int, state: str | None) -> float:
        """How long to wait after so many failures; says so. Raises StopRequested."""
        if self.give_up and failures > QUIET_TRIES:
            # RQ's own word for it: its loops try again after a ConnectionError, and end at this.
            raise StopRequested("Redis is away, and this process was asked to stop")
        if failures > QUIET_TRIES and (why := self.tend()):
            raise QueueUnavailable(why)
        pause = float(min(FIRST_SECONDS * 2.0 ** (failures - 1), LONGEST_SECONDS))
        if state:
            self._say_state(state)
        elif self._is_heard and failures > QUIET_TRIES:
            self._say(f"Redis does not answer or is full: try {failures}, the next in {pause:.1f} s")
        return pause

    def _say_state(self, state: str) -> None:
        """Once, and again as long as it lasts, but seldom."""
        if self._is_heard and time.monotonic() - self._state_logged_at >= REMIND_SECONDS:
            self._state_logged_at, self._is_away = time.monotonic(), True
            self._say(f"Redis is not ready, {STATES[state]} ({state}): waiting until it is")

    def note_success(self) -> None:
        """It did what it was asked for, after it had not."""
        if self._is_away and self._is_heard:
            self._is_away = False
            self._say("Redis is ready again")

    @property
    def _is_heard(self) -> bool:
        # RQ's thread for commands waits beside the worker's main one, and would say the same again.
        return not self.is_silent and threading.current_thread() is threading.main_thread()


class PatientRetry(Retry):
    """Tries a command again until Redis can do it; keys of another type than theirs are moved aside meanwhile."""

    def __init__(self, patience: Patience, client: Redis, *, waits_for_connections: bool) -> None:
        super().__init__(patience, retries=-1, supported_errors=(RedisError, OSError))
        self._patience = patience
        self._client = client
        self._waits_for_connections = waits_for_connections

    def __deepcopy__(self, _memo: dict[int, Any]) -> PatientRetry:
        return self  # redis copies it for every connection

    def call_with_retry(
        self,
        do: Callable[[], T],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T:
        """As redis-py's, with a look at what the error says."""
        failures = in_vain = 0
        while True:
            try:
                result = do()
            except (RedisError, OSError) as error:
                if is_wrong_type(error) and in_vain < MOST_IN_VAIN:
                    # None is found where another process was first; but where it stays so, the error is ours.
                    in_vain = 0 if set_misfits_aside(self._client) else in_vain + 1
                    continue
                state = state_of(error)
                if not state and not (self._waits_for_connections and isinstance(error, UNREACHABLE)):
                    raise
                if is_retryable and not is_retryable(error):
                    raise
                failures += 1
                if state:  # before `fail`, which ends a transaction that watches: RQ begins it again at once
                    time.sleep(self._patience.pause(failures, state))
                if state not in STAYS_CONNECTED:
                    fail(error, failures) if with_failure_count else fail(error)
                if not state:
                    time.sleep(self._patience.pause(failures, None))
            else:
                if failures:
                    self._patience.note_success()
                return result


def is_wrong_type(error: BaseException) -> bool:
    """Whether a key is of another type than what is asked of it."""
    return isinstance(error, ResponseError) and str(error).rpartition("caused error: ")[2].startswith(
        "WRONGTYPE"
    )


def make_patient(client: Redis, say: Say = _say) -> Patience:
    """Lets every command of this client wait for Redis to come back, however long it takes.

    A command whose answer was lost is sent again. For ours that is harmless: a batch queued twice is
    processed once, and a job moved to a worker that never heard of it is found by maintenance.
    """
    pool: Any = client.connection_pool
    pool.connection_kwargs |= {"socket_connect_timeout": LONGEST_SECONDS}
    if (
        pool.connection_kwargs.get("socket_timeout") is None
    ):  # a server that hangs would be waited for in silence
        pool.connection_kwargs["socket_timeout"] = ANSWER_SECONDS
    return _use(client, Patience(say), waits_for_connections=True)


def wait_until_ready(client: Redis, say: Say = _say) -> Patience:
    """Lets every command wait while Redis answers that it is not ready; one that does not answer is an error."""
    return _use(client, Patience(say), waits_for_connections=False)


def _use(client: Redis, patience: Patience, *, waits_for_connections: bool) -> Patience:
    retry = PatientRetry(patience, client, waits_for_connections=waits_for_connections)
    pool: Any = client.connection_pool
    pool.connection_kwargs["retry"] = retry
    pool.connection_kwargs.pop("retry_on_error", None)
    pool.disconnect()
    client.set_retry(retry)
    return patience

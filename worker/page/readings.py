"""What all viewers share: each is read once, however many look, and shown with its age when it cannot be read anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from redis import Redis

from store import timestamps
from store.errors import SluiceError, UsageError
from worker.dead_letters import mirror
from worker.metrics.visit import visited
from worker.page import commands
from worker.page.commands import Start
from worker.queue import quarantine
from worker.queue.client import Broker
from worker.queue.names import LOADER_QUEUE, RECORDS_QUEUE
from worker.settings import WorkerSettings

MOST_COUNTED = 10  # deliveries at a time, of which one is counted and the others wait
COUNTED_SECONDS = 60.0  # for so long an account is shown again

T = TypeVar("T")


@dataclass(frozen=True)
class Known(Generic[T]):
    """What was read last, when, and why it could not be read since."""

    value: T | None = None
    at: datetime | None = None
    problem: str | None = None


@dataclass
class Shared(Generic[T]):
    """Something that is read at most every so many seconds. Others get what was read last, while one reads."""

    read: Callable[[], T]
    seconds: float
    clock: Callable[[], float] = time.monotonic
    _known: Known[T] = field(default_factory=Known, init=False)
    _tried: float | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def get(self) -> Known[T]:
        """What is known, read anew if it is time."""
        if self._tried is not None and self.clock() - self._tried < self.seconds:
            return self._known
        if not self._lock.acquire(blocking=self._tried is None):
            return self._known
        try:
            if self._tried is None or self.clock() - self._tried >= self.seconds:
                try:
                    self._known = Known(self.read(), timestamps.now())
                except SluiceError as error:
                    self._known = Known(self._known.value, self._known.at, str(error))
                self._tried = self.clock()
        finally:
            self._lock.release()
        return self._known

    def forget(self) -> None:
        """The next one who asks reads anew."""
        self._tried = None


def queue_standing(settings: WorkerSettings, home: Path) -> dict[str, Any]:
    """The queue and its workers. Raises QueueUnavailable; starts nothing."""
    with visited(settings, home) as (redis, address):
        return standing(redis, settings, address)


def standing(redis: Redis, settings: WorkerSettings, address: str) -> dict[str, Any]:
    """The counts of a Redis."""
    queue = Broker(redis, settings)
    return {
        "redis": address,
        "queued": queue.waiting(),
        "failed": queue.failed_count(),
        "held": queue.held_count(),
        "quarantined": quarantine.count(redis),
        "failed_loads": queue.failed_count(LOADER_QUEUE),
        "workers": queue.workers(RECORDS_QUEUE),
        "loaders": queue.workers(LOADER_QUEUE),
        "mirrored": mirror.count(redis),
    }


@dataclass
class Laws:
    """The last `store check`, run in a process of its own when somebody looks and it is old."""

    every: float  # seconds
    start: Start = commands.start
    clock: Callable[[], float] = time.monotonic
    known: Known[dict[str, Any]] = field(default_factory=Known, init=False)
    checking: bool = field(default=False, init=False)
    _checked: float | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def look(self) -> Known[dict[str, Any]]:
        """What is known; a check that is due begins."""
        with self._lock:
            is_due = self._checked is None or self.clock() - self._checked >= self.every
            if is_due and not self.checking:
                self.checking = True
                threading.Thread(target=self.check, daemon=True).start()
        return self.known

    def check(self) -> None:
        """Runs the check to its end."""
        self.checking = True
        try:
            done = commands.run(["store", "check", "--json"], self.start)
            found = done.json if done.out else None
            self.known = Known(found or self.known.value, timestamps.now(), None if found else done.why)
        except (OSError, ValueError) as error:
            self.known = Known(self.known.value, self.known.at, f"`store check` could not be run: {error}")
        finally:
            self._checked, self.checking = self.clock(), False


@dataclass
class Counted:
    """One account of a delivery, and when it was finished; None: it is being counted."""

    known: Known[dict[str, Any]] = field(default_factory=Known)
    ended: threading.Event = field(default_factory=threading.Event)
    ended_at: float | None = None


def account_of(delivery: int) -> list[str]:
    """The command that counts a delivery, record by record."""
    return ["store", "account", f"--delivery={delivery}", "--json"]


@dataclass
class Accounts:
    """Accounts of deliveries, each counted by a process of its own when somebody asks, one at a time."""

    start: Start = commands.start
    clock: Callable[[], float] = time.monotonic
    _counts: dict[int, Counted] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False)

    def of(self, delivery: int, seconds: float) -> Known[dict[str, Any]] | None:
        """What was counted lately; None where that takes longer than so many seconds: ask again.

        Raises UsageError where too many others are being counted.
        """
        with self._lock:
            self._forget_old()
            if delivery not in self._counts:
                if sum(each.ended_at is None for each in self._counts.values()) >= MOST_COUNTED:
                    raise UsageError(f"{MOST_COUNTED} deliveries are being counted: look again in a minute")
                self._counts[delivery] = counted = Counted()
                threading.Thread(target=self._count, args=(delivery, counted), daemon=True).start()
            found = self._counts[delivery]
        return found.known if found.ended.wait(seconds) else None

    def _forget_old(self) -> None:
        now = self.clock()
        for delivery, each in list(self._counts.items()):
            if each.ended_at is not None and now - each.ended_at >= COUNTED_SECONDS:
                del self._counts[delivery]

    def _count(self, delivery: int, counted: Counted) -> None:
        """Counts it to its end."""
        try:
            with self._turn:
                done = commands.run(account_of(delivery), self.start)
            if done.code:
                counted.known = Known(problem=done.why)
            else:
                counted.known = Known(done.json[0], timestamps.now())
        except (OSError, ValueError) as error:
            counted.known = Known(problem=f"`store account` could not be run: {error}")
        finally:
            counted.ended_at = self.clock()
            counted.ended.set()

"""What one page is made of: settings, the database, who may act, and what all viewers share."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Engine

from store import database
from store.errors import UsageError
from store.load.watermark_moves import who
from store.reports import today
from store.settings import StoreSettings
from worker.metrics.collector import Collector, read_all
from worker.page import commands
from worker.page.commands import Done, Start, Started
from worker.page.masking import Masks
from worker.page.readings import Laws, Shared, queue_standing
from worker.page.session import Sessions
from worker.page.settings import PageSettings
from worker.settings import WorkerSettings

TODAY_SECONDS = 5.0
QUEUE_SECONDS = 2.0
MOST_WORKS = 100


@dataclass
class Work:
    """A command that somebody has begun, and how it ended."""

    words: Sequence[str]
    group: str
    started: Started
    done: Done | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, seconds: float) -> Done | None:
        """How it ended; None where it still runs after so long."""
        with self.lock:
            if self.done is None:
                self.done = self.started.wait(seconds)
            return self.done


@dataclass
class Works:
    """The latest commands of this page: what they print is shown until others have taken the room."""

    start: Start = commands.start
    _works: OrderedDict[str, Work] = field(default_factory=OrderedDict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def begin(self, words: Sequence[str], group: str) -> str:
        """Starts a command; by which name its outcome is found. Raises UsageError where too many still run."""
        id = secrets.token_hex(8)
        with self._lock:
            if len(self._works) >= MOST_WORKS:
                self._forget_the_oldest()
            self._works[id] = Work(words, group, self.start(words))
        return id

    def _forget_the_oldest(self) -> None:
        """Of those that have ended: one that runs is ended by nobody but who stops its action."""
        ended = next((id for id, work in self._works.items() if work.wait(0) is not None), None)
        if ended is None:
            raise UsageError(
                f"{MOST_WORKS} commands of this page are still running: wait until one has ended, or stop its action"
            )
        del self._works[ended]

    def find(self, id: str) -> Work | None:
        return self._works.get(id)


@dataclass
class Site:
    """One page."""

    store: StoreSettings
    worker: WorkerSettings
    page: PageSettings
    engine: Engine
    sessions: Sessions
    by_header: str | None = None
    is_secure: bool = False  # reached by https: the cookie is sent by nothing else
    start: Start = commands.start
    suggestions: dict[str, tuple[str, Any]] = field(default_factory=dict)  # group -> (when, what was found)
    works: Works = field(init=False)
    laws: Laws = field(init=False)
    today: Shared[dict[str, Any]] = field(init=False)
    queue: Shared[dict[str, Any]] = field(init=False)
    metrics: Collector = field(init=False)

    def __post_init__(self) -> None:
        self.works = Works(self.start)
        self.laws = Laws(self.page.check_every.total_seconds(), self.start)
        self.today = Shared(self._today, TODAY_SECONDS)
        self.queue = Shared(lambda: queue_standing(self.worker, self.store.home), QUEUE_SECONDS)
        self.metrics = Collector(partial(read_all, self.store, self.worker))

    @property
    def masks(self) -> Masks:
        return Masks.of(self.page.hide, self.page.show_values, self.worker)

    def actor(self, header: str | None) -> str | None:
        """Who acts; None where the proxy should have named somebody, and has not."""
        if self.by_header is None:
            return who()
        return (header or "").strip() or None

    def _today(self) -> dict[str, Any]:
        with database.reading(self.engine) as connection:
            return today.today(connection, self.store.idle_after)

"""What one page is made of: settings, the database, who may act, and what all viewers share."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine

from store import database
from store.dead_letters import actions, groups
from store.errors import UsageError
from store.load.watermark_moves import who
from store.reports import counts, today
from store.settings import StoreSettings
from worker.metrics.collector import Collector, read_all
from worker.page import commands
from worker.page.commands import Done, Start, Started
from worker.page.following import Feed
from worker.page.masking import Masks
from worker.page.readings import Accounts, Laws, Shared, queue_standing
from worker.page.session import Sessions
from worker.page.settings import PageSettings
from worker.settings import WorkerSettings

TODAY_SECONDS = 5.0
RHYTHM_SECONDS = 60.0
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
    accounts: Accounts = field(init=False)
    rhythms: Shared[dict[str, float]] = field(init=False)
    today: Shared[dict[str, Any]] = field(init=False)
    queue: Shared[dict[str, Any]] = field(init=False)
    metrics: Collector = field(init=False)
    feed: Feed = field(init=False)

    def __post_init__(self) -> None:
        self.works = Works(self.start)
        self.laws = Laws(self.page.check_every.total_seconds(), self.start)
        self.accounts = Accounts(self.start)
        self.rhythms = Shared(self._rhythms, RHYTHM_SECONDS)
        self.today = Shared(self._today, TODAY_SECONDS)
        self.queue = Shared(lambda: queue_standing(self.worker, self.store.home), QUEUE_SECONDS)
        self.metrics = Collector(partial(read_all, self.store, self.worker))
        self.feed = Feed(self.numbers)

    @property
    def masks(self) -> Masks:
        return Masks.of(self.page.hide, self.page.show_values, self.worker)

    def actor(self, header: str | None) -> str | None:
        """Who acts; None where the proxy should have named somebody, and has not."""
        if self.by_header is None:
            return who()
        return (header or "").strip() or None

    def numbers(self, watched: frozenset[int]) -> dict[str, dict[str, Any]]:
        """`numbers` as they are shown, `counts` of what lists show, and `done` of the actions that are watched."""
        shown: dict[str, int] = {}
        if queue := self.queue.get().value:
            shown |= {name: queue[name] for name in ("queued", "workers")}
        if known := self.today.get().value:
            total = known["sum"]
            shown |= {
                "pending": known["pending"],
                "received": total["received"],
                "rejected": total["rejected"],
            }
        with database.reading(self.engine) as connection:
            shown["open"] = groups.count_open(connection)
            of_lists, done = counts.of_lists(connection), _done(connection, watched)
        words = {name: f"{value:,}" for name, value in shown.items()}
        return {"numbers": words, "counts": of_lists, "done": done}

    def _today(self) -> dict[str, Any]:
        rhythms = self.rhythms.get().value
        with database.reading(self.engine) as connection:
            return today.today(connection, self.store.idle_after, rhythms)

    def _rhythms(self) -> dict[str, float]:
        with database.reading(self.engine) as connection:
            return today.rhythms_of_sources(connection)


def _done(connection: Connection, watched: Iterable[int]) -> dict[str, dict[str, Any]]:
    """Of each action: how many of its letters are done, as a number and in words, and whether it still runs."""
    found = {}
    for seq in watched:
        try:
            action = actions.find(connection, seq)
        except UsageError:  # a number that somebody made up: there is nothing to show
            continue
        done = action.letters - action.outcomes.get("waiting", 0)
        found[str(seq)] = {"done": done, "words": f"{done:,}", "runs": action.status == "running"}
    return found

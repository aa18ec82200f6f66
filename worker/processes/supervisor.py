"""`worker up`: workers, the loader's worker and the cron, as child processes; it stops them all."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

from store import database
from store.checks import conservation
from store.errors import LockHeld, QueueUnavailable, SluiceError
from store.settings import StoreSettings
from store.tables import batches, load_runs, staging
from store.terminal import Exit
from worker import jobs, loader
from worker.dead_letters import mirror
from worker.queue import client, lost, private_server
from worker.queue.client import Broker
from worker.queue.endings import WorkerStuck
from worker.queue.maintenance import maintain
from worker.queue.names import LOADER_QUEUE, RECORDS_QUEUE
from worker.rq_worker import SluiceWorker
from worker.settings import WorkerSettings
from worker.workplace import workplace

# Forked children start at once, with everything imported; nothing is open yet that could not be shared.
processes = multiprocessing.get_context("fork")

GRACE_SECONDS = 10.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h
POLL_SECONDS = 0.1
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 10.0
LOOK_SECONDS = 1.0  # between looks at the private Redis
DEATHS_TO_GIVE_UP, DEATHS_WITHIN_SECONDS = 8, 60.0
LONGEST_NAP_SECONDS = 1.0  # other workers put batches back too, and whoever says stop is not kept waiting

log = logging.getLogger("sluice.supervisor")


class GaveUp(SluiceError):
    """What is kept running died again and again."""


@dataclass
class Supervised:
    """Something that is kept running: started again when it dies, later each time."""

    name: str
    deaths: list[float] = field(default_factory=list, init=False)  # monotonic times
    restart_at: float = field(default=0.0, init=False)

    @property
    def is_due(self) -> bool:
        """Whether it may be started again."""
        return time.monotonic() >= self.restart_at

    def note_death(self, how: str) -> None:
        """Plans the restart. Raises GaveUp after repeated deaths."""
        now = time.monotonic()
        self.deaths = [death for death in self.deaths if now - death < DEATHS_WITHIN_SECONDS] + [now]
        if len(self.deaths) >= DEATHS_TO_GIVE_UP:
            raise GaveUp(
                f"{self.name} died {len(self.deaths)} times within {DEATHS_WITHIN_SECONDS:.0f} s "
                f"(the last time: {how}): see the log above for the cause"
            )
        wait = min(FIRST_BACKOFF_SECONDS * 2 ** (len(self.deaths) - 1), LONGEST_BACKOFF_SECONDS)
        log.warning("%s died (%s); started again in %.1f s", self.name, how, wait)
        self.restart_at = now + wait


@dataclass
class Child(Supervised):
    """A child process."""

    run: Callable[[], None]
    process: BaseProcess | None = field(default=None, init=False)

    def tend(self) -> None:
        """Starts it where it is due, and sees whether it lives. Raises GaveUp."""
        if self.process is None:
            if self.is_due:
                self.start()
        elif not self.process.is_alive():
            self.end()

    def end(self) -> None:
        """Forgets the process, which has ended, and plans the next. Raises GaveUp."""
        code, self.process = self.process.exitcode if self.process else None, None
        if code == WorkerStuck.exit_code:
            raise GaveUp(f"{self.name} stopped itself, and so would the next: see its error above")
        self.note_death(f"exit code {code}")

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def start(self) -> None:
        self.process = processes.Process(target=live, args=(self.run,), name=self.name)
        self.process.start()
        log.info("started %s (process %s)", self.name, self.process.pid)


@dataclass
class PrivateRedis(Supervised):
    """The private redis-server, no child of ours: other commands share it, and it outlives us."""

    home: Path
    is_dead: bool = field(default=False, init=False)
    look_at: float = field(default=0.0, init=False)

    def tend(self) -> None:
        """Sees whether it was killed, now and then, and starts it where that is due. Raises GaveUp."""
        now = time.monotonic()
        if self.is_dead:
            if self.is_due:
                self.start()
        elif now >= self.look_at:
            self.look_at = now + LOOK_SECONDS
            if private_server.was_killed(self.home):
                self.is_dead = True
                self.note_death("killed")

    def start(self) -> None:
        try:
            private_server.ensure_running(self.home)
        except QueueUnavailable as error:
            self.note_death(str(error))
        else:
            self.is_dead = False
            log.info("%s runs again", self.name)


def live(run: Callable[[], None]) -> None:
    """A child's life; what ends it is logged, and not printed as Python does it."""
    try:
        run()
    except SluiceError as error:
        log.error("%s: %s", processes.current_process().name, error)
        sys.exit(error.exit_code)
    except Exception:
        log.exception("%s ends", processes.current_process().name)
        sys.exit(1)


def run_worker(queue: str, *, burst: bool, level: str) -> None:
    """A child's life as an RQ worker."""
    begin_child()
    store, settings = StoreSettings.load(), WorkerSettings.load()
    connection = client.connect(settings, store.home, patient=True)
    SluiceWorker([queue], connection=connection).work(burst=burst, logging_level=level)


def run_cron(level: str) -> None:
    """A child's life as RQ's cron."""
    begin_child()
    from rq.cron import CronScheduler  # a burst has no cron

    store, settings = StoreSettings.load(), WorkerSettings.load()
    connection = client.connect(settings, store.home, patient=True)
    scheduler = CronScheduler(connection=connection, logging_level=level)
    scheduler.load_config_from_file("worker.schedule")
    scheduler.start()  # type: ignore[no-untyped-call]


def begin_child() -> None:
    """A forked child forgets the supervisor's handlers, and is asked to stop when the supervisor dies."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Supervisor:
    """Keeps children running until it is told to stop."""

    def __init__(self, workers: int, level: str) -> None:
        # A child must not take the connection or the settings' errors upon itself first: look before forking.
        self._level = level
        self._workers = workers
        self._stopping = False
        self._loaded_at = time.monotonic()
        self.workplace = workplace()

    def up(self) -> None:
        """Runs workers, loader and cron, and a Redis of our own, until SIGTERM or Ctrl-C. Raises GaveUp."""
        store, settings = self.workplace.store, self.workplace.worker
        client.connect(settings, store.home).close()
        names = [f"worker {number}" for number in range(1, self._workers + 1)]
        children = [
            *(
                Child(name, lambda: run_worker(RECORDS_QUEUE, burst=False, level=self._level))
                for name in names
            ),
            Child("loader", lambda: run_worker(LOADER_QUEUE, burst=False, level=self._level)),
            Child("cron", lambda: run_cron(self._level)),
        ]
        servers = [] if settings.redis_url else [PrivateRedis("private Redis", store.home)]
        with self._signals():
            try:
                for child in children:
                    child.start()
                while not self._stopping:
                    for server in servers:
                        server.tend()
                    for child in children:
                        child.tend()
                    time.sleep(POLL_SECONDS)
            finally:
                stop(children)

    def burst(self) -> Burst:
        """Processes all that is queued, loads it, and returns what it did."""
        with self._signals():
            redis = client.connect(self.workplace.worker, self.workplace.store.home)
            queue = Broker(redis, self.workplace.worker)
            before = self._counts(queue)
            children = [
                Child(f"worker {number}", lambda: run_worker(RECORDS_QUEUE, burst=True, level=self._level))
                for number in range(1, self._workers + 1)
            ]
            queue.forget_held()
            held: dict[str, str] = {}
            try:
                while not self._stopping and queue.is_unfinished() and not (held := queue.held()):
                    maintain(redis, queue.queue(), self.workplace.worker.abandoned_after_seconds)
                    if queue.waiting() and all(child.is_due for child in children):
                        self._burst_round(children)
                    else:  # retries wait for their time, or a worker elsewhere has the rest in hand
                        time.sleep(min(max(queue.seconds_to_retry(), POLL_SECONDS), LONGEST_NAP_SECONDS))
                        self._load_now_and_then()
            finally:
                stop(children)
            self._load()
            after = self._counts(queue)
            return Burst(
                **{name: after[name] - before[name] for name in after},
                stopped_early=self._stopping,
                held_batches=held,
            )

    def _counts(self, queue: Broker) -> dict[str, int]:
        """What a burst adds to."""
        with self.workplace.database() as engine, database.reading(engine) as connection:
            totals, loads = conservation.totals(connection), load_runs.totals(connection)
            return {
                "failed_batches": queue.failed_count(),
                "lost_batches": len(lost.unsettled(queue.redis, engine)),
                "batches": batches.count(connection),
                "records": totals["received"],
                "staged": totals["staged"],
                "rejected": totals["rejected"],
                "loaded": sum(loads.values()),
            }

    def _burst_round(self, children: list[Child]) -> None:
        """Workers until the queue is empty; the loader works beside them. Raises GaveUp."""
        for child in children:
            child.start()
        while not self._stopping and any(child.is_alive for child in children):
            time.sleep(POLL_SECONDS)
            self._load_now_and_then()
        for child in children:
            if child.process and child.process.exitcode:
                child.end()

    def _load_now_and_then(self) -> None:
        """In a burst, as often as the periodic loader, or sooner where there is much to load."""
        if (
            time.monotonic() - self._loaded_at > self.workplace.worker.load_every_seconds
            or self._much_is_staged()
        ):
            self._load(once=True)
            self._loaded_at = time.monotonic()

    def _much_is_staged(self) -> bool:
        with (
            self.workplace.database(jobs.LOADER_PAGE_CACHE_MB) as engine,
            database.reading(engine) as connection,
        ):
            return staging.holds(connection, self.workplace.worker.load_when_staged)

    def _load(self, *, once: bool = False) -> None:
        """Loads what is staged; until nothing is, unless `once`. A loader at work elsewhere is waited for."""
        redis = client.connect(self.workplace.worker, self.workplace.store.home)
        has_reported = False
        with self.workplace.database(jobs.LOADER_PAGE_CACHE_MB) as engine:
            while not self._stopping:
                try:
                    run = loader.load(
                        engine, self.workplace.worker, idle_after=self.workplace.store.idle_after
                    )
                except LockHeld as held:
                    if once:
                        log.info("%s: this load is left to it", held)
                        return
                    if not has_reported:
                        has_reported = True
                        log.info("%s: waiting for it", held)
                    time.sleep(POLL_SECONDS)
                    continue
                if once or run.number is None:
                    break
            with mirror.tolerated():
                mirror.flush_outbox(redis, engine)
        redis.close()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and Ctrl-C ask to stop; a second one ends everything at once."""

        def ask(_number: int, _frame: FrameType | None) -> None:
            if self._stopping:
                for child in multiprocessing.active_children():
                    child.kill()
                os._exit(Exit.INTERRUPTED)
            self._stopping = True

        before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class Burst:
    """What a burst did."""

    batches: int
    records: int
    staged: int
    rejected: int
    loaded: int
    failed_batches: int
    lost_batches: int
    stopped_early: bool
    held_batches: dict[str, str]  # id -> why it cannot be processed until somebody mends that


def stop(children: list[Child]) -> None:
    """SIGTERM to all: the batch in hand is finished; what lives after the grace period is killed."""
    alive = [child.process for child in children if child.process and child.process.is_alive()]
    for process in alive:
        process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for process in alive:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            log.warning("%s did not stop within %.0f s and is killed", process.name, GRACE_SECONDS)
            process.kill()
            process.join()

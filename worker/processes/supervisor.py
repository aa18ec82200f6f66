"""`worker up`: workers, the loader's worker and the cron, as child processes; it stops them all."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from types import FrameType

from store import database
from store.checks import conservation
from store.errors import LockHeld, QueueUnavailable, SluiceError, WatermarkCorrupt
from store.logs import event
from store.tables import batches, load_runs, staging
from store.terminal import Exit, counted
from worker import jobs, loader
from worker.dead_letters import mirror
from worker.metrics.visit import visited
from worker.processes.children import Child, GaveUp, PrivateRedis, run_cron, run_worker, stop
from worker.processes.standing import Totals, summed_up, take_work
from worker.queue import client, lost
from worker.queue.client import Broker
from worker.queue.names import LOADER_QUEUE, RECORDS_QUEUE
from worker.queue.upkeep.maintenance import maintain
from worker.workplace import workplace

POLL_SECONDS = 0.1
IDLE_ROUNDS = 5  # of a burst's workers, in which none takes what is next on the queue: more would not either
LONGEST_NAP_SECONDS = 1.0  # other workers put batches back too, and whoever says stop is not kept waiting

log = logging.getLogger("sluice.supervisor")
voice = logging.getLogger("sluice.up")  # speaks without -v too


class Supervisor:
    """Keeps children running until it is told to stop."""

    def __init__(self, workers: int, level: str, loaders: int = 1) -> None:
        # A child must not take the connection or the settings' errors upon itself first: look before forking.
        self._level = level
        self._workers = workers
        self._loaders = loaders
        self._stopping = False
        self._loaded_at = time.monotonic()
        self._not_loaded: str | None = None  # why rows that are staged could not be loaded
        self.workplace = workplace()
        self.done: Totals | None = None  # while it was up

    def up(self, beside: Sequence[Child] = (), *, is_quiet: bool = False) -> None:
        """Runs workers, loaders, cron and what is to run beside them, until SIGTERM or Ctrl-C. Raises GaveUp.

        Also a Redis of our own, unless another is configured. Says when it is ready, and at the end what came of it,
        unless it `is_quiet`.
        """
        voice.setLevel(logging.WARNING if is_quiet else logging.INFO)
        store, settings = self.workplace.store, self.workplace.worker
        client.connect(settings, store.home).close()
        began, before = time.monotonic(), self._totals()
        takers = [
            *self._takers("worker", self._workers, RECORDS_QUEUE),
            *self._takers("loader", self._loaders, LOADER_QUEUE),
        ]
        children = [*takers, Child("cron", lambda: run_cron(self._level)), *beside]
        is_ready = False
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
                    is_ready = is_ready or self._say_when_ready(children, takers)
                    time.sleep(POLL_SECONDS)
            finally:
                stop(children)
                self._sum_up(before, time.monotonic() - began)

    def _takers(self, what: str, number: int, queue: str) -> Iterator[Child]:
        """So many children that take work from a queue."""
        for each in range(1, number + 1):
            name = what if what == "loader" and number == 1 else f"{what} {each}"
            yield Child(name, lambda: run_worker(queue, burst=False, level=self._level))

    def _say_when_ready(self, children: Sequence[Child], takers: Sequence[Child]) -> bool:
        """Whether all of them run, and those that take work from Redis do; says so."""
        if not all(child.process and child.is_alive for child in children):
            return False
        workers = {child.process.pid or 0 for child in takers if child.process}
        try:
            with visited(self.workplace.worker, self.workplace.store.home) as (redis, address):
                if not take_work(redis, workers):
                    return False
        except QueueUnavailable:  # its children say so
            return False
        voice.info(
            "ready: %s, %s take work from Redis at %s",
            counted(self._workers, "worker"),
            "the loader and its schedule"
            if self._loaders == 1
            else f"{self._loaders} loaders and their schedule",
            address,
            extra=event("ready", workers=self._workers, loaders=self._loaders),
        )
        return True

    def _totals(self) -> Totals:
        """What the store has counted; nothing stays open, for children are forked."""
        with self.workplace.database() as engine, database.reading(engine) as connection:
            found = Totals.of(connection)
        self.workplace.data.close()
        return found

    def _sum_up(self, before: Totals, seconds: float) -> None:
        """Says what the store has counted meanwhile, by whichever host."""
        try:
            done = self._totals().since(before)
        except SluiceError as error:
            log.warning("what came of it cannot be read: %s", error, extra=event("not_summed_up"))
            return
        self.done = done
        voice.info(
            "%s", summed_up(done, seconds), extra=event("stopped", seconds=round(seconds, 3), **asdict(done))
        )

    def burst(self) -> Burst:
        """Processes all that is queued, loads it, and returns what it did, and why what is left cannot be done."""
        with self._signals(), contextlib.closing(self.workplace.data):
            redis = client.connect(self.workplace.worker, self.workplace.store.home)
            queue = Broker(redis, self.workplace.worker)
            before = self._counts(queue)
            children = [
                Child(f"worker {number}", lambda: run_worker(RECORDS_QUEUE, burst=True, level=self._level))
                for number in range(1, self._workers + 1)
            ]
            queue.try_held_again()
            held: dict[str, str] = {}
            idle_rounds, gave_up = 0, None
            try:
                while not self._stopping and queue.is_unfinished() and not (held := queue.held()):
                    maintain(redis, queue.queue(), self.workplace.worker.abandoned_after_seconds)
                    if (first := queue.next()) and all(child.is_due for child in children):
                        self._burst_round(children)
                        idle_rounds = idle_rounds + 1 if queue.next() == first else 0
                        if idle_rounds >= IDLE_ROUNDS:
                            raise GaveUp(_why_none_is_taken(queue))
                    else:  # retries wait for their time, or a worker elsewhere has the rest in hand
                        time.sleep(min(max(queue.seconds_to_retry(), POLL_SECONDS), LONGEST_NAP_SECONDS))
                        self._load_now_and_then()
            except GaveUp as error:
                gave_up = str(error)
            finally:
                stop(children)
            self._load()
            after = self._counts(queue)
            return Burst(
                **{name: after[name] - before[name] for name in after},
                stopped_early=self._stopping,
                held_batches=held,
                waiting_batches=queue.waiting(),
                gave_up=gave_up,
                not_loaded=self._not_loaded,
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
        redis = self.workplace.redis()
        has_reported = False
        with self.workplace.database(jobs.LOADER_PAGE_CACHE_MB) as engine:
            while not self._stopping:
                self._not_loaded = None
                try:
                    run = loader.load(
                        engine, self.workplace.worker, idle_after=self.workplace.store.idle_after
                    )
                except WatermarkCorrupt as error:  # all other sources are loaded
                    self._not_loaded = str(error)
                    break
                except LockHeld as held:
                    if once:
                        log.info("%s: this load is left to it", held, extra=event("load_held"))
                        return
                    if not has_reported:
                        has_reported = True
                        log.info("%s: waiting for it", held, extra=event("load_held"))
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
    waiting_batches: int  # left on the queue
    gave_up: str | None  # why its workers could not go on
    not_loaded: str | None  # why rows stay in staging, and what to do


def _why_none_is_taken(queue: Broker) -> str:
    if queue.is_suspended():
        return (
            "workers are suspended, and take nothing from the queue: run `rq resume`, then this command again"
        )
    return f"in {IDLE_ROUNDS} rounds no worker took the next batch, {queue.next()}: each ended; see the log above"

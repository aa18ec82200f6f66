"""What is kept running: the child processes of `worker up`, and the private Redis beside them."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from store.errors import QueueUnavailable, SluiceError
from store.logs import event
from store.settings import StoreSettings
from worker.queue import client
from worker.queue.process.endings import WorkerStuck
from worker.queue.server import private_server
from worker.rq_worker import SluiceWorker
from worker.settings import WorkerSettings

# Forked children start at once, with everything imported; nothing is open yet that could not be shared.
processes = multiprocessing.get_context("fork")

GRACE_SECONDS = 10.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 10.0
LOOK_SECONDS = 1.0  # between looks at the private Redis
DEATHS_TO_GIVE_UP, DEATHS_WITHIN_SECONDS = 8, 60.0

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
        log.warning(
            "%s died (%s); started again in %.1f s",
            self.name,
            how,
            wait,
            extra=event("process_died", name=self.name, pause_seconds=wait),
        )
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
        """Forks it; where that fails, it has died. Raises GaveUp."""
        self.process = processes.Process(target=live, args=(self.run,), name=self.name)
        try:
            self.process.start()
        except OSError as error:  # too many processes, or no memory
            self.process = None
            self.note_death(f"it could not be started: {error.strerror}")
            return
        log.info(
            "started %s (process %s)",
            self.name,
            self.process.pid,
            extra=event("process_started", name=self.name, process=self.process.pid),
        )


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
            log.warning("%s runs again", self.name, extra=event("server_started_again"))


def live(run: Callable[[], None]) -> None:
    """A child's life; what ends it is logged, and not printed as Python does it."""
    try:
        run()
    except SluiceError as error:
        log.error(
            "%s: %s",
            processes.current_process().name,
            error,
            extra=event("process_failed", name=processes.current_process().name),
        )
        sys.exit(error.exit_code)
    except Exception:
        log.exception(
            "%s ends",
            processes.current_process().name,
            extra=event("process_failed", name=processes.current_process().name),
        )
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


def stop(children: list[Child]) -> None:
    """SIGTERM to all: the batch in hand is finished; what lives after the grace period is killed."""
    alive = [child.process for child in children if child.process and child.process.is_alive()]
    for process in alive:
        process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for process in alive:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            log.warning(
                "%s did not stop within %.0f s and is killed",
                process.name,
                GRACE_SECONDS,
                extra=event("process_killed", name=process.name),
            )
            process.kill()
            process.join()

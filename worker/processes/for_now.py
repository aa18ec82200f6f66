"""Workers, loader and schedule for as long as one command needs them: `--run`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from store import logs
from store.errors import NoWorker
from store.settings import StoreSettings
from worker.contract import load_contract
from worker.processes.children import GRACE_SECONDS, Child, begin_child
from worker.queue import client
from worker.queue.client import Broker
from worker.queue.names import LOADER_QUEUE, RECORDS_QUEUE
from worker.settings import WorkerSettings

READY_SECONDS = 30.0
POLL_SECONDS = 0.05
LEVEL = "WARNING"


@contextmanager
def workers_for_now() -> Iterator[None]:
    """Runs what `worker up` runs, unless a worker and a loader run already.

    To be entered before the process opens the database: SQLite does not survive a fork. Raises NoWorker where they are
    not ready in time.
    """
    settings = WorkerSettings.load()
    load_contract(settings)  # what is wrong with it is told once, and not by each child
    redis = client.connect(settings, StoreSettings.load().home)
    broker = Broker(redis, settings)
    try:
        if _are_working(broker):
            yield
            return
        child = Child("worker up", _supervise)
        child.start()
        try:
            _wait_until_ready(broker, child)
            yield
        finally:
            _end(child)
    finally:
        redis.close()


def _are_working(broker: Broker) -> bool:
    return bool(broker.workers(RECORDS_QUEUE) and broker.workers(LOADER_QUEUE))


def _supervise() -> None:
    """The child's life, until it is asked to stop, or the command is gone."""
    from worker.processes.supervisor import Supervisor

    begin_child()
    logging.basicConfig(level=LEVEL, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("alembic").setLevel(LEVEL)
    logs.use(WorkerSettings.load().log_format)
    settings = WorkerSettings.load()
    Supervisor(settings.workers, LEVEL, settings.loaders).up(is_quiet=True)


def _wait_until_ready(broker: Broker, child: Child) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _are_working(broker):
        if not child.is_alive:
            raise NoWorker("the workers of --run ended at once: see the error above; nothing was sent")
        if time.monotonic() > deadline:
            raise NoWorker(
                f"the workers of --run are not ready after {READY_SECONDS:.0f} s; nothing was sent: run `worker up` in "
                "another terminal to see why, and send again with --wait"
            )
        time.sleep(POLL_SECONDS)


def _end(child: Child) -> None:
    """Asks it to stop, which it does when its own children have; after twice their time it is killed."""
    if child.process is None:
        return
    child.process.terminate()
    child.process.join(2 * GRACE_SECONDS)
    if child.process.is_alive():
        child.process.kill()
        child.process.join()

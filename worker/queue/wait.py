"""`--wait`: wait until the batches that were sent are processed and loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine

from store import database
from store.errors import NoWorker, SluiceError
from store.tables import batches, staging
from worker.queue import lost
from worker.queue.client import Broker
from worker.queue.names import LOADER_QUEUE, RECORDS_QUEUE

POLL_SECONDS = 0.1
LONGEST_POLL_SECONDS = 0.25
WORKERS_GONE_SECONDS = 20.0

HOW_TO_START = "start both with `worker up`, or `rq worker`, `rq worker loader` and `rq cron worker.schedule`"


class BatchesFailed(SluiceError):
    """Some of the batches that were sent have failed, and are not retried."""


class BatchesLost(SluiceError):
    """Some of the batches that were sent are neither processed nor on their way."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How many of the batches are processed, and whether all of them are loaded."""

    processed: int
    loaded: bool


def need_workers(broker: Broker) -> None:
    """Raises NoWorker if no worker or no loader is running: waiting would never end."""
    missing = [
        role
        for queue, role in ((RECORDS_QUEUE, "worker"), (LOADER_QUEUE, "loader"))
        if not broker.workers(queue)
    ]
    if missing:
        raise NoWorker(f"--wait needs a running {' and a running '.join(missing)}: {HOW_TO_START}")


def wait_until_loaded(
    ids: Sequence[str], broker: Broker, engine: Engine, on_progress: Callable[[Progress], None]
) -> None:
    """Returns when every batch is processed, and staging holds no record of them.

    Raises BatchesFailed if a job has failed for good, BatchesLost if Redis has lost one, NoWorker if the workers
    have stopped.
    """
    unique = list(dict.fromkeys(ids))
    pause = POLL_SECONDS
    idle_since: float | None = None
    gone: set[str] = set()
    while True:
        with database.reading(engine) as connection:
            unique = with_parts(connection, unique)
            numbers = batches.numbers(connection, unique)
            done = len(numbers) == len(unique)
            waited_for = [] if done else sorted(set(unique) - batches.known(connection, unique))
            loaded = done and not staging.holds_batches(connection, numbers)
        on_progress(Progress(len(numbers), loaded))
        if loaded:
            return
        _raise_if_failed(unique, broker)
        # A batch that is processed between the two looks is in neither, once.
        before, gone = gone, set(waited_for) - broker.on_their_way(waited_for)
        _raise_if_lost(gone & before, len(unique))
        idle_since = _without_workers_since(broker, idle_since)
        time.sleep(pause)
        pause = min(pause * 1.2, LONGEST_POLL_SECONDS)


def with_parts(connection: Connection, ids: list[str]) -> list[str]:
    """The ids, and those of the halves of batches that were split since."""
    known = set(ids)
    new = ids
    while new:
        parts = [part for _, halves in sorted(batches.split(connection, new).items()) for part in halves]
        new = [part for part in parts if part not in known]
        known.update(new)
        ids = ids + new
    return ids


def _raise_if_failed(ids: Sequence[str], broker: Broker) -> None:
    failed = broker.failed(ids)
    if failed:
        raise BatchesFailed(
            f"{len(failed)} of {len(ids)} batches failed for good (the first: {min(failed)}): see the worker's log, "
            "repair the cause, then send the file again or `rq requeue --all --queue records`"
        )


def _raise_if_lost(gone: set[str], all_of_them: int) -> None:
    if gone:
        raise BatchesLost(
            f"{len(gone)} of {all_of_them} batches are neither processed nor on the queue (the first: {min(gone)}): "
            f"Redis has lost them, or they were quarantined; see the worker's log, then {lost.WHAT_TO_DO}"
        )


def _without_workers_since(broker: Broker, since: float | None) -> float | None:
    if broker.workers(RECORDS_QUEUE) and broker.workers(LOADER_QUEUE):
        return None
    since = since or time.monotonic()
    if time.monotonic() - since > WORKERS_GONE_SECONDS:
        raise NoWorker(f"the workers have stopped; the batches stay queued: {HOW_TO_START}, then send again")
    return since


def summary(ids: Sequence[str], engine: Engine) -> dict[str, Any]:
    """The outcomes of the records of these batches."""
    with database.reading(engine) as connection:
        return batches.sum_of(connection, with_parts(connection, list(dict.fromkeys(ids))))

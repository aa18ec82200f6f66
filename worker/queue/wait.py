"""`--wait`: until what was sent is processed and loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine

from store import database
from store.errors import NoWorker, SluiceError
from store.tables import batches, staging
from worker.queue.client import LOADER_QUEUE, RECORDS_QUEUE, Broker
from worker.queue.message import part_ids

POLL_SECONDS = 0.1
LONGEST_POLL_SECONDS = 0.25
WORKERS_GONE_SECONDS = 20.0

HOW_TO_START = "start both with `worker up`, or `rq worker`, `rq worker loader` and `rq cron worker.schedule`"


class BatchesFailed(SluiceError):
    """Some of what was sent has failed for good."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far what was sent has come."""

    processed: int  # batches
    loaded: bool


def need_workers(broker: Broker) -> None:
    """Raises NoWorker where nobody processes or nobody loads: waiting would never end."""
    lacking = [
        role
        for queue, role in ((RECORDS_QUEUE, "worker"), (LOADER_QUEUE, "loader"))
        if not broker.workers(queue)
    ]
    if lacking:
        raise NoWorker(f"--wait needs a running {' and a running '.join(lacking)}: {HOW_TO_START}")


def wait_until_loaded(
    ids: Sequence[str], broker: Broker, engine: Engine, on_progress: Callable[[Progress], None]
) -> None:
    """Returns when every batch is processed and nothing of them is left in staging.

    Raises BatchesFailed where a job failed for good, NoWorker where the workers went away.
    """
    unique = list(dict.fromkeys(ids))
    pause = POLL_SECONDS
    alone_since: float | None = None
    while True:
        with database.reading(engine) as connection:
            unique = with_parts(connection, unique)
            numbers = batches.numbers(connection, unique)
            done = len(numbers) == len(unique)
            loaded = done and not staging.holds_batches(connection, numbers)
        on_progress(Progress(len(numbers), loaded))
        if loaded:
            return
        _raise_if_failed(unique, broker)
        alone_since = _alone_since(broker, alone_since)
        time.sleep(pause)
        pause = min(pause * 1.2, LONGEST_POLL_SECONDS)


def with_parts(connection: Connection, ids: list[str]) -> list[str]:
    """The ids, and those of the parts of batches that were cut in two meanwhile."""
    known = set(ids)
    new = ids
    while new:
        parts = [part for id in sorted(batches.split(connection, new)) for part in part_ids(id)]
        new = [part for part in parts if part not in known]
        known.update(new)
        ids = ids + new
    return ids


def _raise_if_failed(ids: Sequence[str], broker: Broker) -> None:
    failed = broker.failed(ids)
    if failed:
        raise BatchesFailed(
            f"{len(failed)} of {len(ids)} batches failed for good (the first: {min(failed)}): see the worker's log, "
            "mend the cause, then send the file again or `rq requeue --all --queue records`"
        )


def _alone_since(broker: Broker, since: float | None) -> float | None:
    if broker.workers(RECORDS_QUEUE) and broker.workers(LOADER_QUEUE):
        return None
    since = since or time.monotonic()
    if time.monotonic() - since > WORKERS_GONE_SECONDS:
        raise NoWorker(f"the workers have gone; what was sent stays queued: {HOW_TO_START}, then send again")
    return since


def summary(ids: Sequence[str], engine: Engine) -> dict[str, Any]:
    """What became of the records of these batches."""
    with database.reading(engine) as connection:
        return batches.sum_of(connection, with_parts(connection, list(dict.fromkeys(ids))))

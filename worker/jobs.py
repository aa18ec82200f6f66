"""The RQ entry points: what a worker is asked to do, read as a table of contents.

A process builds its `Workplace` once, before it forks work-horses: settings, contract and judges are
shared by all of its jobs; the database is opened by the process that does the jobs, for no connection
survives a fork.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from redis import Redis
from rq import get_current_job
from sqlalchemy import Engine

from store import database
from store.errors import LockHeld, StoreUnavailable
from store.settings import StoreSettings
from worker import broker, dead_letter_queue, loader, receiving, stages
from worker.contract import Contract, load_contract
from worker.message import Message
from worker.settings import WorkerSettings

LOADER_PAGE_CACHE_MB = 64

log = logging.getLogger("sluice.jobs")


@dataclass(frozen=True)
class Opened:
    """An open database, the process that opened it, and the file it is."""

    engine: Engine
    process: int
    file: tuple[int, int] | None

    def check(self) -> None:
        """Raises StoreUnavailable where the path leads to another file, or none."""
        if database.file_of(self.engine) != self.file:
            raise StoreUnavailable(
                f"{self.engine.url.database} was deleted or replaced while in use: restore it, "
                "or run `store init` for an empty one; the batch is tried again"
            )


@dataclass
class Workplace:
    """What the jobs of one process share."""

    store: StoreSettings
    worker: WorkerSettings
    contract: Contract
    judges: dict[str, stages.Judge] = field(default_factory=dict)
    _opened: Opened | None = None

    @classmethod
    def open(cls) -> Workplace:
        """Reads the settings, makes sure of the database and its columns. Raises UsageError, Unavailable."""
        store, worker = StoreSettings.load(), WorkerSettings.load()
        place = cls(store, worker, load_contract(worker))
        engine = database.prepare(store)
        database.add_contract_columns(engine, place.contract.columns)
        engine.dispose()
        return place

    def judge(self, source: str) -> stages.Judge:
        """The judge of one source's records, compiled once."""
        if source not in self.judges:
            settings = self.worker.source(source)
            self.judges[source] = stages.judge_for(self.contract, settings, self.worker.max_future_skew)
        return self.judges[source]

    @contextmanager
    def database(self, page_cache_mb: int = 16) -> Iterator[Engine]:
        """The database, opened once a process. Raises StoreUnavailable where its file was taken away.

        What is committed to a deleted file is gone with it, so the file is looked at before and after.
        """
        if self._opened is None or self._opened.process != os.getpid():
            engine = database.existing(self.store, page_cache_mb=page_cache_mb)
            self._opened = Opened(engine, os.getpid(), database.file_of(engine))
        opened = self._opened
        try:
            opened.check()
            yield opened.engine
            opened.check()
        except Exception:
            # A connection that failed may be stale; the next job opens its own.
            self._opened = None
            opened.engine.dispose()
            raise

    def redis(self) -> Redis:
        """The job's own connection; outside a job, a new one."""
        job = get_current_job()
        return job.connection if job else broker.connect(self.worker, self.store.home)


_workplace: Workplace | None = None


def workplace() -> Workplace:
    """This process' workplace, opened on first use."""
    global _workplace  # noqa: PLW0603 - one a process: RQ calls jobs by name and hands them nothing
    if _workplace is None:
        _workplace = Workplace.open()
    return _workplace


def close_workplace() -> None:
    """Forgets this process' workplace: the next use reads the settings again."""
    global _workplace  # noqa: PLW0603
    if _workplace and _workplace._opened:
        _workplace._opened.engine.dispose()
    _workplace = None


def process_batch(wire: dict[str, Any]) -> dict[str, Any]:
    """One batch: adapt, validate, dedupe, store in one transaction, then mirror its dead letters.

    Delivered a second time it does nothing but finish what the first delivery left undone.
    """
    here = workplace()
    message = Message.from_wire(wire)
    judge = here.judge(message.source)
    if message.fingerprint != judge.contract.fingerprint(judge.source):
        log.warning("batch %s was sent for another contract or mapping; it is judged by this one", message.id)
    with here.database() as engine:
        batch = receiving.receive(engine, message, judge)
        dead_letter_queue.flush_outbox(here.redis(), engine)
    if batch is None:
        log.info("batch %s was processed before: nothing to do", message.id)
        return {"batch": message.id, "processed_before": True}
    log.info(
        "batch %s of %s: received %d, staged %d, rejected %d",
        batch.id, batch.source, batch.received, batch.staged, batch.rejected,
    )  # fmt: skip
    return {"batch": batch.id, "received": batch.received, "staged": batch.staged, "rejected": batch.rejected}


def load_staged() -> dict[str, Any]:
    """One run of the loader, and whatever the outbox still holds. A loader at work already is no error."""
    here = workplace()
    with here.database(page_cache_mb=LOADER_PAGE_CACHE_MB) as engine:
        dead_letter_queue.flush_outbox(here.redis(), engine)
        try:
            return loader.as_receipt(loader.load(engine, here.worker))
        except LockHeld as held:
            log.info("%s: this run is left to it", held)
            return {"number": None, "held": True}

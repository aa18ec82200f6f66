"""What the jobs of one process share: its settings, its judges, its database, and when it asks for a load.

It is opened once, before a process forks job processes: settings, contract and judges are shared by all of its jobs.
The database is opened by the process that does the jobs, for no connection survives a fork.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis
from rq import get_current_job
from sqlalchemy import Engine

from store import database
from store.database import install
from store.errors import ConfigError, OtherContract, StoreUnavailable
from store.logs import event
from store.reconcile import compare
from store.settings import StoreSettings, config_path
from store.tables import priorities
from worker import modules
from worker.contract import Contract, forget, load_contract
from worker.judge import stages
from worker.judge.records import Records
from worker.queue import client
from worker.queue.rq_jobs import SluiceJob
from worker.queue.server import clock
from worker.settings import SourceSettings, WorkerSettings

log = logging.getLogger("sluice.jobs")


@dataclass
class Judges:
    """The judge of each source's records, compiled once."""

    contract: Contract
    settings: WorkerSettings
    _compiled: dict[str, stages.Judge] = field(default_factory=dict)
    # (source, fingerprint) -> the judge that this process had before: batches sent for it may still be queued.
    earlier: dict[tuple[str, str], stages.Judge] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: WorkerSettings) -> Judges:
        """Those of all configured sources. Raises ConfigError for an adapter that cannot be imported: at the start."""
        judges = cls(load_contract(settings), settings)
        for name in settings.sources:
            judges.judge(name)
        return judges

    def judge(self, source: str) -> stages.Judge:
        if source not in self._compiled:
            settings: SourceSettings = self.settings.source(source)
            self._compiled[source] = stages.judge_for(self.contract, settings, self.settings.max_future_skew)
        return self._compiled[source]

    def judge_for(self, source: str, fingerprint: str) -> stages.Judge:
        """The judge of the contract and mapping that a batch was sent for. Raises OtherContract."""
        judge = self.judge(source)
        if judge.fingerprint != fingerprint:
            judge = self.earlier.get((source, fingerprint), judge)
        if judge.fingerprint != fingerprint:
            raise OtherContract(
                f"it was sent for another contract or mapping ({fingerprint}) than source {source} has here, with "
                f"contract {self.contract.name} ({judge.fingerprint}): give producer and workers the same "
                "configuration and modules; or leave this batch, and send its file again for the present ones"
            )
        return judge

    def fingerprints(self) -> dict[str, str]:
        """Of contract and mapping of each configured source; as "", of every other."""
        ours = {name: self.judge(name).fingerprint for name in self.settings.sources}
        return {"": self.contract.fingerprint(SourceSettings())} | ours

    def remember(self, others: Judges) -> None:
        """Keeps the judges that this process had before."""
        compiled = {(source, judge.fingerprint): judge for source, judge in others._compiled.items()}
        self.earlier |= others.earlier | compiled


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
class Database:
    """The database of one process' jobs."""

    store: StoreSettings
    _opened: Opened | None = None

    @contextmanager
    def session(self, page_cache_mb: int = 16) -> Iterator[Engine]:
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

    def close(self) -> None:
        if self._opened:
            self._opened.engine.dispose()
            self._opened = None


@dataclass
class LoadRequests:
    """When to ask for a load before its time: where much is staged, or, if so set, where nothing is left to stage."""

    settings: WorkerSettings
    staged: int = 0  # rows, since this process last asked

    def count(self, staged: int, queue: client.Broker) -> None:
        """Counts rows that were staged, and asks if it is time."""
        self.staged += staged
        if self.staged and (
            self.staged >= self.settings.load_when_staged
            or (self.settings.load_on_idle and queue.waiting() == 0)
        ):
            queue.ask_for_load()
            self.staged = 0


@dataclass(frozen=True)
class Workplace:
    """All of these, of one process."""

    store: StoreSettings
    worker: WorkerSettings
    judges: Judges
    data: Database
    load_requests: LoadRequests
    columns: install.Adopted = install.Adopted({}, {})  # noqa: RUF009 - it is frozen

    @classmethod
    def open(cls) -> Workplace:
        """Reads the settings, makes sure of the database and its columns. Raises UsageError, Unavailable."""
        store, worker = StoreSettings.load(), WorkerSettings.load()
        contract = load_contract(worker)
        kinds = {column.name: column.kind for column in contract.columns}
        compare.check_tolerances(worker.reconcile_tolerances, kinds, "[worker] reconcile_tolerances")
        engine = install.prepare(store)
        try:
            columns = install.add_contract_columns(engine, contract.columns)
            for why in columns.refused.values():
                log.error(
                    "%s; batches with values in it wait, all others are processed",
                    why,
                    extra=event("column_refused"),
                )
            judges = Judges.of(worker)
            with database.transaction(engine) as connection:
                ranked = {name: source.priority for name, source in worker.sources.items() if source.priority}
                priorities.replace(connection, ranked)
        finally:
            engine.dispose()
        SluiceJob.terms = client.terms(worker)
        return cls(store, worker, judges, Database(store), LoadRequests(worker), columns)

    def check_columns(self, judge: stages.Judge, valid: Records) -> None:
        """Raises ConfigError where a batch has values that a column of the tables cannot hold without loss."""
        if not valid:  # all of it was rejected, perhaps without being judged: it has no columns
            return
        limit = database.longest_key(self.store)
        if limit and (found := max(len(key.encode()) for key in valid.keys)) > limit:
            raise ConfigError(
                f"the batch has a key of {found:,} bytes, and this database holds {limit:,}: let the mapping of its "
                "source make a shorter one (a hash of it), or use SQLite; the batch waits until then"
            )
        for column, values in zip(judge.contract.columns, valid.values, strict=True):
            held = self.columns.kinds.get(column.name, column.kind)
            if held == column.kind or all(value is None for value in values):
                continue
            # A batch that was sent before its contract's integer became a real.
            is_earlier = judge.contract.columns != self.judges.contract.columns
            if is_earlier and (column.kind, held) == ("integer", "real") and _are_reals(values):
                continue
            raise ConfigError(
                self.columns.refused.get(column.name)
                or f"the batch was sent for a contract whose field {column.name!r} is {column.kind}, but the table "
                f"holds it as {held}: send its file again for the present one, or {install.WAYS_OUT}"
            )

    def database(self, page_cache_mb: int = 16) -> AbstractContextManager[Engine]:
        """The database, for one job."""
        return self.data.session(page_cache_mb)

    def redis(self) -> Redis:
        """The job's own connection; outside a job, a new one. From here on, this process goes by Redis' clock."""
        job = get_current_job()
        redis = job.connection if job else client.connect(self.worker, self.store.home)
        clock.follow(redis)
        return redis


def _are_reals(values: list[int | None]) -> bool:
    return all(value is None or abs(value) <= install.LARGEST_EXACT for value in values)


Files = list[tuple[Path, int, int, int]]  # path, change, size and node of each

_workplace: Workplace | None = None
_read: Files | None = None  # the files that were read for it, if they were read again


def _files() -> Files:
    """Configuration and modules as they are now."""
    found = []
    for path in (config_path(), *modules.files()):
        try:
            now = path.stat()
        except OSError:  # it is gone, or was never there: that is a state too
            found.append((path, 0, 0, 0))
        else:
            found.append((path, now.st_ctime_ns, now.st_size, now.st_ino))
    return found


def workplace() -> Workplace:
    """This process' workplace, opened on first use."""
    global _workplace  # noqa: PLW0603 - one a process: RQ calls jobs by name and hands them nothing
    if _workplace is None:
        _workplace = Workplace.open()
    return _workplace


def renewed_workplace() -> Workplace:
    """This process' workplace with configuration, contract and adapters read again, unless they are as they were then.

    A batch may ask for it that no producer of ours has sent, again and again. Raises UsageError where they cannot be
    used; then the workplace stays as it was.
    """
    global _workplace, _read  # noqa: PLW0603
    before = workplace()
    if _read is not None and _read == _files():
        return before
    found, _read = _files(), None
    forget()
    opened = Workplace.open()
    opened.judges.remember(before.judges)
    if changes := opened.judges.contract.changes_since(before.judges.contract):
        log.warning(
            "the contract %s is adopted: %s",
            opened.judges.contract.name,
            "; ".join(changes),
            extra=event("contract_adopted"),
        )
    before.data.close()
    _workplace = opened
    _read = found if found == _files() else None
    return opened


def close_workplace() -> None:
    """Forgets this process' workplace: the next use reads the settings again."""
    global _workplace, _read  # noqa: PLW0603
    _read = None
    if _workplace:
        _workplace.data.close()
        SluiceJob.terms = {}
    _workplace = None

"""All checks in their order, over what can be opened. One that cannot be done has failed, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from store import database
from store.database.backends.base import Facts
from store.errors import SluiceError
from store.settings import StoreSettings
from store.tables import leases
from worker.doctor import host, measures, others, redis_asked, redis_info, store_asked
from worker.doctor.findings import Finding, Limits, failed, ok
from worker.queue import client, quarantine
from worker.queue.client import Broker
from worker.queue.names import LOADER_QUEUE, RECORDS_QUEUE
from worker.queue.server.clock import server_time
from worker.queue.upkeep import notes
from worker.settings import WorkerSettings
from worker.workplace import Judges

EXPECTED = (SluiceError, RedisError, SQLAlchemyError, OSError, ValueError)
NO_ADVICE = "see the log of the server that says so"
LOCK_SECONDS = 5.0  # a writer that holds the lock for longer is a finding


T = TypeVar("T")


class NotDone(Exception):
    """A check cannot be done, for what it needs is not there, and a check before it says why."""


@dataclass(frozen=True)
class Site:
    """What is examined; each part is opened by the first check that asks for it, once."""

    store: StoreSettings
    worker: WorkerSettings
    limits: Limits = field(default_factory=Limits)

    _found: dict[str, Any] = field(default_factory=dict)

    def _once(self, name: str, find: Callable[[], T]) -> T:
        """What is found, or the error; after the first time the error is short, for it stands above."""
        if name not in self._found:
            try:
                self._found[name] = find()
            except EXPECTED:
                self._found[name] = NotDone(f"not done, for lack of {name}")
                raise
        if isinstance(found := self._found[name], NotDone):
            raise found
        made: T = found
        return made

    @property
    def redis(self) -> Redis:
        return self._once("Redis", lambda: client.connect_once(self.worker, self.store.home))

    @property
    def engine(self) -> Engine:
        return self._once("the database", self._open)

    def _open(self) -> Engine:
        impatient = self.store.model_copy(
            update={"busy_timeout_seconds": min(LOCK_SECONDS, self.store.busy_timeout_seconds)}
        )
        reader = database.open_for_reading(impatient)  # raises where there is no file: none is made
        with database.reading(reader) as connection:
            database.backend_of(connection).check(connection)
        reader.dispose()
        return database.open_engine(impatient)

    @property
    def info(self) -> dict[str, Any]:
        redis = self.redis
        return self._once("INFO of Redis", lambda: dict(redis.info()))

    @property
    def facts(self) -> Facts:
        engine = self.engine
        return self._once("the role in a write transaction", lambda: store_asked.facts(engine))

    @cached_property
    def judges(self) -> Judges:
        return Judges.of(self.worker)

    @cached_property
    def live(self) -> list[notes.Note]:
        return [each for name in (RECORDS_QUEUE, LOADER_QUEUE) for each in notes.of_workers(self.redis, name)]

    @property
    def folders(self) -> dict[str, Path]:
        """What is written to on this host."""
        found = {"the home": self.store.home}
        if path := database.sqlite_file(database.url_of(self.store)):
            found["the database"] = path.parent
        if not self.worker.redis_url:
            found["the private Redis"] = self.store.home / "redis"
        return found

    def close(self) -> None:
        for each in self._found.values():
            if isinstance(each, Redis):
                each.close()
            if isinstance(each, Engine):
                each.dispose()


def redis_server(site: Site) -> Finding:
    return redis_info.server(site.info)


def redis_rights(site: Site) -> Finding:
    return redis_asked.rights(site.redis)


def redis_memory(site: Site) -> Finding:
    return redis_info.memory(site.info)


def redis_persistence(site: Site) -> Finding:
    return redis_info.persistence(site.info, is_private=not site.worker.redis_url)


def redis_connections(site: Site) -> Finding:
    given = site.redis.connection_pool.connection_kwargs
    timeouts = {name: given.get(name) for name in ("socket_connect_timeout", "socket_timeout")}
    return redis_info.clients(site.info, timeouts)


def redis_clock(site: Site) -> Finding:
    redis = site.redis
    ahead = measures.ahead(lambda: server_time(redis))
    return measures.clock("redis clock", *ahead, site.limits, "Redis")


def redis_latency(site: Site) -> Finding:
    return measures.latency("redis latency", measures.median(site.redis.ping), site.limits)


def database_server(site: Site) -> Finding:
    return store_asked.server(site.facts)


def database_schema(site: Site) -> Finding:
    columns = site.judges.contract.columns
    return store_asked.schema_of(
        site.engine, columns, site.store.partitions, may_change=site.facts.may_change_tables
    )


def database_rights(site: Site) -> Finding:
    return store_asked.rights(site.facts)


def database_settings(site: Site) -> Finding:
    return store_asked.settings(site.facts, site.store.busy_timeout_seconds)


def database_writing(site: Site) -> Finding:
    return store_asked.writing(site.engine)


def database_clock(site: Site) -> Finding:
    if database.sqlite_file(site.engine.url):
        return ok("database clock", "a file has no clock: that of Redis decides")
    ahead = measures.ahead(store_asked.now(site.engine))
    return measures.clock("database clock", *ahead, site.limits, "the database")


def database_latency(site: Site) -> Finding:
    return measures.latency("database latency", store_asked.speed(site.engine), site.limits)


def free_disk(site: Site) -> Finding:
    return host.disk(site.folders, site.limits)


def permissions(site: Site) -> Finding:
    return host.permissions(site.store.home, database.sqlite_file(database.url_of(site.store)))


def workers(site: Site) -> Finding:
    return others.workers(site.live)


def contract_of_workers(site: Site) -> Finding:
    return others.contracts(site.live, site.judges.fingerprints())


def failed_jobs(site: Site) -> Finding:
    queue = Broker(site.redis, site.worker)
    return others.failed_jobs(queue.failed_count(), queue.failed_count(LOADER_QUEUE))


def quarantined(site: Site) -> Finding:
    return others.quarantined(quarantine.count(site.redis))


def dead_leases(site: Site) -> Finding:
    with database.reading(site.engine) as connection:
        return others.leases(leases.of_dead_holders(connection))


# In the order of the answer; the names are those of `--json`.
CHECKS: dict[str, Callable[[Site], Finding]] = {
    "redis server": redis_server,
    "redis rights": redis_rights,
    "redis memory": redis_memory,
    "redis persistence": redis_persistence,
    "redis connections": redis_connections,
    "redis clock": redis_clock,
    "redis latency": redis_latency,
    "database server": database_server,
    "database schema": database_schema,
    "database rights": database_rights,
    "database settings": database_settings,
    "database writing": database_writing,
    "database clock": database_clock,
    "database latency": database_latency,
    "free disk": free_disk,
    "permissions": permissions,
    "workers": workers,
    "contract of workers": contract_of_workers,
    "failed jobs": failed_jobs,
    "quarantine": quarantined,
    "leases": dead_leases,
}


@contextmanager
def opened(store: StoreSettings, worker: WorkerSettings, limits: Limits) -> Iterator[Site]:
    """A site that is closed at the end."""
    site = Site(store, worker, limits)
    try:
        yield site
    finally:
        site.close()


def examine(site: Site) -> list[Finding]:
    """All checks."""
    return [_done(name, check, site) for name, check in CHECKS.items()]


def _done(name: str, check: Callable[[Site], Finding], site: Site) -> Finding:
    try:
        return check(site)
    except NotDone as error:
        return failed(name, str(error), "see the first check above that failed for it")
    except EXPECTED as error:
        what, colon, remedy = str(error).rpartition(": ")
        return (
            failed(name, what or type(error).__name__, remedy)
            if colon
            else failed(name, str(error), NO_ADVICE)
        )

"""All of Sluice in one process, for tests: real files and job functions, RQ's own worker, a Redis that is not.

in_process.work()     what `rq worker` does until the queue is empty
sluice.send(...)      what a test of a contract and a mapping says: see `Sluice`
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack
from urllib.parse import quote

import rq
from rq.logutils import setup_loghandlers
from rq.utils import now
from sqlalchemy import Engine

from producer.feed import Feed
from producer.letters import Proof, ReplayReceipt, prove, replay
from producer.settings import ProducerSettings
from producer.stream import SendReceipt, send
from store import database
from store.api.opened import Chosen, Letters, Store
from store.api.target import Target
from store.database import generation, install
from store.dead_letters.edits import Edit
from store.errors import ConfigError, SluiceError, UsageError
from store.reports import answers
from store.settings import StoreSettings, config_path
from store.tables import deliveries
from worker.contract import load_contract
from worker.dead_letters import mirror
from worker.encoding import Record
from worker.jobs import load_staged
from worker.queue import client
from worker.queue import send as sending
from worker.queue.client import Broker
from worker.queue.message import Message
from worker.queue.names import RECORDS_QUEUE
from worker.queue.rq_internals import REDIS_WITH_LMOVE
from worker.queue.rq_jobs import SluiceJob, SluiceQueue
from worker.queue.serializer import JsonSerializer
from worker.queue.upkeep.maintenance import maintain
from worker.settings import WorkerSettings
from worker.workplace import close_workplace

if TYPE_CHECKING:
    import pytest
    from redis import Redis

ABANDONED_SECONDS = 12.0
DATABASE = "sluice.db"
NOWHERE = "redis://in-process.invalid:6379/0"  # what is not given the fake reaches no other Redis


class InProcessWorker(rq.SimpleWorker):
    """RQ's worker without a process of its own, otherwise set up as ours is."""

    job_class = SluiceJob
    queue_class = SluiceQueue

    def run_maintenance_tasks(self) -> None:
        for queue in self.queues:
            maintain(self.connection, SluiceQueue(queue.name, connection=self.connection), ABANDONED_SECONDS)
        self.last_cleaned_at = now()  # type: ignore[assignment]


class QuietWorker(InProcessWorker):
    """The same, but for what RQ writes of the worker itself: saves a sixth of a run from the file to the table.

    Nobody asks there for its registration, state, heartbeats or the channel of its commands.
    """

    def bootstrap(self, logging_level: str | None = "INFO", *_: Any) -> None:
        for name in ("rq.worker", "rq.job"):
            setup_loghandlers(logging_level, name=name)

    def teardown(self) -> None:
        pass

    def check_for_suspension(self, burst: bool) -> None:
        pass

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        pass

    def set_state(self, state: str, pipeline: Any = None) -> None:
        self._state = state


@contextmanager
def signals_restored() -> Iterator[None]:
    """RQ's worker takes the process' signals and does not give them back."""
    stored = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in stored.items():
            signal.signal(number, handler)


def fake_redis() -> Redis:
    """A Redis within this process. Raises ConfigError without the extra."""
    try:
        import fakeredis
    except ImportError as error:
        raise ConfigError(
            "the fixture `sluice` needs the extra `testing`: pip install 'sluice[testing]'"
        ) from error
    redis = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    # Where RQ keeps a server's version: the fake has no INFO, and would be taken for one without LMOVE.
    setattr(redis, "__rq_redis_server_version", REDIS_WITH_LMOVE)
    return redis


class InProcess:
    """One queue and one database, under the settings of the environment."""

    worker_class: type[InProcessWorker] = QuietWorker

    def __init__(self) -> None:
        self.redis = fake_redis()
        self._engine: Engine | None = None
        self._settings: tuple[object, WorkerSettings] | None = None

    @property
    def settings(self) -> WorkerSettings:
        """Read again only where the file or a variable has changed: reading takes 3 ms, and a run asks five times."""
        path = config_path()
        origin = (path, path.exists() and path.read_bytes(), sorted(os.environ.items()))
        if self._settings is None or self._settings[0] != origin:
            self._settings = origin, WorkerSettings.load()
        return self._settings[1]

    @property
    def broker(self) -> Broker:
        return Broker(self.redis, self.settings)

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = install.prepare(StoreSettings.load())
        return self._engine

    def close(self) -> None:
        close_workplace()
        if self._engine:
            self._engine.dispose()
            self._engine = None

    def messages(self, path: Path, source: str = "default", **options: Any) -> list[Message]:
        """A file's batches, as they would be sent."""
        given = {"format": options.pop("format", None), "records": options.pop("records", None)}
        given["options"] = options.pop("dialect", {})
        worker, settings = self.settings, ProducerSettings.load(**options)
        feed = Feed(source, worker.source(source), load_contract(worker), settings, **given)
        with feed.open(str(path)) as file:
            feed.check_header(file)
            delivery = feed.delivery(file)
            with database.transaction(self.engine) as connection:
                deliveries.begin(connection, delivery)
            return list(feed.messages(file, delivery))

    def send_messages(self, messages: Sequence[Message]) -> sending.Sent:
        return sending.send_all(messages, self.broker, self.engine, 1000, lambda _: None, lambda _: None)

    def work(self, queue: str = RECORDS_QUEUE) -> None:
        """`rq worker`, until its queue is empty."""
        worker = self.worker_class(
            [self.broker.queue(queue)],
            connection=self.redis,
            job_class=SluiceJob,
            queue_class=SluiceQueue,
            serializer=JsonSerializer,
        )
        with signals_restored():
            worker.work(burst=True, logging_level="WARNING")


# --- the fixture ---


@dataclass
class Sluice(InProcess):
    """What a test does with Sluice: send, work, load, and look.

    The contract and the sources are those of `sluice.toml` in the working directory, or of `configure`.
    """

    home: Path
    patch: pytest.MonkeyPatch
    _reading: ExitStack = field(default_factory=ExitStack)
    _store: Store | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def configure(self, toml: str) -> None:
        """Takes this as the configuration from here on."""
        path = self.home / "sluice.toml"
        path.write_text(toml, encoding="utf-8")
        self.patch.setenv("SLUICE_CONFIG", str(path))
        close_workplace()

    def send(
        self, records: Iterable[Record] | object, *, source: str = "default", name: str | None = None
    ) -> SendReceipt:
        """Puts records on the queue: see `producer.send`."""
        return send(records, source=source, name=name)

    def send_file(self, path: Path | str, *, source: str = "default", **options: Any) -> int:
        """Puts the records of a file on the queue, as `producer enqueue`; how many."""
        return self.send_messages(self.messages(Path(path), source, **options)).records

    def work(self, queue: str = RECORDS_QUEUE) -> None:
        """Processes all that is queued. Raises SluiceError, with the reason, where something cannot be."""
        super().work(queue)
        for id, why in self.broker.held().items():
            raise UsageError(f"batch {id} stays on the queue: {why}")
        if number := self.broker.failed_count(queue):
            raise SluiceError(f"{number} jobs of the queue {queue} failed: the captured log has their errors")
        if self.broker.is_unfinished():
            raise SluiceError("not all batches are processed: the captured log says why")

    def load(self) -> dict[str, Any]:
        """Merges all that is staged into the target; the receipt of the run."""
        return load_staged()

    def run(
        self, records: Iterable[Record] | object, *, source: str = "default", name: str | None = None
    ) -> SendReceipt:
        """Sends records, processes and loads them."""
        receipt = self.send(records, source=source, name=name)
        self.work()
        self.load()
        return receipt

    @property
    def store(self) -> Store:
        """What `open_store` gives: `target`, `letters`, `lineage`, `explain`, `account`, `report`, `query`."""
        if self._store is None:
            _ = self.engine  # the tables are there
            settings = StoreSettings.load()
            self._store = Store(self._reading.enter_context(install.opened_for_reading(settings)), settings)
        return self._store

    def target(self, source: str | None = None, **chosen: Any) -> Target:
        """The newest record of each key: iterate over it."""
        return self.store.target(source, **chosen)

    def letters(self, **chosen: Unpack[Chosen]) -> Letters:
        """Dead letters, by default open ones: iterate over them, or ask for their `groups()`."""
        return self.store.letters(**chosen)

    def prove(self, *, edit: Edit = Edit(), **chosen: Any) -> Proof:  # noqa: B008 - it is frozen
        """What would become of open letters with an edit."""
        return prove(edit=edit, **chosen)

    def replay(self, proof: Proof) -> ReplayReceipt:
        """Puts the letters of a proof on the queue."""
        return replay(proof)

    def check(self) -> None:
        """Raises AssertionError with the first violations, unless all laws hold; the Redis DLQ is looked at too."""
        with database.reading(self.store.engine) as connection:
            laws = answers.check(connection, repair=False, with_lineage=True)["laws"]
        broken = [f"{each['law']}: {wrong}" for each in laws for wrong in each["violations"]]
        broken += [f"{each['law']}: {each['unchecked']}" for each in laws if each["unchecked"]]
        if broken:
            raise AssertionError("; ".join(broken[:3]))

    def close(self) -> None:
        self._store = None
        self._reading.close()
        super().close()


def make_empty(folder: Path) -> Path:
    """A database with all tables and nothing in them: a copy takes a hundredth of the time."""
    install.prepare(StoreSettings(home=folder, database_url=_url(folder))).dispose()
    return folder / DATABASE


def _url(home: Path) -> str:
    return f"sqlite:///{quote(str(home.absolute() / DATABASE))}"


@contextmanager
def opened(home: Path, empty: Path, patch: pytest.MonkeyPatch) -> Iterator[Sluice]:
    """A store in a folder of its own; whatever the settings say, it reaches no other database and no other Redis."""
    made = Sluice(home, patch)
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(empty, home / DATABASE)
    own = {
        "HOME": str(home),
        "DATABASE_URL": _url(home),
        "REDIS_URL": NOWHERE,
        "SYNCHRONOUS": "NORMAL",
        "PATIENCE_SECONDS": "0",
    }
    for name, value in own.items():
        patch.setenv(f"SLUICE_{name}", value)
    for module, name in ((client, "connect"), (client, "connect_once"), (mirror, "connect")):
        patch.setattr(module, name, lambda *_, **__: made.redis)
    close_workplace()
    generation.forget()
    try:
        yield made
    finally:
        made.close()

"""A store with its producer, workers and loader, in this process. Each does one thing at a time, when it is told to.

What was sent for one mapping is processed by workers of that mapping.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from rq import Retry
from sqlalchemy import Engine

from producer.feed import Feed
from producer.settings import ProducerSettings
from store import database
from store.database import generation, install
from store.dead_letters import actions
from store.dead_letters.actions import Order
from store.dead_letters.edits import Edit
from store.errors import StoreUnavailable
from store.load import merge
from store.tables import dead_letters, deliveries
from store.tables.batches import AT_LOAD
from store.tables.deliveries import Delivery
from tests.integration.plant import Plant
from worker import jobs, loader
from worker.batch import poison, receive
from worker.contract import Event
from worker.dead_letters.replay import Cut, Sending
from worker.queue.message import Message
from worker.queue.names import RECORDS_QUEUE
from worker.workplace import Database, Workplace

from .model import Key, Raw, Rules, Sent, Ties

SOURCES = ("log", "clock")
WHOLE = 5000  # records: more than any delivery or chunk has


class Noted(Event):
    """The contract with one more column."""

    note: str | None = None


FIRST, MENDED, GROWN = Rules(), Rules(value="w"), Rules(has_note=True)


def config(rules: Rules, ties: Ties) -> str:
    """sluice.toml with this mapping and contract."""
    lines = ["[worker]", f'contract = "{__name__}:Noted"'] if rules.has_note else []
    for source in SOURCES:
        lines += [f"[sources.{source}]", f'ties = "{ties[source]}"', 'deleted = "gone"']
        lines += ['fields.key = "id"', 'fields.ts = "at"', 'fields.name = "title"']
        lines += [f'fields.value = "{rules.value}"', *['sequence = "n"'] * (source == "log")]
    return "\n".join(lines)


@dataclass
class OpenDatabase(Database):
    """A database that stays open for all workers of the process, with the statements that were compiled for it."""

    engine: Engine | None = None

    @contextmanager
    def session(self, page_cache_mb: int = 16) -> Iterator[Engine]:
        assert self.engine
        yield self.engine


@dataclass(frozen=True)
class Parcel:
    """A batch on its way, and which records of which delivery are in it, counted by the test."""

    message: Message
    number: int
    records: range
    half_of: Parcel | None = None

    @property
    def identity(self) -> tuple[Any, ...]:
        """What is the same of two batches that count once."""
        return self.number, self.records

    @property
    def positions(self) -> list[tuple[int, int]]:
        return [(self.number, record) for record in self.records]


class Site:
    """One store, and the deliveries that were sent to it."""

    def __init__(self, plant: Plant, empty_store: Callable[[], Path | str]) -> None:
        self.plant = plant
        self._empty_store = empty_store
        self._workplaces: dict[str, Workplace] = {}  # by their sluice.toml

    def reset(self, ties: Ties) -> None:
        """An empty store, an empty queue and the first mapping."""
        self.ties = ties
        self.sent: dict[int, Sent] = {}  # by their numbers
        self.replayed: dict[int, tuple[list[str], dict[str, Any]]] = {}  # letters, and how they are edited
        self.files: list[tuple[str, tuple[str, ...]]] = []  # source and records
        self._times: Counter[tuple[Any, ...]] = Counter()  # deliveries of one file under the same rules
        self._numbers: dict[tuple[Any, ...], int] = {}  # of deliveries, by what identifies them
        self.plant.redis.flushall()
        empty = self._empty_store()
        if isinstance(empty, Path):
            self._empty_file(empty)
        else:
            self.plant.move_to(empty)
            self._workplaces.clear()
        self.change(FIRST)

    def _empty_file(self, empty: Path) -> None:
        with closing(sqlite3.connect(empty)) as origin, self.plant.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            origin.backup(driver)
            driver.execute("PRAGMA wal_checkpoint")
        generation.forget()  # it is the same file, with the batches of none

    # --- what users do ---

    def change(self, rules: Rules) -> None:
        """Changes the mapping or the contract of all that is sent from now on."""
        self.rules = rules
        here = self.workplace(rules)
        install.add_contract_columns(self.plant.engine, here.judges.contract.columns)

    def workplace(self, rules: Rules) -> Workplace:
        """That of workers with these rules."""
        toml = config(rules, self.ties)
        if toml not in self._workplaces:
            self.plant.config.write_text(toml)
            opened = Workplace.open()
            data = OpenDatabase(opened.store, engine=self.plant.engine)
            self._workplaces[toml] = replace(opened, data=data)
        return self._workplaces[toml]

    def send(self, source: str, records: Sequence[str], cut: int, *, anew: bool = False) -> list[Parcel]:
        """`producer enqueue` of a file, `anew` with `--again`."""
        if (source, tuple(records)) not in self.files:
            self.files.append((source, tuple(records)))
        name = f"{self.files.index((source, tuple(records)))}.ndjson"
        path = str(self.plant.file("".join(f"{each}\n" for each in records).encode(), name))
        here = self.workplace(self.rules)
        feed = Feed(
            source, here.worker.source(source), here.judges.contract, ProducerSettings(batch_records=cut)
        )
        with feed.open(path) as file:
            delivery = feed.delivery(file)
            with database.reading(self.plant.engine) as connection:
                times = deliveries.times_again(
                    connection, source, str(delivery.content), delivery.fingerprint
                )
            if anew and times is not None:
                delivery = feed.delivery(file, again=times + 1)
            identity = (source, tuple(records), self.rules)
            self._times[identity] += anew or not self._times[identity]
            number = self._begin(
                (*identity, self._times[identity] if anew else 1), delivery, [Raw(each) for each in records]
            )
            return parcels(number, list(feed.messages(file, delivery)))

    def replay(self, source: str, letters: list[str], fields: dict[str, Any], cut: int) -> list[Parcel]:
        """`producer replay` of the letters with these ids, in their order, with these fields set."""
        here = self.workplace(self.rules)
        with database.transaction(self.plant.engine) as connection:
            chosen = dead_letters.select_letters(connection, source=source, ids=letters)
            order = Order("replay", {}, "", "ann@host", Edit(set=fields).to_text())
            action = actions.begin(connection, order, dead_letters.conditions(connection, ids=letters))
        assert action is not None
        sending = Sending(self.plant.engine, action, here.judges.contract, here.worker, Cut(cut, 4 << 20), [])
        messages = list(sending.messages())
        payloads = {each.id: each.payload for each in chosen}
        records = [
            Raw(edited(payloads[each.id], fields), payloads[each.id])
            for message in messages
            for each in message.letters
        ]
        number = self._begin(("replay", len(self.replayed)), messages[0].delivery, records)
        self.replayed[number] = letters, fields
        return parcels(number, messages)

    def _begin(self, identity: tuple[Any, ...], delivery: Delivery, records: list[Raw]) -> int:
        """Registers a delivery, and makes sure that it is a new one where its identity is."""
        number = self._numbers.setdefault(identity, len(self._numbers) + 1)
        with database.transaction(self.plant.engine) as connection:
            assert deliveries.begin(connection, delivery) == number
        self.sent.setdefault(number, Sent(number, delivery.source, self.rules, tuple(records)))
        return number

    # --- what workers and the loader do ---

    def process(self, parcel: Parcel, stop: str | None = None) -> dict[str, Any] | None:
        """A worker's job, and its result; None where the database goes away at the point `stop`."""
        with self.at_work(self.workplace(self.sent[parcel.number].rules), stop):
            result = jobs.process_batch(orjson.loads(orjson.dumps(parcel.message.to_wire())))
        return None if isinstance(result, Retry) else result

    def split(self, parcel: Parcel) -> list[Parcel]:
        """A worker's job for a batch that has crashed its workers; the halves that it sends."""
        for _ in range(poison.TOLERATED):
            poison.begin(self.plant.redis, parcel.message)
        result = self.process(parcel)
        assert result is not None
        queue = self.plant.broker.queue(RECORDS_QUEUE)
        halves = [Message.from_wire(queue.fetch_job(id).args[0]) for id in result["split_into"]]
        middle = parcel.records.start + len(parcel.records) // 2
        records = (range(parcel.records.start, middle), range(middle, parcel.records.stop))
        return [Parcel(half, parcel.number, each, parcel) for half, each in zip(halves, records, strict=True)]

    def load(self, chunk: int = WHOLE, stop: str | None = None) -> None:
        """A loader's job; it fails where the database goes away at the point `stop`."""
        here = self.workplace(self.rules)
        worker = here.worker.model_copy(update={"load_chunk_records": chunk})
        with self.at_work(replace(here, worker=worker), stop):
            try:
                jobs.load_staged()
            except StoreUnavailable:
                assert stop is not None

    @contextmanager
    def at_work(self, here: Workplace, stop: str | None = None) -> Iterator[None]:
        """The jobs of this process are those of a worker of this workplace."""

        def reach(point: str) -> None:
            if point == stop:
                raise StoreUnavailable("stopped by the schedule")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(jobs, "workplace", lambda: here)
            patched.setattr(Workplace, "redis", lambda _: self.plant.redis)
            for module in (receive, loader, merge):
                patched.setattr(module, "reach", reach)
            yield

    # --- what there is to see ---

    def seen(self) -> Seen:
        with database.reading(self.plant.engine) as connection:
            ask = connection.exec_driver_sql
            staged, *outcomes = ask(COUNTS).one()
            return Seen(
                held={(row[0], row[1]): tuple(row[2:]) for row in ask(HELD)},
                letters={(row[0], row[1]) for row in ask(LETTERS)},
                staged=staged,
                outcomes=dict(zip(OUTCOMES, outcomes, strict=True)),
                conflicts=[
                    {row[0]: int(row[1]) for row in ask(counted.format(each=each)) if row[1]}
                    for each in [EACH_OF_JSON[connection.dialect.name]]
                    for counted in CONFLICTS
                ],
            )


OUTCOMES = AT_LOAD[:4]
HELD = "SELECT source, key, ts, content_hash, value, deleted FROM target"
LETTERS = "SELECT source, payload FROM dead_letters WHERE status IN ('open', 'replaying', 'parked')"
COUNTS = f"SELECT {', '.join(f'coalesce(sum({each}), 0)' for each in ('staged', *OUTCOMES))} FROM batches"  # noqa: S608
EACH_OF_JSON = {
    "sqlite": "json_each(run_log.conflicts)",
    "postgresql": "json_each_text(CAST(run_log.conflicts AS json))",
}
# As batches, runs and the list of conflicts count them.
CONFLICTS = (
    "SELECT source, sum(conflicts) FROM batches GROUP BY source",
    "SELECT value.key, sum(CAST(value.value AS integer)) FROM run_log, {each} AS value GROUP BY value.key",
    "SELECT source, count(*) FROM past_lineage WHERE conflict_run IS NOT NULL GROUP BY source",
)


class Seen(NamedTuple):
    """What the model says something of."""

    held: dict[Key, tuple[Any, ...]]  # by the target
    letters: set[tuple[str, str]]  # source and payload of those that count
    staged: int
    outcomes: dict[str, int]  # at load
    conflicts: list[dict[str, int]]  # by source, as several tables count them


def parcels(number: int, messages: Sequence[Message]) -> list[Parcel]:
    """The batches of a delivery."""
    found, first = [], 0
    for message in messages:
        found.append(Parcel(message, number, range(first, first + len(message.records))))
        first += len(message.records)
    return found


def edited(payload: str, fields: dict[str, Any]) -> str:
    """A payload with these fields set."""
    return orjson.dumps(orjson.loads(payload) | fields).decode() if fields else payload

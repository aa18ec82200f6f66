"""The store's suite: on SQLite, and what may differ between backends on PostgreSQL too."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from sqlalchemy import Engine, text

from store import database, hashing, timestamps
from store.checks import conservation
from store.database import install, records, schema
from store.database.records import ContractColumn, Kind
from store.database.schema import RECORD_BITS, event_id, staged_id
from store.dead_letters import actions, groups, states
from store.dead_letters.actions import Order
from store.dead_letters.states import Attempt
from store.load import chunk, merge
from store.settings import StoreSettings
from store.tables import batches, dead_letters, deliveries, lineage, load_runs, staging, watermarks
from store.tables.batches import Batch
from store.tables.dead_letters import Rejected
from store.tables.deliveries import Delivery

from ... import postgresql as servers
from ..conftest import MakeDatabase

AT = "2025-01-15T12:00:00.000000Z"
FIELDS: dict[str, Kind] = {"key": "text", "ts": "text", "name": "text", "value": "real"}
COLUMNS = (ContractColumn("name", "text"), ContractColumn("value", "real"))


class Record(NamedTuple):
    """A valid record: a key, an event time, and what it says."""

    key: str
    ts: str
    name: str = "pump"
    value: float = 1.0
    sequence: int = 0

    @property
    def stored_ts(self) -> str:
        return self.ts if len(self.ts) == timestamps.WIDTH else f"{self.ts}T00:00:00.000000Z"

    @property
    def content_hash(self) -> bytes:
        fields = {"key": self.key, "ts": self.stored_ts, "name": self.name, "value": self.value}
        return hashing.digest(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS))


class Bad(NamedTuple):
    """A record that is rejected."""

    payload: str
    reason: str = "malformed_json"
    key: str | None = None


def a_delivery(id: str = "d1", source: str = "shop", file: str = "a.json") -> Delivery:
    """A delivery of a file."""
    return Delivery(id, "file", source, file, hashing.hexdigest(id.encode()), "f")


def a_batch(id: str = "b1", **changed: Any) -> Batch:
    """A receipt in which everything is nothing but what is given."""
    empty = Batch(
        id=id,
        kind="file",
        delivery_seq=1,
        source="shop",
        file="a.json",
        first_record=0,
        first_line=1,
        last_line=1,
        fingerprint="f",
        received=0,
        staged=0,
        rejected=0,
        skipped=0,
        late=0,
        stale=0,
        reasons={},
        seconds={},
        watermark_before=None,
        processed_at=timestamps.now_text(),
        stages_run=["validate"],
    )
    return replace(empty, **changed)


@dataclass
class Ledger:
    """A store, and the shortest way to bring records through it: what a worker and a loader do to it."""

    engine: Engine

    def receive(
        self,
        records: Sequence[Record | Bad],
        *,
        source: str = "shop",
        file: str = "a.json",
        first_line: int = 1,
        id: str | None = None,
        parents: Sequence[int | None] = (),
        kind: str = "file",
        delivery: str | None = None,
        first_record: int = 0,
        version: int | None = None,
    ) -> int:
        """One batch in one transaction; its number. It is a delivery of its own unless one is named.

        Its records have the version of their delivery, unless one is given: 0 where hashes decide ties.
        """
        parents = parents or [None] * len(records)
        valid = [(position, each) for position, each in enumerate(records) if isinstance(each, Record)]
        bad = [(position, each) for position, each in enumerate(records) if isinstance(each, Bad)]
        with database.transaction(self.engine) as connection:
            batch = a_batch(
                id or os.urandom(8).hex(),
                delivery_seq=deliveries.begin(
                    connection, a_delivery(delivery or os.urandom(8).hex(), source, file)
                ),
                source=source,
                file=file,
                kind=kind,
                first_record=first_record,
                first_line=first_line,
                last_line=first_line + len(records) - 1,
                received=len(records),
                staged=len(valid),
                rejected=len(bad),
            )
            number = batches.record(connection, batch)
            assert number is not None
            batches.remember_contract(connection, batch.fingerprint, FIELDS)
            names = (
                "id",
                "source",
                "key",
                "ts",
                "sequence",
                "content_hash",
                "line",
                "parent_id",
                "version",
                "name",
                "value",
            )
            staging.add(
                connection,
                names,
                [
                    (
                        staged_id(number, position), source, each.key, each.stored_ts, each.sequence,
                        each.content_hash, first_line + position, parents[position], version, each.name, each.value,
                    )
                    for position, each in valid
                ],
            )  # fmt: skip
            rows = [
                rejected(
                    each, source, number, position, file, first_line + position, batch.processed_at
                )._replace(version=batch.delivery_seq << RECORD_BITS | (first_record + position))
                for position, each in bad
            ]
            states.reject(connection, rows)
            events = [
                (row.event_id, "reject", source, row.record_key, row.id, row.reason, number, row.line, None)
                for row in rows
            ]
            lineage.add_events(connection, events)
        return number

    def replay(self, *ids: str, again: Sequence[Rejected] = (), at: str = AT, max_replays: int = 9) -> int:
        """An action over these open letters that is done: accepted, but for those rejected again; its number."""
        bad = {row.id: row for row in again}
        with database.transaction(self.engine) as connection:
            order = Order("replay", {}, "", "ann@host")
            action = actions.begin(connection, order, dead_letters.conditions(connection, ids=ids))
            assert action is not None
            attempts = [Attempt(id, None, bad.get(id)) for id in ids]
            (batch,) = connection.exec_driver_sql("SELECT MAX(seq) FROM batches").one()
            assert actions.end_attempts(connection, action.seq, attempts, batch, at, max_replays)
        return action.seq

    def load(self, size: int = 1000, dedupe: float = 1.0) -> int:
        """One run of the loader, in chunks of `size`; its number."""
        conflicts: Counter[str] = Counter()
        with database.transaction(self.engine) as connection:
            run = load_runs.start(connection, "host:1:00", None)
        while True:
            with database.transaction(self.engine) as connection:
                watermarks_by_source = watermarks.stored(connection)
                taken = chunk.take(connection, install.contract_columns(connection), size, dedupe=dedupe)
                if taken is None:
                    break
                merged = merge.merge_chunk(connection, taken, run)
                for move in merged.newest:
                    if watermarks.advance(connection, move, watermarks_by_source.get(move.source), run):
                        watermarks_by_source[move.source] = move.value
                conflicts.update(merged.conflicts)
                watermark = watermarks.pipeline(watermarks_by_source)
                load_runs.add_chunk(connection, run, merged.outcomes, watermark, 0.1, conflicts=conflicts)
        with database.transaction(self.engine) as connection:
            load_runs.finish(connection, run)
        return run

    def target(self) -> dict[tuple[str, str], tuple[str, str, float]]:
        """(source, key) -> (ts, name, value)."""
        rows = self.rows("SELECT source, key, ts, name, value FROM target")
        return {(row[0], row[1]): (row[2], row[3], row[4]) for row in rows}

    def digest(self) -> str:
        with database.reading(self.engine) as connection:
            return conservation.digest(connection)

    def violations(self) -> list[str]:
        with database.reading(self.engine) as connection:
            return conservation.violations(connection)

    def rows(self, statement: str, **values: Any) -> list[Any]:
        with database.reading(self.engine) as connection:
            return list(connection.execute(text(statement), values))

    def tamper(self, statement: str, **values: Any) -> None:
        """What nobody should do to the database."""
        with database.transaction(self.engine) as connection:
            connection.execute(text(statement), values)

    def wipe(self) -> None:
        """Back to an empty store, for hypothesis: quicker than a new one."""
        own = [table for table in reversed(schema.metadata.sorted_tables) if table.name != "contract_columns"]
        with database.transaction(self.engine) as connection:
            for table in (*own, records.record_tables().staging, records.record_tables().target):
                connection.execute(table.delete())


def rejected(
    bad: Bad, source: str = "shop", number: int = 1, position: int = 0, file: str = "a.json", line: int = 1,
    at: str | None = None,
) -> Rejected:  # fmt: skip
    """The row of a rejection."""
    return Rejected(
        id=hashing.hexdigest(orjson.dumps([source, bad.payload])),
        source=source,
        reason=bad.reason,
        errors=orjson.dumps(
            [{"reason": bad.reason, "field": "", "rule": bad.reason, "message": "it is wrong", "shape": ""}]
        ).decode(),
        group_id=groups.group_id(source, "f", [("", bad.reason, "")]),
        fingerprint="f",
        payload=bad.payload,
        encoding="utf-8",
        size=len(bad.payload.encode()),
        payload_digest=None,
        format="json",
        header=None,
        content=hashing.hexdigest(bad.payload.encode()),
        record_key=bad.key,
        file=file,
        line=line,
        batch_seq=number,
        version=number,
        event_id=event_id(number, position, "reject"),
        seen_at=at or timestamps.now_text(),
    )


@pytest.fixture
def settings(
    request: pytest.FixtureRequest, backend: str, tmp_path: Path, own_environment: None
) -> StoreSettings:
    """Of a database with nothing in it; of that of the engine, where a test has one."""
    settings = StoreSettings(home=tmp_path, synchronous="NORMAL")
    if backend == "postgresql":
        make: MakeDatabase = request.getfixturevalue("postgresql_database")
        has_tables = "engine" in request.fixturenames
        template = request.getfixturevalue("postgresql_template") if has_tables else "template0"
        settings = settings.model_copy(update={"database_url": make(template)})
        request.getfixturevalue("monkeypatch").setenv("DATABASE_URL", settings.database_url)
    return settings


def install_tables(settings: StoreSettings) -> Engine:
    """A prepared database with the contract's columns."""
    engine = install.prepare(settings)
    install.add_contract_columns(engine, COLUMNS)
    return engine


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a database, to be copied: that is ten times as quick as making it."""
    settings = StoreSettings(home=tmp_path_factory.mktemp("prepared"), synchronous="NORMAL")
    install_tables(settings).dispose()
    return settings.home / "sluice.db"


@pytest.fixture(scope="session")
def postgresql_template(postgresql: str) -> Iterator[str]:
    """The name of such a database, to be copied."""
    name = f"ledger_{os.getpid()}"
    url = servers.create(postgresql, name)
    install_tables(StoreSettings(database_url=url)).dispose()
    yield name
    servers.drop(postgresql, name)


@pytest.fixture
def engine(
    request: pytest.FixtureRequest, backend: str, tmp_path: Path, settings: StoreSettings
) -> Iterator[Engine]:
    """A prepared database with the contract's columns."""
    if backend == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_file"), tmp_path / "sluice.db")
    engine = install_tables(settings)
    yield engine
    engine.dispose()


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    return Ledger(engine)


@pytest.fixture
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of whoever runs the tests; a home of the test's own."""
    for name in list(os.environ):
        if name.startswith("SLUICE_") or name in ("DATABASE_URL", "REDIS_URL", "COLUMNS", "FORCE_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path))

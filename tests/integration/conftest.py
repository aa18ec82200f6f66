"""The plant as a fixture, and PostgreSQL, on which it stands where SLUICE_TEST_BACKEND says so."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from store.database import install
from store.database.backends import sqlite
from store.settings import StoreSettings

from .. import postgresql as servers
from .plant import Plant, opened
from .replaying import Replay


@pytest.fixture(scope="session", autouse=True)
def statements_are_compiled_once() -> Iterator[None]:
    """Not once an engine, of which each test opens several: all are of the same SQLite."""
    compiled: LRUCache[Any, Any] = LRUCache(2000)

    def create(*args: Any, **kwargs: Any) -> Engine:
        engine = create_engine(*args, **kwargs)
        engine._compiled_cache = compiled
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "create_engine", create)
        # A compiled statement is found by its dialect too.
        patch.setattr(SQLiteDialect_pysqlite, "__eq__", lambda one, other: type(one) is type(other))
        patch.setattr(SQLiteDialect_pysqlite, "__hash__", lambda each: hash(type(each)))
        yield


NUMBERS = count()
# It stays in the environment: the processes of a run are started with it after this one has read it.
BACKEND = os.environ.get("SLUICE_TEST_BACKEND", "sqlite")
PARTITIONS = int(os.environ.get("SLUICE_TEST_PARTITIONS", "1"))  # of staging and target, on PostgreSQL
MakeDatabase = Callable[[str], str]
EmptyStore = Callable[[], Path | str]


# Files of tests that run on both in every run: what they look at is done by the database in its own way.
ON_BOTH = {
    "test_batches",
    "test_contents",
    "test_lateness",
    "test_letter_actions",
    "test_locks",
    "test_merging",
    "test_moving",
}


def pytest_configure(config: pytest.Config) -> None:
    for name, engine in (("sqlite", "SQLite"), ("postgresql", "PostgreSQL")):
        config.addinivalue_line(
            "markers",
            f"{name}(why): of {engine} alone, and on it in every run: no other has what it looks at",
        )


def own_backend(item: pytest.Item | pytest.FunctionDefinition) -> str | None:
    """The engine whose own a test is; None for a test of all."""
    return next((name for name in ("sqlite", "postgresql") if item.get_closest_marker(name)), None)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with the fixture `backend` runs on each of its backends."""
    if "backend" in metafunc.fixturenames:
        both = metafunc.module.__name__.rpartition(".")[2] in ON_BOTH
        usual = {BACKEND, "sqlite", "postgresql"} if both else {BACKEND}
        own = own_backend(metafunc.definition)
        metafunc.parametrize("backend", [own] if own else sorted(usual))


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A server of PostgreSQL: its URL, but for the database. One for all processes of a run."""
    own = tmp_path_factory.getbasetemp()
    return servers.shared(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)


@pytest.fixture
def postgresql_database(postgresql: str) -> Iterator[MakeDatabase]:
    """Makes databases, each a copy of a template, that are gone after the test; their URLs."""
    made: list[str] = []

    def make(template: str) -> str:
        made.append(f"test_{os.getpid()}_{next(NUMBERS)}")
        return servers.create(postgresql, made[-1], template)

    yield make
    for name in made:
        servers.drop(postgresql, name)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all of its tables and nothing in them."""
    home = tmp_path_factory.mktemp("empty")
    install.prepare(StoreSettings(home=home, database_url=f"sqlite:///{home}/sluice.db")).dispose()
    return home / "sluice.db"


@pytest.fixture(scope="session")
def empty_template(postgresql: str) -> Iterator[str]:
    """The name of such a database of PostgreSQL."""
    name = f"empty_{os.getpid()}"
    url = servers.create(postgresql, name)
    install.prepare(StoreSettings(database_url=url, partitions=PARTITIONS)).dispose()
    yield name
    servers.drop(postgresql, name)


@pytest.fixture
def plant_backend(request: pytest.FixtureRequest) -> str:
    """The backend of the plants of a test: the run's, or the one whose own the test is."""
    return own_backend(request.node) or BACKEND


@pytest.fixture
def empty_store(request: pytest.FixtureRequest, plant_backend: str) -> EmptyStore:
    """Where a plant finds an empty database: a file to copy, or the URL of one of its own."""
    if plant_backend == "sqlite":
        file: Path = request.getfixturevalue("empty_database")
        return lambda: file
    make: MakeDatabase = request.getfixturevalue("postgresql_database")
    template: str = request.getfixturevalue("empty_template")
    return lambda: make(template)


@pytest.fixture
def make_plant(
    tmp_path: Path, empty_store: EmptyStore, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Plant]]:
    """Plants, each with a home of its own; the one made last is where the jobs run."""
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.delenv("DATABASE_URL")  # whatever a plant sets is gone after the test
    config = tmp_path / "sluice.toml"
    config.touch()
    monkeypatch.setenv("SLUICE_CONFIG", str(config))
    monkeypatch.setenv("SLUICE_SYNCHRONOUS", "NORMAL")
    monkeypatch.setenv("SLUICE_PATIENCE_SECONDS", "0")
    with ExitStack() as stack:
        homes = iter(range(10_000))
        yield lambda: stack.enter_context(opened(tmp_path / f"home-{next(homes)}", empty_store()))


@pytest.fixture
def plant(make_plant: Callable[[], Plant]) -> Plant:
    """A plant with nothing in it."""
    return make_plant()


@pytest.fixture
def replay(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Replay:
    """`producer replay` over the plant."""
    return Replay(plant, monkeypatch)

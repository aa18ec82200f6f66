"""The plant as a fixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from store.database import engine as engines
from store.database import install
from store.settings import StoreSettings

from .plant import Plant, opened
from .replaying import Replay


@pytest.fixture(scope="session", autouse=True)
def statements_are_compiled_once() -> Iterator[None]:
    """Not once an engine, of which each test opens several: all are of the same SQLite."""
    compiled: LRUCache[Any, Any] = LRUCache(2000)

    def create(*args: Any, **kwargs: Any) -> Engine:
        engine = create_engine(*args, **kwargs)
        if isinstance(engine.dialect, SQLiteDialect_pysqlite):
            engine._compiled_cache = compiled
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "create_engine", create)
        # A compiled statement is found by its dialect too.
        patch.setattr(SQLiteDialect_pysqlite, "__eq__", lambda one, other: type(one) is type(other))
        patch.setattr(SQLiteDialect_pysqlite, "__hash__", lambda each: hash(type(each)))
        yield


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all of its tables and nothing in them."""
    home = tmp_path_factory.mktemp("empty")
    install.prepare(StoreSettings(home=home, database_url=f"sqlite:///{home}/sluice.db")).dispose()
    return home / "sluice.db"


@pytest.fixture
def make_plant(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Plant]]:
    """Plants, each with a home of its own; the one made last is where the jobs run."""
    config = tmp_path / "sluice.toml"
    config.touch()
    monkeypatch.setenv("SLUICE_CONFIG", str(config))
    monkeypatch.setenv("SLUICE_SYNCHRONOUS", "NORMAL")
    monkeypatch.setenv("SLUICE_PATIENCE_SECONDS", "0")
    with ExitStack() as stack:
        homes = iter(range(10_000))
        yield lambda: stack.enter_context(opened(tmp_path / f"home-{next(homes)}", empty_database))


@pytest.fixture
def plant(make_plant: Callable[[], Plant]) -> Plant:
    """A plant with nothing in it."""
    return make_plant()


@pytest.fixture
def replay(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Replay:
    """`producer replay` over the plant."""
    return Replay(plant, monkeypatch)

"""The store that the benches of letters write is whole by `store check`, and every question can be asked of it."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from store import database
from store.checks import conservation, lineage
from store.checks import letters as check
from store.database import install
from store.settings import StoreSettings

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("letters.questions")


def test_the_store_of_the_bench_is_whole(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filling = importlib.import_module("letters.filling")
    monkeypatch.setattr(filling, "PER_FILE", 200)
    monkeypatch.setattr(filling, "PER_BATCH", 10)
    engine = install.prepare(StoreSettings(home=tmp_path, database_url=None))
    filling.build(engine, 2000, 30)
    filling.load(engine, 600)
    filling.act(engine, 2, 100)
    with database.reading(engine) as connection:
        laws = [check.law(connection), *conservation.laws(connection), *lineage.laws(connection)]
        assert [violation for law in laws for violation in law.violations] == []
        for case in bench.cases(connection):
            case.query(connection)
    engine.dispose()

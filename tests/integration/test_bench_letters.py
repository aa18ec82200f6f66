"""The store that the bench of letters writes is whole by `store check`, and every case can be asked of it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from store import database
from store.checks import conservation, lineage
from store.checks import letters as check
from store.database import install
from store.settings import StoreSettings

FILE = Path(__file__).parents[2] / "benchmarks" / "letters" / "questions.py"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_letters", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_the_store_of_the_bench_is_whole(bench: ModuleType, tmp_path: Path) -> None:
    bench.PER_FILE = 200
    engine = install.prepare(StoreSettings(home=tmp_path, database_url=None))
    bench.build(engine, 2000, 30)
    with database.reading(engine) as connection:
        laws = [check.law(connection), *conservation.laws(connection), *lineage.laws(connection)]
        assert [violation for law in laws for violation in law.violations] == []
        for case in bench.cases(connection):
            case.query(connection)
    engine.dispose()

"""The fixture `sluice` of the pytest plugin, as a user's test has it."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import producer
from producer import testing
from producer.testing import Sluice
from store import database, open_store
from store.errors import ConfigError, SluiceError, UsageError

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
RECORD = {"key": "a", "name": "pump", "value": 1.5, "ts": "2025-01-15T08:00:00Z"}
OWN = """
from datetime import datetime
from pydantic import BaseModel, Field

class Order(BaseModel):
    key: str
    ts: datetime
    amount: float = Field(gt=0)
"""


def test_the_example_of_the_page_passes(sluice: Sluice) -> None:
    asks, text = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert asks == 'pytest_plugins = ["producer.pytest_plugin"]\n'
    names: dict[str, Any] = {}
    exec(text, names)  # noqa: S102 - it is ours
    [test] = [each for name, each in names.items() if name.startswith("test_")]
    test(sluice)


def test_the_methods_of_the_page_are_there() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", PAGE.read_text().split("## Test", 1)[1], re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(\w+)", row)]
    assert len(names) == 12
    assert [name for name in names if not hasattr(Sluice, name)] == []


def test_files_are_sent_as_by_the_command(sluice: Sluice, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('key;name;value;ts\na;pump;"1,5";2025-01-15T08:00:00Z\n')
    sluice.configure('[sources.plant]\ndelimiter = ";"\ndecimal = ","\n')
    assert sluice.send_file(file, source="plant") == 1
    sluice.work()
    sluice.load()
    assert [row["value"] for row in sluice.target("plant")] == [1.5]


def test_the_functions_for_programs_reach_the_same_store(sluice: Sluice) -> None:
    producer.send([RECORD])
    sluice.work()
    assert sluice.load()["inserted"] == 1
    with open_store() as store:
        assert [row["key"] for row in store.target()] == ["a"]
    assert [row["key"] for row in sluice.target()] == ["a"]


def test_a_test_begins_with_nothing(sluice: Sluice) -> None:
    assert list(sluice.target()) == []
    assert list(sluice.letters()) == []
    sluice.check()


def test_no_other_redis_and_no_other_database_are_reached(
    sluice: Sluice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.db"
    sluice.configure(
        f'[store]\ndatabase_url = "sqlite:///{other}"\n[worker]\nredis_url = "redis://localhost:1/0"\n'
    )
    monkeypatch.setenv("REDIS_URL", "redis://localhost:1/0")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{other}")
    sluice.run([RECORD])
    assert len(list(sluice.target())) == 1
    assert not other.exists()
    assert (sluice.home / "sluice.db").exists()


def test_what_cannot_be_processed_is_an_error(sluice: Sluice, tmp_path: Path) -> None:
    sluice.send([RECORD])
    sluice.configure('[sources.default]\ndefaults.name = "x"\n')  # the batch was sent for another mapping
    with pytest.raises(UsageError, match="stays on the queue: it was sent for another contract or mapping"):
        sluice.work()


def test_a_job_that_fails_is_an_error(sluice: Sluice) -> None:
    sluice.broker.queue().enqueue_call("worker.jobs.process_batch", args=("nonsense",))
    with pytest.raises(SluiceError, match="1 jobs of the queue records failed"):
        sluice.work()


def test_a_broken_law_fails(sluice: Sluice) -> None:
    sluice.run([RECORD])
    with database.transaction(sluice.engine) as connection:
        connection.exec_driver_sql("DELETE FROM target")
    with pytest.raises(AssertionError, match="1 staged, but 0 are in staging or loaded"):
        sluice.check()


def test_without_the_extra_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fakeredis", None)
    with pytest.raises(ConfigError, match=r"pip install 'sluice\[testing\]'"):
        testing.fake_redis()


def test_a_run_of_pytest_has_the_fixture_and_imports_nothing_for_it(tmp_path: Path) -> None:
    (tmp_path / "orders.py").write_text(OWN)
    (tmp_path / "sluice.toml").write_text('[worker]\ncontract = "orders:Order"\n')
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["producer.pytest_plugin"]\n')
    (tmp_path / "test_own.py").write_text(
        "import sys\n"
        "HEAVY = {'sqlalchemy', 'fakeredis', 'redis', 'rq', 'pydantic', 'orjson', 'producer.testing'}\n"
        "def test_light():\n    assert not HEAVY & set(sys.modules)\n"
        "def test_own(sluice):\n"
        "    order = {'key': 'a', 'ts': '2025-01-15T08:00:00Z', 'amount': 2}\n"
        "    sluice.run([order, {**order, 'key': 'b', 'amount': -1}])\n"
        "    assert [row['amount'] for row in sluice.target()] == [2.0]\n"
        "    assert [each['rule'] for each in sluice.letters().groups()[0]['faults']] == ['greater_than']\n"
        "    sluice.check()\n"
    )
    plugins = (
        "no:xdist",
        "no:hypothesispytest",
        "no:valkey",
        "no:anyio",
        "no:playwright",
        "no:cacheprovider",
    )
    off = [word for each in plugins for word in ("-p", each)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", *off, str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_an_installed_sluice_changes_no_other_run_of_pytest(tmp_path: Path) -> None:
    """A folder with a `worker.py` of its own: `python -m` puts it before our package of that name."""
    assert [
        each for each in metadata.entry_points(group="pytest11") if each.value.startswith("producer")
    ] == []

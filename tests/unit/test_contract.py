from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store.errors import ConfigError
from worker.contract import Contract, Event, Record, load_contract
from worker.settings import SourceSettings, WorkerSettings

Module = Callable[[str], str]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    """Writes a module; its name is one that no other test has."""
    monkeypatch.chdir(tmp_path)  # a contract lies beside sluice.toml
    stored, names = list(sys.path), []

    def write(text: str) -> str:
        name = f"made_for_{tmp_path.name.replace('-', '_')}_{len(names)}"
        names.append(name)
        (tmp_path / f"{name}.py").write_text(
            "from datetime import date, datetime\nfrom typing import Optional\n"
            "from pydantic import AliasChoices, BaseModel, Field\nfrom worker.contract import Record\n" + text
        )
        return name

    yield write
    sys.path[:] = stored
    for name in names:
        sys.modules.pop(name, None)


def load(name: str) -> Contract:
    return load_contract(WorkerSettings.load(contract=name))


def test_the_default_contract_is_the_event() -> None:
    found = load_contract(WorkerSettings.load())
    assert found.model is Event
    assert found.required == ("key", "ts", "name", "value")
    assert [(each.name, each.kind) for each in found.columns] == [("name", "text"), ("value", "real")]
    assert found.extra == "keep"


def test_a_record_alone_is_a_contract() -> None:
    assert load("worker.contract:Record").columns == ()
    assert Record.model_fields.keys() == {"key", "ts"}


@pytest.mark.parametrize(
    "name",
    ["", "worker.contract", "worker.contract:", ":Event", "nowhere:Event", "worker.contract:Nothing", ".contract:Event",
     "worker.contract:load_contract", "datetime:datetime", "worker.contract:Event.key", "no such:Event", "a..b:C"],
)  # fmt: skip
def test_a_name_that_leads_to_no_model_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(name)
    assert repr(name) in str(raised.value)


@pytest.mark.parametrize("name", ["worker", "store", "producer", "json"])
def test_a_module_with_the_name_of_an_installed_one_is_an_error_that_names_both_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{name}.py").write_text("class Order: ...\n")
    with pytest.raises(ConfigError, match="has no attribute 'Order'") as raised:
        load(f"{name}:Order")
    installed = importlib.import_module(name).__file__
    assert f"{name!r} is the module {installed}: rename {tmp_path}/{name}.py" in str(raised.value)


def test_a_module_with_the_name_of_an_installed_one_hides_nothing_from_the_others(module: Module) -> None:
    name = module("class M(Record): ...")
    Path("producer.py").write_text("raise SystemExit('this file was imported')")
    load(f"{name}:M")
    assert importlib.import_module("producer.feed").Feed


@pytest.mark.parametrize("text", ["def (", "raise RuntimeError('boom')", "import nowhere_at_all", "1 / 0"])
def test_a_module_that_cannot_be_imported_is_an_error_that_names_it(module: Module, text: str) -> None:
    name = module(text)
    with pytest.raises(ConfigError, match="cannot be imported") as raised:
        load(f"{name}:Model")
    assert name in str(raised.value)


@pytest.mark.parametrize(
    ("model", "reported"),
    [
        ("class M(BaseModel):\n    key: str", "lacks a required ts"),
        ("class M(BaseModel):\n    x: str", "lacks a required key and ts"),
        ("class M(Record):\n    key: str = 'a'", "lacks a required key"),
        ("class M(Record):\n    key: Optional[str] = None", "lacks a required key"),
        ("class M(Record):\n    ts: str", "ts is not a datetime"),
        ("class M(Record):\n    ts: date", "ts is not a datetime"),
        ("class M(Record):\n    source: str", "'source', a column of Sluice's own"),
        ("class M(Record):\n    Extra: str", "'Extra', a column of Sluice's own"),
        ("class M(Record):\n    KEY: str", "'KEY', a column of Sluice's own"),
        ("class M(Record):\n    a: str\n    A: str", "by case alone"),
        (
            "class M(Record):\n    a: str = Field(validation_alias=AliasChoices('b', 'c'))",
            "'a' has several aliases",
        ),
    ],
)
def test_a_model_that_cannot_be_a_contract_is_an_error_that_says_why(
    module: Module, model: str, reported: str
) -> None:
    with pytest.raises(ConfigError, match=reported):
        load(f"{module(model)}:M")


def test_fields_that_may_be_absent_or_null_are_not_required(module: Module) -> None:
    text = "class M(Record):\n    a: int = 1\n    b: Optional[int]\n    c: int\n    d: int = Field(alias='e')"
    assert load(f"{module(text)}:M").required == ("key", "ts", "c", "e")


def test_a_fingerprint_is_the_same_on_every_machine() -> None:
    found = load_contract(WorkerSettings.load()).fingerprint(SourceSettings())
    assert found == load_contract(WorkerSettings.load()).fingerprint(SourceSettings())
    assert len(found) == 16
    assert int(found, 16) >= 0


@pytest.mark.parametrize(
    "changed",
    [{"fields": {"key": "id"}}, {"ts_unit": "ms"}, {"assume_tz": "Europe/Oslo"}, {"extra": "forbid"},
     {"sequence": "version"}, {"records": "rows"}, {"delimiter": ";"}],
)  # fmt: skip
def test_a_fingerprint_changes_with_all_that_could_judge_a_record_otherwise(
    changed: dict[str, object],
) -> None:
    contract = load_contract(WorkerSettings.load())
    assert contract.fingerprint(SourceSettings()) != contract.fingerprint(SourceSettings(**changed))


@pytest.mark.parametrize(
    "changed",
    [{"late": "skip"}, {"allowed_lateness": "1h"}, {"max_age": "1h"}, {"stale": "dead_letter"}, {"priority": 1},
     {"ties": "hash"}],
)  # fmt: skip
def test_a_fingerprint_does_not_change_with_what_decides_nothing_of_what_a_record_says(
    changed: dict[str, object],
) -> None:
    contract = load_contract(WorkerSettings.load())
    assert contract.fingerprint(SourceSettings()) == contract.fingerprint(SourceSettings(**changed))


def test_a_fingerprint_changes_with_the_model(module: Module) -> None:
    found = {
        load(f"{module('class M(Record):' + body)}:M").fingerprint(SourceSettings()).__str__()
        for body in (
            "\n    a: int",
            "\n    a: int = Field(ge=1)",
            "\n    a: int | None = None",
            "\n    b: int",
        )
    }
    assert len(found) == 4

"""`worker sources`, and adapters of every kind, at start and per record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from store.errors import ConfigError
from worker.cli.app import app
from worker.contract import Contract, load_contract
from worker.judge.adapt import Adapter
from worker.judge.faults import Rejection
from worker.settings import SourceSettings, WorkerSettings
from worker.workplace import workplace

from ..plant import Plant, ndjson

run = CliRunner().invoke
ROOT = Path(__file__).parents[3]


@pytest.fixture
def contract() -> Contract:
    return load_contract(WorkerSettings())


def test_constants_win_over_the_record_and_defaults_do_not(contract: Contract) -> None:
    source = SourceSettings(constants={"name": "fixed"}, defaults={"value": 7})
    adapted = Adapter(source, contract).adapt({"key": "k", "name": "own", "value": 3})
    assert adapted == {"key": "k", "name": "fixed", "value": 3}
    assert Adapter(source, contract).adapt({"key": "k", "value": None})["value"] == 7


@pytest.mark.parametrize(
    ("source", "text", "utc"),
    [
        (
            {"ts_format": "%d.%m.%Y %H:%M", "assume_tz": "Europe/Oslo"},
            "15.01.2025 09:02",
            "2025-01-15T08:02:00+00:00",
        ),
        ({"ts_format": "%Y/%m/%d %H:%M:%S %z"}, "2025/01/15 09:02:00 +0200", "2025-01-15T07:02:00+00:00"),
        ({"ts_format": "%Y%m%d"}, "20250115", "2025-01-15T00:00:00+00:00"),
    ],
)
def test_a_time_in_a_format_of_the_sources_own_is_read(
    contract: Contract, source: dict[str, str], text: str, utc: str
) -> None:
    assert Adapter(SourceSettings(**source), contract).read_time(text).isoformat() == utc  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["2025-01-15T08:00:00Z", "", 5, None])
def test_a_time_in_another_format_is_refused(contract: Contract, value: object) -> None:
    with pytest.raises(ValueError, match=r"should be text like %d\.%m"):
        Adapter(SourceSettings(ts_format="%d.%m.%Y"), contract).read_time(value)


FUNCTIONS = """
from datetime import UTC, datetime
from decimal import Decimal

def split(raw):
    key, value = raw["reading"].split("=")
    return {"key": key, "name": "n", "value": float(value), "ts": raw["at"]}

def wrong(raw):
    return [raw]

def gives(raw):
    kind = raw["kind"]
    if kind in RAISES:
        raise RAISES[kind]
    if kind == "loop":
        gives(raw)
    return {"key": kind, "name": "n", "value": 1, "ts": "2025-01-15T08:00:00Z"} | RETURNS.get(kind, {})

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")

CIRCLE = []
CIRCLE.append(CIRCLE)
RAISES = {"exit": SystemExit(3), "mute": Mute(), "surrogate": ValueError("\\ud800 \\0"), "long": ValueError("x" * 9999)}
RETURNS = {
    "decimal": {"value": Decimal("1.5"), "more": Decimal("2.5")},
    "datetime": {"ts": datetime(2025, 1, 15, 9, tzinfo=UTC), "more": datetime(2025, 1, 15, tzinfo=UTC)},
    "tuple": {"more": (1, 2)},
    "set": {"more": {1, 2}},
    "object": {"name": object()},
    "inner": {"more": [{1: 2}]},
    "circle": {"more": CIRCLE},
    "nan": {"value": float("nan")},
    "signalling": {"value": Decimal("sNaN")},
    "vast": {"value": Decimal("1e400")},
    "inf": {"more": [float("inf")]},
    "huge": {"value": 2**70},
    "lone": {"more": "\\ud800"},
}

def same(raw):
    return raw

NOT_CALLABLE = 5
"""


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"adapters_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_a_function_adapts_and_what_it_raises_is_that_records_dead_letter(
    plant: Plant, functions: str
) -> None:
    plant.configure(f'[sources.odd]\nadapter = "{functions}:split"\n')
    at = "2025-01-15T08:00:00Z"
    plant.run(ndjson({"reading": "a=1.5", "at": at}, {"reading": "b=x", "at": at}, {"at": at}), source="odd")
    assert [(row["key"], row["value"]) for row in plant.rows()] == [("a", 1.5)]
    errors = [letter.errors[0] for letter in plant.letters()]
    assert {error["reason"] for error in errors} == {"adapter_failed"}
    reported = sorted(error["message"] for error in errors)
    assert reported == ["KeyError: 'reading'", "ValueError: could not convert string to float: 'x'"]


def test_a_function_that_returns_no_dict_is_reported(contract: Contract, functions: str) -> None:
    with pytest.raises(Rejection) as caught:
        Adapter(SourceSettings(adapter=f"{functions}:wrong"), contract).adapt({})
    assert caught.value.faults[0].message == "the adapter returned no dict of named fields, but list"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        *((kind, "adapter_failed") for kind in ("exit", "loop", "mute", "surrogate", "long")),
        *((kind, "adapter_failed") for kind in ("set", "object", "inner")),
        ("circle", "too_deep"),
        ("nan", "invalid_value"),
        ("signalling", "invalid_value"),
        ("vast", "invalid_value"),
        ("inf", "invalid_more"),
        ("huge", "invalid_value"),
        ("lone", "invalid_more"),
    ],
)
def test_what_a_function_raises_or_returns_costs_no_record_but_its_own(
    plant: Plant, functions: str, kind: str, reason: str
) -> None:
    plant.configure(f'[sources.odd]\nadapter = "{functions}:gives"\n')
    plant.run(ndjson({"kind": "fine"}, {"kind": kind}), source="odd")
    assert plant.reasons() == [reason]
    assert [row["key"] for row in plant.rows()] == ["fine"]
    assert plant.violations() == []
    assert len(plant.letters()[0].errors[0]["message"]) <= 550


@pytest.mark.parametrize(
    ("kind", "value", "ts", "more"),
    [
        ("decimal", 1.5, "2025-01-15T08:00:00.000000Z", 2.5),
        ("datetime", 1.0, "2025-01-15T09:00:00.000000Z", "2025-01-15T00:00:00+00:00"),
        ("tuple", 1.0, "2025-01-15T08:00:00.000000Z", [1, 2]),
    ],
)
def test_a_function_may_return_what_json_has_other_words_for(
    plant: Plant, functions: str, kind: str, value: float, ts: str, more: Any
) -> None:
    plant.configure(f'[sources.odd]\nadapter = "{functions}:gives"\n')
    plant.run(ndjson({"kind": kind}), source="odd")
    (found,) = plant.rows()
    assert (found["value"], found["ts"], json.loads(found["extra"])) == (value, ts, {"more": more})


def test_a_function_hands_on_a_value_that_no_column_holds_as_the_field_s_fault(
    plant: Plant, functions: str
) -> None:
    plant.configure(f'[sources.odd]\nadapter = "{functions}:same"\n')
    plant.run(b'{"key": "a", "name": "n", "value": 1e400, "ts": "2025-01-15"}', source="odd")
    assert plant.reasons() == ["invalid_value"]


@pytest.mark.parametrize("adapter", ["nowhere_at_all:f", "{}:absent", "{}:NOT_CALLABLE", "no_colon"])
def test_an_adapter_that_is_none_is_an_error_at_the_start_and_named(
    plant: Plant, functions: str, adapter: str
) -> None:
    named = adapter.format(functions)
    plant.configure(f'[sources.odd]\nadapter = "{named}"\n')
    with pytest.raises(ConfigError, match=named):
        workplace()


@pytest.mark.parametrize(
    "entry",
    [
        'adapter = "m:f"\nfields.key = "id"',
        'ts_unit = "s"\nts_format = "%Y"',
        "priority = 0",
        'fields.key = "[bad"',
        'late = "never"',
    ],
)
def test_a_bad_entry_is_refused_with_its_source(plant: Plant, entry: str) -> None:
    plant.configure(f"[sources.odd]\n{entry}\n")
    with pytest.raises(ConfigError, match=r"\[sources\.odd\]"):
        WorkerSettings.load()


def test_two_sources_with_one_name_are_refused(plant: Plant) -> None:
    plant.configure("[sources.odd]\n[sources.odd]\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        WorkerSettings.load()


def test_a_mapping_that_finds_nothing_rejects_each_record_for_the_missing_field(plant: Plant) -> None:
    plant.configure('[sources.odd]\nfields.value = "deep.inside"\n')
    plant.run(ndjson({"key": "a", "name": "n", "ts": "2025-01-01T00:00:00Z", "value": 1}), source="odd")
    assert plant.reasons() == ["missing_value"]


def test_sources_are_listed(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_CONFIG", str(ROOT / "sluice.toml"))
    listed = run(app, ["sources", "--json"], catch_exceptions=False)
    assert {"usgs", "alpha", "beta", "gamma"} <= set(json.loads(listed.stdout))


def test_the_earthquakes_split_by_network_are_the_whole_under_twelve_sources(
    plant: Plant, tmp_path: Path
) -> None:
    whole = json.loads((ROOT / "data" / "earthquakes.json").read_text())
    networks: dict[str, list[object]] = {}
    for feature in whole["features"]:
        networks.setdefault(feature["properties"]["net"], []).append(feature)
    entry = (
        'records = "features"\nts_unit = "ms"\nfields.key = "id"\nfields.name = "properties.place"\n'
        'fields.value = "properties.mag"\nfields.ts = "properties.time"\n'
    )
    plant.configure("".join(f"[sources.{network}]\n{entry}\n" for network in networks))
    for network, features in networks.items():
        file = tmp_path / f"{network}.json"
        file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        plant.run(file, source=network)
    held = plant.report()["by_source"]
    assert {name: held[name]["target_rows"] for name in held} == {n: len(f) for n, f in networks.items()}
    assert (len(held), sum(source["target_rows"] for source in held.values())) == (12, 1707)

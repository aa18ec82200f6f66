"""Edits and suggestions for fields within objects, behind a mapping; behind an adapter a note."""

from __future__ import annotations

from typing import Any

import pytest

from ..plant import Plant, ndjson
from ..replaying import Replay
from .conftest import Command
from .test_suggest import only_group

NOON = 1736942400000
USGS = """
[sources.usgs]
ts_unit = "ms"
fields.key = "id"
fields.ts = "properties.time"
fields.name = "properties.place"
fields.value = "properties.mag"
"""


def feature(id: str, **properties: Any) -> dict[str, Any]:
    whole = {"mag": 1.5, "place": "here", "time": NOON} | properties
    return {"id": id, "properties": {name: value for name, value in whole.items() if value is not None}}


def filled(plant: Plant, *records: dict[str, Any]) -> str:
    plant.configure(USGS)
    plant.run(ndjson(*records), source="usgs")
    return only_group(plant)


def test_an_edit_is_suggested_for_a_field_within_an_object_and_does_what_it_says(
    plant: Plant, answer: Command, shown: Command, type_command: Command
) -> None:
    group = filled(plant, feature("a", mag="4,5"), feature("b", mag="12,50"))
    [best] = answer("producer", "suggest", group)["suggestions"]
    assert (best["name"], best["would_load"]) == ("decimal comma", 2)
    assert list(best["sample"]["before"]) == ["properties.mag"]
    assert "properties.mag: " in shown("producer", "suggest", group)
    type_command(plant, best["command"])
    plant.work()
    plant.load()
    assert {each["key"]: each["value"] for each in plant.rows()} == {"a": 4.5, "b": 12.5}
    assert plant.violations() == []


def test_a_field_of_another_name_in_the_same_object_is_renamed(plant: Plant, answer: Command) -> None:
    group = filled(plant, feature("a", mag=None, magnitude=4.5), feature("b", mag=None, magnitude=5.5))
    found = answer("producer", "suggest", group, "--always")
    best = found["suggestions"][0]
    assert (best["would_load"], best["edit"]) == (2, {"rename": {"raw.properties.magnitude": "value"}})
    assert "--rename raw.properties.magnitude=value" in best["command"]
    assert best["always"]["lines"] == ["[sources.usgs]", 'fields.value = "properties.magnitude"']


def test_values_of_the_whole_group_decide_within_objects_too(plant: Plant, answer: Command) -> None:
    group = filled(plant, feature("a", mag="1,234"), feature("b", mag="5,678"))
    found = answer("producer", "suggest", group)
    assert (found["suggestions"], [each["field"] for each in found["ambiguous"]]) == ([], ["value"])


def test_a_field_within_an_object_is_edited_by_its_raw_path(plant: Plant, replay: Replay) -> None:
    filled(plant, feature("a", mag="4,5"))
    sent = replay.json("--field", "value", "--cast", "raw.properties.mag=decimal-comma", "--why", "x")
    assert sent["proof"]["would_load"] == 1
    plant.work()
    plant.load()
    assert [each["value"] for each in plant.rows()] == [4.5]


def test_a_path_that_no_letter_has_is_refused_with_the_nearest(plant: Plant, replay: Replay) -> None:
    filled(plant, feature("a", mag="4,5"))
    refused = replay("--field", "value", "--set", "raw.properties.magg=4.5", "--why", "x")
    assert "did you mean properties.mag?" in str(refused.exception)
    assert [each.status for each in plant.letters(None)] == ["open"]


def test_a_letter_whose_field_has_no_object_around_it_is_refused_in_the_proof(
    plant: Plant, replay: Replay
) -> None:
    filled(plant, feature("a", mag="4,5"))
    plant.run(ndjson({"id": "b", "properties": "none"}), name="b.ndjson", source="usgs")
    found = replay.json("--source", "usgs", "--set", "value=4.5", "--dry-run")
    assert (found["would_load"], found["refused"]) == (1, 1)
    [why] = found["refusals"]
    assert "properties is no object" in why


def test_behind_an_adapter_there_is_a_note(
    plant: Plant, answer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(plant.home))
    (plant.home / "taking.py").write_text(
        "def take(raw):\n"
        "    return {'key': raw['id'], 'ts': '2025-01-15', 'name': 'x', 'value': raw['properties']['mag']}\n"
    )
    plant.configure('[sources.usgs]\nadapter = "taking:take"\n')
    plant.run(ndjson(feature("a", mag="4,5")), source="usgs")
    found = answer("producer", "suggest", only_group(plant))
    assert found["suggestions"] == []
    assert len(found["notes"]) == 1

"""`producer draft` of objects within objects: each value of a record is in a field of the contract, or in `extra`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Drafted

TIME = "2025-01-15T08:00:00Z"


def ndjson(*fields: dict[str, Any]) -> str:
    return "".join(
        json.dumps({"id": f"k{number}", "ts": TIME} | each) + "\n" for number, each in enumerate(fields)
    )


def adapted(drafted: Drafted, file: str) -> list[dict[str, Any]]:
    tried = drafted.attempt(file)
    assert tried["rejected"] == 0, tried["faults"]
    return [{name: as_value(value) for name, value in each["adapted"].items()} for each in tried["shown"]]


def as_value(stored: Any) -> Any:
    """A value of a target column; the target holds objects, and values of several kinds, as JSON."""
    try:
        return json.loads(stored)
    except (TypeError, ValueError):  # it is no JSON
        return stored


@pytest.mark.parametrize("odd", ["hello", "n/a", 5, [1], {}])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_field_that_is_not_always_an_object_is_drafted_whole(
    drafted: Drafted, odd: Any, position: int
) -> None:
    values: list[Any] = [{"temp": 1}, {"temp": 3, "new": {"deep": 5}}]
    values.insert(position, odd)
    file = drafted.file(ndjson(*({"data": each} for each in values)), "shop.ndjson")
    code, found = drafted.draft(file)
    assert (code, [each["name"] for each in found["fields"]]) == (0, ["data"])
    assert [each["data"] for each in adapted(drafted, file)] == values


def test_a_time_within_an_object_that_is_drafted_whole_leaves_the_object_whole(drafted: Drafted) -> None:
    values: list[Any] = [{"at": TIME, "n": 1}, {}, {"at": TIME, "n": 2}]
    lines = [json.dumps({"id": f"k{number}", "data": each}) for number, each in enumerate(values)]
    file = drafted.file("\n".join(lines), "shop.ndjson")
    drafted.draft(file)
    assert [each["data"] for each in adapted(drafted, file)] == values


def test_an_object_of_more_fields_than_are_drafted_is_one_field(drafted: Drafted) -> None:
    many = {f"f{number}": number for number in range(250)}
    file = drafted.file(ndjson({"m": many}, {"m": many}), "shop.ndjson")
    drafted.draft(file)
    assert [each["m"] for each in adapted(drafted, file)] == [many, many]


def test_a_record_of_more_fields_than_are_drafted_leaves_the_others_to_extra(drafted: Drafted) -> None:
    many = {f"f{number}": number for number in range(250)}
    file = drafted.file(ndjson(many), "shop.ndjson")
    _, found = drafted.draft(file)
    assert found["has_more_columns"]
    assert "more fields than these" in drafted.section
    assert adapted(drafted, file)[0]["extra"]["f249"] == 249


def test_the_draft_names_the_objects_of_which_later_fields_would_not_be_stored(drafted: Drafted) -> None:
    file = drafted.file(
        ndjson({"m": {"a": 1}, "plain": 1}, {"m": {"a": 1, "late": 9}, "plain": 1}), "shop.ndjson"
    )
    code, found = drafted.draft(file, "--sample", "1")
    assert (code, found["taken_apart"]) == (0, ["m"])
    [line] = [each for each in drafted.section.splitlines() if "not stored" in each]
    assert 'fields.m = "m"' in line

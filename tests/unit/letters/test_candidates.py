"""Which edits are tried for a faulty field."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from worker.dead_letters.suggest.candidates import Faulty, candidates, nearest


def faulty(**changes: Any) -> Faulty:
    given: dict[str, Any] = {
        "field": "value", "typed": "value", "raw": "value", "kind": "real", "rule": "float_parsing", "shape": "d+,d+",
        "may_be_absent": False, "default": "",
    }  # fmt: skip
    return Faulty(**given | changes)


TIME = {"field": "ts", "typed": "ts", "raw": "ts", "kind": "text", "rule": "time"}
OPTIONAL = {"may_be_absent": True, "default": "null"}


@pytest.mark.parametrize(
    ("changes", "values", "names"),
    [
        ({}, ["12,50"], ["decimal comma"]),
        ({}, ["1,234"], ["decimal comma", "thousands"]),
        ({}, ["EUR 12.50"], ["currency sign", "currency sign, thousands"]),
        ({}, ["12,50 €"], ["currency sign, decimal comma"]),
        ({}, ["n/a"], []),  # the contract requires a value: none is made up
        ({} | OPTIONAL, ["n/a", "-"], ["no value (-, n/a): null"]),
        ({} | OPTIONAL, ["n/a", "pump"], []),
        ({"shape": "empty"} | OPTIONAL, [""], ["empty: null"]),
        ({"shape": "empty"}, [""], []),
        ({"rule": "string_type", "kind": "text"}, [orjson.Fragment("7")], ["number as text"]),
        ({"rule": "literal_error", "kind": "text"}, [" x "], ["trim"]),
        (TIME, ["15.01.2025"], ["time %d.%m.%Y"]),
        (TIME, ["04/05/2025"], ["time %d/%m/%Y", "time %m/%d/%Y"]),
        (TIME, [orjson.Fragment("1736942400")], ["seconds since 1970", "milliseconds since 1970"]),
        (
            {"kind": None, "rule": "", "field": "junk", "typed": "raw.junk", "raw": "junk"},
            ["x"],
            ["drop junk"],
        ),
    ],
)
def test_the_candidates_of_a_field_follow_its_kind_and_its_values(
    changes: dict[str, Any], values: list[Any], names: list[str]
) -> None:
    assert [each.name for each in candidates(faulty(**changes), values, {})] == names


@pytest.mark.parametrize(
    ("free", "renames"), [({"article": 3}, [{"raw.article": "value"}]), ({"article": 3, "colour": 3}, [])]
)
def test_a_missing_field_may_be_the_only_one_that_nothing_uses(
    free: dict[str, int], renames: list[dict[str, str]]
) -> None:
    found = candidates(faulty(shape="absent"), [], free)
    assert [each.edit.rename for each in found] == renames
    assert all("nothing else uses" in each.because for each in found)


def test_a_missing_field_may_have_another_name() -> None:
    found = candidates(faulty(shape="absent"), [], {"Value ": 9, "colour": 9})
    assert [each.edit.rename for each in found] == [{"raw.Value ": "value"}]


@pytest.mark.parametrize(
    ("raw", "free", "names"),
    [
        ("amount", {"Amount": 1}, ["Amount"]),
        ("amount", {"amt": 1, "colour": 1}, ["amt"]),
        ("value", {"order_value": 1}, ["order_value"]),
        ("key", {"colour": 1, "id": 1}, ["id"]),
        ("ts", {"colour": 1, "timestamp": 1}, ["timestamp"]),
        ("value", {"colour": 1, "": 1, "val=ue": 1}, []),
    ],
)
def test_the_nearest_names_are_those_that_are_written_alike(
    raw: str, free: dict[str, int], names: list[str]
) -> None:
    assert nearest(raw, raw, free) == names

"""A contract of one's own: its fields become typed columns of staging and target."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from worker import workplace as workplace_of
from worker.contract import load_contract
from worker.workplace import workplace

from ..plant import Plant, ndjson

HEAD = """
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, Optional
from uuid import UUID
from pydantic import BaseModel, Field, create_model, field_validator
from worker.contract import Record
"""
IDENTITY = {"key": "a", "ts": "2025-01-15T08:00:00Z"}


@pytest.fixture
def contract(plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a module with these fields in place and makes its `Model` the contract."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def use(fields: str, before: str = "", settings: str = "") -> None:
        name = f"contract_{tmp_path.name.encode().hex()[-12:]}_{len(made)}"
        made.append(name)
        body = f"class Model(Record):\n    {fields}\n" if fields else ""
        (tmp_path / f"{name}.py").write_text(f"{HEAD}\n{before}\n{body}")
        plant.configure(f'[worker]\ncontract = "{name}:Model"\n{settings}')

    yield use
    for name in made:
        sys.modules.pop(name, None)


def given(**fields: object) -> bytes:
    return ndjson(IDENTITY | fields)


# the annotation, what lies before it, what is sent, the column, what is kept
TYPES = {
    "str": ("str", "", "x", "TEXT", "x"),
    "int": ("int", "", 7, "BIGINT", 7),
    "int from text": ("int", "", "7", "BIGINT", 7),
    "float": ("float", "", 7, "DOUBLE", 7.0),
    "bool": ("bool", "", True, "BOOLEAN", 1),
    "date": ("date", "", "2025-01-15", "TEXT", "2025-01-15"),
    "datetime": ("datetime", "", "2025-01-15T09:00:00+01:00", "TEXT", "2025-01-15T08:00:00.000000Z"),
    "time": ("time", "", "08:30", "TEXT", "08:30:00"),
    "timedelta": ("timedelta", "", 90, "TEXT", "PT1M30S"),
    "Decimal": ("Decimal", "", "1.50", "DOUBLE", 1.5),
    "UUID": ("UUID", "", "12345678123456781234567812345678", "TEXT", "12345678-1234-5678-1234-567812345678"),
    "Optional": ("Optional[int]", "", 7, "BIGINT", 7),
    "Optional null": ("int | None", "", None, "BIGINT", None),
    "Literal": ('Literal["x", "y"]', "", "x", "TEXT", "x"),
    "Literal numbers": ("Literal[1, 2]", "", 1, "BIGINT", 1),
    "Enum": ("Kind", 'class Kind(Enum):\n    A = "x"', "x", "TEXT", "x"),
    "str Enum": ("Kind", 'class Kind(str, Enum):\n    A = "x"', "x", "TEXT", "x"),
    "IntEnum": ("Kind", "class Kind(IntEnum):\n    A = 3", 3, "BIGINT", 3),
    "list": ("list[int]", "", [2, 1], "TEXT", "[2,1]"),
    "set": ("set[str]", "", ["c", "a", "b", "a"], "TEXT", '["a","b","c"]'),
    "dict": ("dict[str, int]", "", {"b": 1, "a": 2}, "TEXT", '{"a":2,"b":1}'),
    "dict of numbers": ("dict[int, str]", "", {"2": "b", "1": "a"}, "TEXT", '{"1":"a","2":"b"}'),
    "nested": ("Inner", "class Inner(BaseModel):\n    y: Decimal\n    x: int", {"x": 1, "y": "2.0"}, "TEXT",
               '{"x":1,"y":"2.0"}'),
    "union": ("int | str", "", "x", "TEXT", '"x"'),
    "Any": ("Any", "", {"a": [1]}, "TEXT", '{"a":[1]}'),
    "Annotated": ("Annotated[int, Field(ge=1)]", "", 1, "BIGINT", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_a_field_becomes_a_column_of_its_type(plant: Plant, contract: Callable[..., None], name: str) -> None:
    annotation, before, sent, column, stored = TYPES[name]
    contract(f"field: {annotation}", before)
    plant.send(given(field=sent))
    plant.work()
    assert plant.column_types("staging")["field"] == plant.column_types("target")["field"] == column
    assert [each["field"] for each in plant.rows("staging")] == [stored]
    plant.load()
    assert plant.letters() == []
    assert [each["field"] for each in plant.rows()] == [stored]
    assert type(plant.rows()[0]["field"]) is type(stored)
    assert plant.violations() == []


BAD_VALUES = {
    "an int beyond 64 bits, as text": ("int", '"9223372036854775808"'),
    "one within a list": ("list[int]", '["99999999999999999999"]'),
    "true for an int": ("int", "true"),
    "true for an Optional number": ("float | None", "true"),
    "a Literal's other": ('Literal["x"]', '"z"'),
    "NaN in Any": ("Any", "NaN"),
    "1e400 within Any": ("Any", '{"a": [1e400]}'),
    "NaN within a dict": ("dict", '{"a": NaN}'),
    "a NUL within a list": ("list[str]", '["\\u0000"]'),
    "a surrogate within a dict": ("dict", '{"a": "\\ud800"}'),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_value_its_column_cannot_hold_is_a_dead_letter(
    plant: Plant, contract: Callable[..., None], name: str
) -> None:
    annotation, literal = BAD_VALUES[name]
    contract(f"field: {annotation}")
    plant.run(b'{"key":"a","ts":"2025-01-15","field":%s}\n' % literal.encode() + given(key="b", field=None))
    assert "invalid_field" in plant.reasons()
    assert "a" not in [each["key"] for each in plant.rows()]
    assert plant.violations() == []


def test_an_optional_field_may_be_missing(plant: Plant, contract: Callable[..., None]) -> None:
    contract('note: str | None = None\n    size: int = 5\n    tags: list[str] = ["x"]')
    plant.run(given())
    (stored,) = plant.rows()
    assert (stored["note"], stored["size"], stored["tags"]) == (None, 5, '["x"]')


HOSTILE = """
Model = create_model("Model", __base__=Record, **{name: (int, ...) for name in (
    "order", "select", "group", "index", "values", "table", 'quo"te', "semi;colon", "a b", "per%cent",
    "(x)", "colon:name", "?", "outcome", "best", "Ünïcode", "rowid", "excluded", "chunk", "target")})
"""


def test_fields_of_any_name_are_columns(plant: Plant, contract: Callable[..., None]) -> None:
    contract("", HOSTILE)
    names = [name for name in load_contract(plant.settings).kinds if name not in IDENTITY]
    assert len(names) == 20
    plant.run(given(**{name: n for n, name in enumerate(names)}))
    (stored,) = plant.rows()
    assert [stored[name] for name in names] == list(range(20))
    assert plant.violations() == []


def test_a_field_is_read_by_its_alias_and_stored_by_its_name(
    plant: Plant, contract: Callable[..., None]
) -> None:
    contract('order_no: int = Field(alias="order \\"no\\"; DROP TABLE target")')
    plant.run(given(**{'order "no"; DROP TABLE target': 5}) + given(key="b"))
    assert [each["order_no"] for each in plant.rows()] == [5]
    assert plant.reasons() == ["missing_order_no"]


def test_a_key_need_not_be_text(plant: Plant, contract: Callable[..., None]) -> None:
    contract("key: int")
    plant.run(given(key=5) + given(key="6"))
    assert [each["key"] for each in plant.rows()] == ["5", "6"]


# Fields beyond the contract


def test_fields_beyond_the_contract_are_stored_unless_forbidden(
    plant: Plant, contract: Callable[..., None]
) -> None:
    contract("x: int")
    plant.run(given(x=1, more=[1], b="2"))
    assert orjson.loads(plant.rows()[0]["extra"]) == {"more": [1], "b": "2"}


def test_records_that_differ_in_stored_fields_alone_differ(plant: Plant) -> None:
    event = {"name": "n", "value": 1}
    plant.run(given(**event, note="a") + given(**event, note="b") + given(**event, note="b"))
    found = plant.report()
    assert (found["staged"], found["duplicates"], found["superseded"], found["conflicts"]) == (3, 1, 1, 1)


def test_ignored_fields_are_neither_stored_nor_distinguished(
    plant: Plant, contract: Callable[..., None]
) -> None:
    contract("x: int", settings='extra = "ignore"')
    plant.run(given(x=1, note="a") + given(x=1, note="\0"))
    assert plant.rows()[0]["extra"] is None
    assert plant.report()["duplicates"] == 1


@pytest.mark.parametrize(
    ("before", "settings"),
    [
        ("", 'extra = "forbid"'),
        ("", '[sources.default]\nextra = "forbid"'),
        ("class Record(Record):\n    model_config = {'extra': 'forbid'}", ""),
    ],
)
def test_forbidden_fields_are_dead_letters_that_name_them(
    plant: Plant, contract: Callable[..., None], before: str, settings: str
) -> None:
    contract("x: int", before, settings)
    plant.run(given(x=1) + given(key="b", x=1, zeta=1, alpha=2))
    (letter,) = plant.letters()
    assert letter.reason == "unexpected_field"
    assert [each["field"] for each in letter.errors] == ["alpha", "zeta"]
    assert [each["key"] for each in plant.rows()] == ["a"]


# Validators, and changes


def test_a_validator_that_raises_what_it_should_not_is_a_dead_letter(
    plant: Plant, contract: Callable[..., None]
) -> None:
    validator = '@field_validator("x")\n    @classmethod\n    def look_up(cls, x):\n        return {1: 1}[x]'
    contract(f"x: int\n    {validator}")
    plant.run(given(x=1) + given(key="b", x=2))
    (letter,) = plant.letters()
    assert letter.reason == "invalid_record"
    assert "KeyError" in letter.errors[0]["message"]
    assert len(plant.rows()) == 1


def test_a_field_whose_type_changed_stops_the_sources_that_fill_it_alone(
    plant: Plant, contract: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    contract("x: int | None = None")
    plant.run(given(x=1))
    contract("x: str | None = None")
    [waits] = plant.send(given(x="one"), "fills.ndjson", source="fills").ids
    plant.run(given(), "other.ndjson", source="other")

    why = (
        "contract field 'x' is text now, but the table holds it as integer: keep the type, or give the field another "
        "name"
    )
    assert plant.broker.held() == {waits: why}
    assert f"{why}; batches with values in it wait" in caplog.text
    assert [(each["source"], each["x"]) for each in plant.rows()] == [("default", 1), ("other", None)]
    assert plant.report()["input_records"] == 2
    assert plant.violations() == []

    contract("x: int | None = None\n    x_text: str | None = None")  # the second way out
    plant.run(given(x_text="one"), "renamed.ndjson", source="fills")
    assert [each["x_text"] for each in plant.rows()] == [None, "one", None]


@pytest.mark.parametrize("narrow", [("float", "int"), ("str", "int"), ("int", "bool"), ("list[int]", "str")])
def test_a_type_that_cannot_hold_what_was_loaded_is_refused(
    plant: Plant, contract: Callable[..., None], narrow: tuple[str, str]
) -> None:
    before, after = narrow
    contract(f"x: {before} | None = None")
    plant.run(given())
    contract(f"x: {after} | None = None")
    assert list(workplace().columns.refused) == ["x"]


def test_an_integer_that_becomes_a_real_is_adopted_and_what_was_loaded_and_staged_is_the_same(
    plant: Plant, contract: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    contract("x: int")
    plant.run(given(key="loaded", x=2**53) + given(key="replaced", x=1), "one.ndjson")
    plant.send(given(key="staged", x=-3), "two.ndjson")
    plant.work()
    contract("x: float")
    plant.run(given(key="new", x=0.5) + given(key="whole", x=4) + given(key="replaced", x=7), "three.ndjson")

    assert [(each["key"], each["x"]) for each in plant.rows()] == [
        ("loaded", float(2**53)), ("new", 0.5), ("replaced", 7.0), ("staged", -3.0), ("whole", 4.0),
    ]  # fmt: skip
    assert all(type(each["x"]) is float for each in plant.rows())
    assert plant.column_types("target")["x"] == plant.column_types("staging")["x"] == "DOUBLE"
    assert plant.rows("golden", "key") and plant.rows("current", "key")
    assert "the contract's field 'x' is real now, and was integer" in caplog.text
    assert plant.violations() == []
    caplog.clear()
    plant.run(given(key="later", x=0.25), "four.ndjson")
    assert "is real now" not in caplog.text


def test_a_worker_adopts_a_wider_contract_and_still_takes_what_was_sent_for_the_earlier(
    plant: Plant, contract: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    contract("x: int\n    y: str")
    plant.run(given(key="first", x=1, y="a"), "one.ndjson")
    plant.send(given(key="earlier", x=2, y="b"), "two.ndjson")
    plant.send(given(key="too great", x=2**53 + 1, y="b"), "great.ndjson")
    queued = plant.redis.lrange("rq:queue:records", 0, -1)
    plant.redis.delete("rq:queue:records")
    running = workplace()
    contract("x: float\n    y: str | None = None\n    z: str | None = None")
    set_workplace(running)  # the worker of this process goes on
    plant.send(given(key="later", x=0.5), "three.ndjson")
    plant.work()
    assert "is adopted: x is real, and was integer; y is optional now; z is new and optional" in caplog.text
    plant.redis.rpush("rq:queue:records", *queued)
    plant.work()
    plant.load()

    assert [(each["key"], each["x"]) for each in plant.rows()] == [
        ("earlier", 2.0),
        ("first", 1.0),
        ("later", 0.5),
    ]
    [why] = plant.broker.held().values()
    assert "whose field 'x' is integer, but the table holds it as real" in why
    assert plant.violations() == []


def set_workplace(to: workplace_of.Workplace) -> None:
    workplace_of._workplace = to


def test_a_field_added_later_is_null_in_the_rows_before(plant: Plant, contract: Callable[..., None]) -> None:
    contract("x: int")
    plant.send(given(key="loaded", x=1), "one.ndjson")
    plant.work()
    plant.load()
    plant.send(given(key="staged", x=2), "two.ndjson")
    plant.work()
    contract("x: int\n    y: str")
    plant.run(given(key="new", x=3, y="z"), "three.ndjson")
    assert [(each["key"], each["x"], each["y"]) for each in plant.rows()] == [
        ("loaded", 1, None),
        ("new", 3, "z"),
        ("staged", 2, None),
    ]
    assert plant.violations() == []


def test_a_field_that_was_taken_out_leaves_its_column_as_it_was(
    plant: Plant, contract: Callable[..., None]
) -> None:
    contract("x: int\n    y: str")
    plant.run(given(x=1, y="z"))
    contract("x: int")
    plant.run(given(key="b", x=2), "two.ndjson")
    assert [(each["x"], each["y"]) for each in plant.rows()] == [(1, "z"), (2, None)]


def test_a_changed_contract_makes_new_ids_so_the_same_file_is_judged_again(
    plant: Plant, contract: Callable[..., None]
) -> None:
    contract("x: int")
    path = plant.file(given(x=5) + given(key="b", x=50))
    first = plant.run(path)
    contract("x: Annotated[int, Field(le=10)]")
    second = plant.run(path)
    assert set(first.ids).isdisjoint(second.ids)
    assert plant.reasons() == ["invalid_x"]
    assert plant.report()["duplicates"] == 1
    assert [each["key"] for each in plant.rows()] == ["a", "b"]  # what was loaded stays
    assert plant.violations() == []

"""A contract of one's own: its fields become typed columns of staging and target."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import orjson
import pytest

from worker.contract import load_contract

from ..plant import Plant
from .given import IDENTITY, given

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
# Where it has types of its own.
ON_POSTGRESQL = {
    "bool": ("BOOLEAN", True),
    "float": ("DOUBLE PRECISION", TYPES["float"][4]),
    "Decimal": ("NUMERIC", Decimal("1.5")),
}


def test_a_field_becomes_a_column_of_its_type(
    plant: Plant, plant_backend: str, contract: Callable[..., None]
) -> None:
    fields = {f"field_{number}": name for number, name in enumerate(TYPES)}

    def own(text: str, field: str) -> str:
        return text.replace("Kind", f"Kind_of_{field}")  # three classes have this name

    contract(
        "\n    ".join(f"{field}: {own(TYPES[name][0], field)}" for field, name in fields.items()),
        "\n".join(own(TYPES[name][1], field) for field, name in fields.items()),
    )
    plant.send(given(**{field: TYPES[name][2] for field, name in fields.items()}))
    plant.work()
    assert plant.letters() == []
    (staged,) = plant.rows("staging")
    in_staging, in_target = plant.column_types("staging"), plant.column_types("target")
    plant.load()
    (loaded,) = plant.rows()
    for field, name in fields.items():
        column, stored = TYPES[name][3:]
        if plant_backend == "postgresql":
            column, stored = ON_POSTGRESQL.get(name, (column, stored))
        assert in_staging[field] == in_target[field] == column, name
        assert staged[field] == loaded[field] == stored, name
        assert type(loaded[field]) is type(stored), name
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

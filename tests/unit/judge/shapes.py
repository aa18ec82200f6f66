"""Contracts of all kinds, and records for them: mostly good ones, with one thing or another that is odd."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any, Literal
from uuid import UUID

from hypothesis import strategies as st
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from store.csv_reader import Dialect
from store.tables.deliveries import Delivery
from worker.contract import Event, Record
from worker.queue.message import Message, RawRecord


class Reading(Record):
    """Every plain kind, with constraints, and what may be null."""

    name: str = Field(min_length=1, max_length=8)
    count: int = Field(ge=0)
    value: float
    ok: bool
    note: str | None


class Loose(Reading):
    model_config = ConfigDict(allow_inf_nan=True, coerce_numbers_to_str=True, str_strip_whitespace=True)


class Strict(Reading):
    model_config = ConfigDict(strict=True, extra="forbid")


class WithDefault(Event):
    unit: str = "mm"
    tags: list[str] = ["a"]  # noqa: RUF012 - pydantic copies it


class Validated(Event):
    """What a validator of one field may do."""

    @field_validator("value")
    @classmethod
    def positive(cls, value: float) -> float:
        if value < 0:
            raise ValueError("negative")
        return value

    @field_validator("name", mode="before")
    @classmethod
    def named(cls, value: Any) -> Any:
        if value == "pump":
            return "p\0"
        if value == " a":
            raise KeyError(value)  # no ValueError, as pydantic expects
        return value


class Crossed(Event):
    @model_validator(mode="after")
    def key_is_not_name(self) -> Crossed:
        if self.key == self.name:
            raise ValueError("the same")
        return self


class Dependent(Event):
    @field_validator("value")
    @classmethod
    def longer_than_key(cls, value: float, info: ValidationInfo) -> float:
        if len(info.data.get("key", "")) > value:
            raise ValueError("less than the key is long")
        return value


class Posted(Event):
    def model_post_init(self, _: Any) -> None:
        self.name = self.name.upper()


class Made(Event):
    tags: list[str] = Field(default_factory=list)


class Aliased(Event):
    value: float = Field(alias="val")


class NumberedKey(Event):
    key: int  # type: ignore[assignment]


class ByMinute(Event):
    ts: AwareDatetime

    @field_validator("ts")
    @classmethod
    def whole_minute(cls, value: datetime) -> datetime:
        return value.replace(second=0)


class Either(Event):
    value: int | float | bool | str  # type: ignore[assignment]
    note: Literal["a", 1] | None = None


class Status(StrEnum):
    OPEN = "open"
    PAID = "paid"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Line(BaseModel):
    name: str
    amount: Decimal | None = None


class Order(Record):
    """What people have: exact amounts, enumerations, dates, structures, constraints, a validator."""

    amount: Decimal
    price: Decimal | None = Field(default=None, ge=0, max_digits=9, decimal_places=2)
    status: Status
    level: Level | None = None
    day: date
    at: datetime | None = None
    uid: UUID | None = None
    lines: list[Line] = []  # noqa: RUF012 - pydantic copies it
    details: dict[str, Any] | None = None

    @field_validator("status", mode="before")
    @classmethod
    def lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


class CheckedOrder(Order):
    @model_validator(mode="after")
    def paid_is_not_nothing(self) -> CheckedOrder:
        if self.status is Status.PAID and not self.amount:
            raise ValueError("nothing was paid")
        return self


MODELS: list[type[Record]] = [
    Event, Reading, Loose, Strict, WithDefault, Validated, Crossed, Dependent, Posted, Made, Aliased, NumberedKey,
    ByMinute, Either, Order, CheckedOrder,
]  # fmt: skip

numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from([0, -0.0, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 1e30, 1e18, 2**53 + 1]),
)
texts = st.one_of(
    st.text(max_size=9),
    st.sampled_from(
        ["", " ", "\t", "a", "true", '":', '" :', "\0", "\ud800", "é", "💧", "12", "1e400", "nan", "a\nb", '","', '",']
    ),
)  # fmt: skip
times = st.one_of(
    st.sampled_from(
        ["2025-01-15T08:00:00Z", "2025-01-15T08:00:00.5Z", "2025-01-15T24:00:00Z", "2025-02-30T08:00:00Z",
         "2025-W03-3T08:00:00Z", "2025-01-15T08:00:0aZ", "2025-01-15T08:00,00Z", "2025-01-15t08:00:00z",
         "2025-01-15 08:00:00Z", "2025-01-15T13:00:01Z", "2025-01-15T08:00:00+01:00", "2025-01-15", "x" * 20,
         "2025-01-15T08:00:00.123456789Z", "2025-01-15T08:00:00,1234567+01:00", "2025-01-15T08:00:00+00:00",
         "2025-01-15T0\u0661:00:00Z", "2025-01-15T08:00:60Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
         "2024-02-29T08:00:00Z", "2025-02-29T08:00:00Z", "2025-04-31T08:00:00Z", "0000-01-01T00:00:00Z",
         "2025-01-15 08:00:00", "2025-01-15T08:00:00,2025-01-15T08:00:00Z", "1736942400", "15.01.2025 08:00"]
    ),
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda moment: moment.isoformat()[:19] + "Z"),
    st.datetimes(datetime(2024, 1, 1), datetime(2025, 1, 1)).map(datetime.isoformat),
    texts, numbers, st.none(), st.lists(st.just("2"), min_size=20, max_size=20),
)  # fmt: skip
anything = st.recursive(
    st.one_of(numbers, texts, st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=4,
)
decimals = st.one_of(
    st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6).map(lambda value: round(value, 2)),
    st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str),
    st.sampled_from(
        ["10.10", "1e2", "-0.00", "0.1000000000000000055511151231257827", "1E-400", "NaN", "1_0", "१२"]
    ),
)


def mostly(good: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Good ones by far: a record with two things wrong tells nothing of either."""
    return st.integers(0, 11).flatmap(lambda roll: odd if roll == 0 else good)


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "key": mostly(st.sampled_from(["k1", "k2", "a b", '":', "12"]), st.one_of(texts, anything)),
    "ts": mostly(st.just("2025-01-15T08:00:00Z"), times),
    "name": mostly(st.sampled_from(["pump", "é", " a", "k1", "valve"]), st.one_of(texts, anything)),
    "count": mostly(st.integers(0, 9), st.one_of(numbers, anything)),
    "value": mostly(st.floats(0, 9), st.one_of(numbers, anything)),
    "val": mostly(st.floats(0, 9), st.one_of(numbers, anything)),
    "ok": mostly(st.booleans(), anything),
    "note": mostly(st.none(), texts),
    "unit": mostly(st.just("cm"), anything),
    "tags": mostly(st.lists(st.just("b"), max_size=2), anything),
    "amount": mostly(decimals, anything),
    "price": mostly(st.integers(0, 999), decimals),
    "status": mostly(st.sampled_from(["open", "PAID"]), anything),
    "level": mostly(st.sampled_from([1, 2, "1"]), anything),
    "day": mostly(st.dates().map(str), st.one_of(times, anything)),
    "at": mostly(st.just("2025-01-15T08:00:00+01:00"), times),
    "uid": mostly(st.uuids().map(str), texts),
    "lines": mostly(
        st.lists(st.fixed_dictionaries({"name": st.just("n"), "amount": decimals}), max_size=2), anything
    ),
    "details": mostly(st.dictionaries(texts, anything, max_size=2), anything),
    "version": mostly(st.integers(0, 9), anything),
}
ALWAYS = ("key", "ts", "name", "value", "val", "amount", "status", "day", "count", "ok", "note", "version")


# Strategies that are drawn from a draw stand here, where they are made and validated once, and not for each record.
ONE_IN_4, ONE_IN_7, ONE_IN_10, ONE_IN_12, ONE_IN_50 = (st.integers(0, last) for last in (3, 6, 9, 11, 49))
YES_OR_NO = st.booleans()
MORE_FIELDS = st.dictionaries(st.one_of(texts, st.sampled_from(["extra", "unit"])), anything, max_size=2)
SEPARATORS = st.sampled_from(
    [(",", ":"), (",", ":"), (", ", ": "), (" , ", " : "), (",\t", "\t:"), (",", "\r:")]
)
COLONS = st.sampled_from([":", " :", "\t:", "\n:", "  :", "\t :", "\r \n:"])
OTHERWISE = st.sampled_from(["1", "null", json.dumps("x")])
QUOTING = st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])


@st.composite
def fields_of(draw: st.DrawFn, names: Sequence[str]) -> dict[str, Any]:
    """A record: mostly all that must be there, and half of what may be."""
    return {name: draw(FIELDS[name]) for name in names if draw(ONE_IN_50 if name in ALWAYS else YES_OR_NO)}


@st.composite
def written(draw: st.DrawFn, fields: dict[str, Any]) -> str:
    """An object in one of the ways people write JSON."""
    if draw(ONE_IN_4) == 0:
        fields = fields | draw(MORE_FIELDS)
    separators = draw(SEPARATORS)
    text = json.dumps(fields, ensure_ascii=draw(YES_OR_NO), separators=separators)
    if draw(ONE_IN_10) == 0:  # as some write what they put into a page
        text = text.replace("a", "\\u0061").replace('\\"', "\\u0022")
    if draw(ONE_IN_10) == 0:  # a number with more digits than a float has
        text = text.replace(": 1", ":1").replace(":1", ":1.00000000000000000001", 1)
    if draw(ONE_IN_7) == 0 and fields:  # a field that stands twice, the second time written otherwise
        name = json.dumps(draw(st.sampled_from(sorted(fields))))
        text = f"{text[:-1]},{name}{draw(COLONS)}{draw(OTHERWISE)}}}"
    return text


BROKEN = ["", "{", "[]", "null", "1", '"a"', "[1,", "{}", '{"key"}', "\ud800", '{"a":[{}', "{}]}", "{},{}",
          '{"a":' * 70 + "1" + "}" * 70, '{"a":' + "[" * 70 + "]" * 70 + "}"]  # fmt: skip


@functools.cache
def lines(names: tuple[str, ...]) -> st.SearchStrategy[str]:
    """A line of a file of JSON."""
    return mostly(fields_of(names).flatmap(written), st.sampled_from(BROKEN))


def cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


@functools.cache
def odd_rows(columns: int) -> st.SearchStrategy[str]:
    return st.sampled_from(["", ",", '"', '"a', 'b"', "a,b", '"a"b', "a\rb", "\0", "\ud800," * columns])


@st.composite
def rows(draw: st.DrawFn, names: Sequence[str]) -> str:
    """A row of a file of CSV."""
    if draw(ONE_IN_12) == 0:
        return draw(odd_rows(len(names)))
    fields = draw(fields_of(names))
    out = io.StringIO()
    csv.writer(out, quoting=draw(QUOTING)).writerow([cell(fields.get(name)) for name in names])
    return out.getvalue()[:-2]


def nested(fields: dict[str, Any]) -> dict[str, Any]:
    """The same record as another system has it."""
    raw = {"id": fields.get("key"), "data": {"label": fields.get("name"), "values": [fields.get("value")]}}
    raw["data"]["value"] = fields.get("value")
    rest = {name: value for name, value in fields.items() if name not in ("key", "name", "value")}
    return {name: value for name, value in raw.items() if value is not None} | rest


@functools.cache
def mapped_lines(names: tuple[str, ...]) -> st.SearchStrategy[str]:
    """A line of a file whose records are not as the contract has them."""
    return mostly(fields_of(names).map(nested).flatmap(written), st.sampled_from(BROKEN))


MAPPING = {"key": "id", "name": "data.label", "value": "data.value"}
DELIVERY = Delivery("d1", "file", "s", "f", None, "x")
NOW = datetime(2025, 1, 15, 12, tzinfo=UTC)
SKEW = timedelta(hours=1)


def message(records: list[RawRecord], header: list[str] | None = None) -> Message:
    """A batch of JSON, or of CSV under a header."""
    format: Literal["csv", "json"] = "csv" if header is not None else "json"
    numbers = range(1, len(records) + 1)
    return Message(
        "ab", "file", DELIVERY, 0, "s", "f", format, header, Dialect(), records, numbers, "x", [], 1
    )

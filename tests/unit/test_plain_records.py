"""The quick way accepts what the careful way accepts, to the same effect, and leaves the rest to it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ConfigDict, Field, field_validator, model_validator

from store.tables.deliveries import Delivery
from worker import contract as contracts
from worker.contract import Contract, Event, Record
from worker.judge.fast_path import PlainRecords
from worker.judge.stages import Judge, Judged, judge_batch, judge_for
from worker.queue.message import Message, Opaque, RawRecord
from worker.settings import SourceSettings

NOW = datetime(2025, 1, 15, 12, tzinfo=UTC)


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


class Validated(Event):
    @field_validator("value")
    @classmethod
    def positive(cls, value: float) -> float:
        if value < 0:
            raise ValueError("negative")
        return value


class Crossed(Event):
    @model_validator(mode="after")
    def key_is_not_name(self) -> Crossed:
        if self.key == self.name:
            raise ValueError("the same")
        return self


class Aliased(Event):
    value: float = Field(alias="val")


class NumberedKey(Event):
    key: int  # type: ignore[assignment]


class Listed(Event):
    tags: list[str]


MODELS = [Event, Reading, Loose, Strict, WithDefault, Validated, Crossed, Aliased, NumberedKey, Listed]
PLAIN = [Event, Reading, Loose, Strict]


DELIVERY = Delivery("d1", "file", "s", "f", None, "x")


def contract_of(model: type[Record]) -> Contract:
    contracts._load.cache_clear()
    return contracts._load(f"{__name__}:{model.__name__}", None)


@pytest.fixture(scope="module", autouse=True)
def importable() -> Any:
    """The contracts of this file, by name."""
    original = contracts._import
    models = {f"{__name__}:{model.__name__}": model for model in MODELS}
    contracts._import = lambda name: models[name]
    yield
    contracts._import = original
    contracts._load.cache_clear()


def judges(model: type[Record], **source: Any) -> tuple[Judge, Judge]:
    """One that may take the quick way, and one that may not."""
    quick = judge_for(contract_of(model), SourceSettings(**source), timedelta(hours=1))
    return quick, replace(quick, plain=None)


def message(records: list[RawRecord]) -> Message:
    lines = range(1, len(records) + 1)
    return Message("ab", "file", DELIVERY, 0, "s", "f", "json", None, ",", records, lines, "x", [], 1)


def outcome(judge: Judge, records: list[RawRecord]) -> Judged:
    judged = judge_batch(message(records), judge, None, NOW)
    judged.seconds = dict.fromkeys(judged.seconds, 0.0)
    return judged


@pytest.mark.parametrize("model", MODELS)
def test_a_contract_goes_the_quick_way_if_it_is_one_of_plain_fields(model: type[Record]) -> None:
    assert (judges(model)[0].plain is not None) == (model in PLAIN)


def test_a_source_with_a_mapping_goes_the_careful_way() -> None:
    assert judges(Event, fields={"value": "data.value"})[0].plain is None
    assert judges(Event, constants={"name": "n"})[0].plain is None


numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from([0, -0.0, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 1e30, 1e18, 2**53 + 1]),
)
texts = st.one_of(
    st.text(max_size=9),
    st.sampled_from(
        ["", " ", "\t", "a", "true", '":', '" :', "\0", "\ud800", "é", "💧", "12", "1e400", "nan"]
    ),
)
times = st.one_of(
    st.sampled_from(
        ["2025-01-15T08:00:00Z", "2025-01-15T08:00:00.5Z", "2025-01-15T24:00:00Z", "2025-02-30T08:00:00Z",
         "2025-W03-3T08:00:00Z", "2025-01-15T08:00:0aZ", "2025-01-15T08:00,00Z", "2025-01-15t08:00:00z",
         "2025-01-15 08:00:00Z", "2025-01-15T13:00:01Z", "2025-01-15T08:00:00+01:00", "2025-01-15", "x" * 20,
         "2025-01-15T08:00:00.123456789Z", "2025-01-15T08:00:00,1234567+01:00",
         "2025-01-15T0\u0661:00:00Z", "2025-01-15T08:00:60Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
    ),
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda moment: moment.isoformat()[:19] + "Z"),
    texts, numbers, st.none(), st.lists(st.just("2"), min_size=20, max_size=20),
)  # fmt: skip
anything = st.recursive(
    st.one_of(numbers, texts, st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=4,
)


def mostly(good: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Good ones by far: a record with two things wrong tells nothing of either."""
    return st.integers(0, 11).flatmap(lambda roll: odd if roll == 0 else good)


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "key": mostly(st.sampled_from(["k1", "k2", "a b", '":']), st.one_of(texts, anything)),
    "ts": mostly(st.just("2025-01-15T08:00:00Z"), times),
    "name": mostly(st.sampled_from(["pump", "é", " a"]), st.one_of(texts, anything)),
    "count": mostly(st.integers(0, 9), st.one_of(numbers, anything)),
    "value": mostly(st.floats(0, 9), st.one_of(numbers, anything)),
    "ok": mostly(st.booleans(), anything),
    "note": mostly(st.none(), texts),
}


@st.composite
def lines(draw: st.DrawFn) -> str:
    """A line of a file: mostly an object with most fields, written in one of the ways people write JSON."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.sampled_from(["", "{", "[]", "null", "1", '"a"', "[1,", "{}", '{"key"}', "\ud800"]))
    fields = {name: draw(each) for name, each in FIELDS.items() if draw(st.integers(0, 49))}
    if draw(st.integers(0, 3)) == 0:
        fields |= draw(
            st.dictionaries(st.one_of(texts, st.sampled_from(["extra", "unit"])), anything, max_size=2)
        )
    separators = draw(
        st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : "), (",\t", "\t:"), (",", "\r:")])
    )
    text = json.dumps(fields, ensure_ascii=draw(st.booleans()), separators=separators)
    if (
        draw(st.integers(0, 4)) == 0 and fields
    ):  # a field that stands twice, the second time written otherwise
        name = json.dumps(draw(st.sampled_from(sorted(fields))))
        colon = draw(st.sampled_from([":", " :", "\t:", "\n:"]))
        text = f"{text[:-1]},{name}{colon}{draw(st.sampled_from(['1', 'null', json.dumps('x')]))}}}"
    return text


@settings(max_examples=80)
@given(records=st.lists(lines(), min_size=1, max_size=8))
@example(records=['{"key":"a","name":"n","value":1,"ts":"2025-01-15T08:00:00Z","key" :"b"}'])
@example(records=['{"key":"a\\":","name":"n","value":1,"ts":"2025-01-15T08:00:00Z","key" :"b"}'])
@example(records=['{"key":"a","name":"n","value":1,"ts":"2025-01-15T08:00:00Z","key":"b"}'])
@example(records=['{"key":"a","name":"n","value":1e30,"ts":"2025-01-15T08:00:00Z"}'])
@example(records=['{"key":"a","name":"n","value":1000000000000000000000000,"ts":"2025-01-15T08:00:00Z"}'])
@example(records=['{"key":"a\\u0000","name":"n","value":1,"ts":"2025-01-15T08:00:00Z"}'])
@example(records=['{"key":"a","name":"n","value":1,"ts":"2025-01-15T24:00:00Z"}'])
@example(records=['{"key":"a","name":"n","value":1,"ts":"2025-01-15T13:00:01Z"}'])
@example(records=['{"key":"a","name":"n","value":true,"ts":"2025-01-15T08:00:00Z"}'])
@example(records=['{"key":"a","name":"n","value":1,"ts":"2025-01-15T08:00:00Z","x":100000000000000000000}'])
@example(records=['{"key":"a","name":"n","value":1,"ts":"2025-01-15T08:00:00Z","x":null,"y":[1e400]}'])
@pytest.mark.parametrize("model", PLAIN)
def test_both_ways_come_to_the_same(model: type[Record], records: list[RawRecord]) -> None:
    quick, careful = judges(model)
    assert outcome(quick, records) == outcome(careful, records)


@pytest.mark.parametrize(
    "source",
    [{"ts_unit": "ms"}, {"ts_unit": "ns"}, {"ts_format": "%Y-%m-%dT%H:%M:%SZ"}, {"assume_tz": "reject"},
     {"extra": "forbid"}, {"extra": "ignore"}, {"assume_tz": "Europe/Vienna"}],
)  # fmt: skip
@settings(max_examples=25)
@given(records=st.lists(lines(), min_size=1, max_size=8))
def test_both_ways_come_to_the_same_whatever_the_source_says_of_its_times(
    source: dict[str, Any], records: list[RawRecord]
) -> None:
    quick, careful = judges(Event, **source)
    assert outcome(quick, records) == outcome(careful, records)


def test_plain_records_are_all_taken_and_what_is_odd_is_left() -> None:
    plain = judges(Event)[0].plain
    assert isinstance(plain, PlainRecords)
    good = [
        {"key": f"k{n}", "name": "é", "value": n / 7, "ts": "2025-01-15T08:00:00Z", "x": n} for n in range(9)
    ]
    texts: list[RawRecord] = [orjson.dumps(each).decode() for each in good]
    accepted, rest = plain.judge([*texts, "{", Opaque(b"\xff", 1, None), *texts], "9999")
    assert [position for position, _ in accepted] == [*range(9), *range(11, 20)]
    assert rest == [9, 10]
    assert accepted[0][1].extra == '{"x":0}'

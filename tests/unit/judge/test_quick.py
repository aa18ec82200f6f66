"""The quick way accepts what the careful way accepts, to the same effect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from store.csv_reader import Dialect
from worker.contract import Event, Record
from worker.judge.stages import judge_batch
from worker.queue.message import RawRecord

from ...examples import examples
from . import shapes
from .pairs import EVENT, GOOD, ORDER, assert_alike, contract_of, importable, judges, names_of  # noqa: F401
from .shapes import (
    MAPPING,
    MODELS,
    NOW,
    Order,
    Reading,
    lines,
    mapped_lines,
    message,
    rows,
)  # fmt: skip

PLAIN = [
    '{"key":"a","name":"n","value":1,"ts":"2025-01-15T08:00:00Z","key" :"b"}',
    '{"key"  :"a","name":"n","value":1,"ts":"2025-01-15T08:00:00Z","key":"b"}',
    '{"key":"a","name":"n","value":1,"ts":"2025-01-15T08:00:00Z","key"\t :"b"}',
    '{"key":"a\\":","name":"n","value":1,"ts":"2025-01-15T08:00:00Z","key" :"b"}',
    '{"key":"a","name":"n","value":1,"ts":"2025-01-15T08:00:00Z","key":"b"}',
    '{"key":"a\\u0000","name":"n","value":1,"ts":"2025-01-15T08:00:00Z"}',
    '{"key":"a","name":"n","value":1,"ts":"2025-01-15T24:00:00Z"}',
    '{"key":"a","name":"n","value":1,"ts":"2025-01-15T13:00:01Z"}',
    '{"key":"a","name":"n","value":1,"ts":"2025-01-15T08:00:00Z","x":100000000000000000000}',
    '{"key":"a","name":"n","value":1,"ts":"2025-01-15T08:00:00Z","x":null,"y":[1e400]}',
    '{"key":"a","name":"n","value":1,"ts":"2025-01-15T08:00:00Z","x":{"y":1,"y":2,"z":"\\u0022:"}}',
    '{"key":"a","name":"n","value":1,"ts":"2025-01-15T08:00:00Z","x":{"y":1,"y":2,"z":"\\"\\u003a"}}',
    '{"key":"a","name":"\\",","value":1,"ts":"2025-01-15T08:00:00Z"}',
    '{"key":"\\",\\"","name":",","value":1,"ts":"2025-01-15T08:00:00Z"}',
    GOOD % "1e30", GOOD % "1000000000000000000000000", GOOD % "true", GOOD % '"inf"', GOOD % "[]", GOOD % "1e-400",
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=examples(25))
@given(data=st.data())
def test_both_ways_come_to_the_same_on_json(model: type[Record], data: st.DataObject) -> None:
    records: list[RawRecord] = data.draw(st.lists(lines(names_of(model)), min_size=1, max_size=8))
    assert_alike(judges(model), records)


@pytest.mark.parametrize("record", PLAIN)
@pytest.mark.parametrize("model", [Event, Order])
def test_both_ways_come_to_the_same_on_each_oddity_among_good_records(
    model: type[Record], record: str
) -> None:
    good = [GOOD % "1", GOOD % "2.5"]
    assert_alike(judges(model), [good[0], record, good[1]])
    assert_alike(judges(model), [record, *good, record])


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=examples(15))
@given(data=st.data())
def test_both_ways_come_to_the_same_on_csv(model: type[Record], data: st.DataObject) -> None:
    more = data.draw(st.lists(st.sampled_from(["note", "unit", "version", "key"]), max_size=1))
    header = data.draw(st.permutations([*names_of(model), *more]))
    records: list[RawRecord] = data.draw(st.lists(rows(header), min_size=1, max_size=8))
    assert_alike(judges(model), records, header)


# A row's text under any dialect, and headers that name a column twice, or not at all.
ODD_CELLS = st.sampled_from(
    ["a", "", " ", ' "b"', "'c'", '"d;1"', "1.5", " 2 ", "2025-01-15T08:00:00Z", ' "x\ny"', "\\", 'e\\"f', '"g',
     "5\\\n6"]
)  # fmt: skip
ODD_HEADERS = st.lists(st.sampled_from([*EVENT, "", "note"]), min_size=4, max_size=7)


@settings(max_examples=150)
@given(
    dialect=st.builds(
        Dialect, st.sampled_from(";,\t"), st.sampled_from("\"'"), st.none() | st.just("\\"), st.booleans()
    ),
    header=ODD_HEADERS | st.just([*EVENT, ""]) | st.just(["", *EVENT, ""]),
    cells=st.lists(st.lists(ODD_CELLS, min_size=3, max_size=8), min_size=1, max_size=6),
    good=st.booleans(),
)
def test_both_ways_read_the_same_cells_under_any_dialect_and_header(
    dialect: Dialect, header: list[str], cells: list[list[str]], good: bool
) -> None:
    values = {"key": "a", "name": "n", "value": "1", "ts": "2025-01-15T08:00:00Z"}
    rows = [[values.get(name, "") for name in header] + [""] * number for number in range(3)] if good else []
    texts: list[RawRecord] = [dialect.delimiter.join(row) for row in [*rows, *cells]]
    sent = replace(message(texts, header), dialect=dialect)
    quickly, carefully = (judge_batch(sent, judge, None, NOW) for judge in judges(Event))
    quickly.seconds = carefully.seconds = {}
    assert repr(quickly) == repr(carefully)


@pytest.mark.parametrize(
    "source",
    [
        {"fields": MAPPING},
        {"fields": MAPPING, "extra": "ignore"},
        {"fields": MAPPING, "extra": "forbid"},
        {"fields": MAPPING | {"value": "data.values[0]", "depth": "count", "both": "[id, data.value]"}},
        {"fields": {"key": "id", "name": "join('-', [data.label, id])", "value": "to_number(data.value)"}},
        {"fields": {"key": "to_string(id)", "name": "data.label", "value": "sum(data.values)"}},
        {
            "fields": MAPPING,
            "constants": {"name": "fixed", "origin": 7},
            "defaults": {"value": 5, "count": 1},
        },
        {"constants": {"value": 3.5}, "defaults": {"name": "unnamed"}},
        {"fields": {"note": "data.label"}, "sequence": "version"},
        {"fields": MAPPING, "sequence": "data.values[0]"},
        {"fields": MAPPING, "deleted": "ok"},
        {"deleted": "data.value > `0`", "sequence": "version", "extra": "forbid"},
        {"adapter": "made:up"},
    ],
)
@settings(max_examples=examples(15))
@given(data=st.data())
def test_both_ways_come_to_the_same_on_mapped_records(source: dict[str, Any], data: st.DataObject) -> None:
    model = data.draw(st.sampled_from([Event, Reading]))
    names = (*names_of(model), "count", "note", "version")
    records: list[RawRecord] = data.draw(
        st.lists(st.one_of(mapped_lines(names), lines(names)), min_size=1, max_size=8)
    )
    assert_alike(judges(model, **source), records)
    header = data.draw(st.permutations(["id", "data", "version", *EVENT]))
    table: list[RawRecord] = data.draw(st.lists(rows_of_any(header), min_size=1, max_size=4))
    assert_alike(judges(model, **source), table, header)


def rows_of_any(header: list[str]) -> st.SearchStrategy[str]:
    known = ["key" if name in ("id", "data") else name for name in header]
    return rows(known)


@pytest.mark.parametrize("model", [Order, shapes.CheckedOrder])
@settings(max_examples=examples(15))
@given(data=st.data())
def test_both_ways_come_to_the_same_on_mapped_decimals(model: type[Record], data: st.DataObject) -> None:
    fields = {"key": "id", "amount": "data.value", "details": "data", "price": "count || price"}
    names = (*names_of(model), "count", "value")
    records: list[RawRecord] = data.draw(st.lists(mapped_lines(names), min_size=1, max_size=8))
    assert_alike(judges(model, fields=fields), records)


@pytest.mark.parametrize(
    "amount",
    ["10.10", "0.1000000000000000055511151231257827", "12345678901234567.89", "1e-400", "-1E-0400", "0.0", "-0.0",
     "1e15", "1.5e300", "123456789012345", "12345678901234567890", " 12345678901234567.89", "-12345678901234567.89",
     "\n\t12345678901234567.89", '"12345678901234567.89"', "1e400", "0.00000000000000000"],
)  # fmt: skip
@pytest.mark.parametrize("model", [Order, shapes.CheckedOrder])
def test_decimals_have_the_digits_of_their_text_on_both_ways(model: type[Record], amount: str) -> None:
    record = ORDER % amount
    nested = record[:-1] + f',"details":{{"a":[{amount}]}},"lines":[{{"name":"n","amount":{amount}}}]}}'
    assert_alike(judges(model), [record, ORDER % "1", nested])
    assert_alike(judges(model, adapter="made:exact"), [record, ORDER % "1", nested])
    in_list = record[:-1] + f',"more":[[1,{amount}],{amount}]}}'
    assert_alike(judges(model), [in_list])


@pytest.mark.parametrize(
    "source",
    [{"ts_unit": "s"}, {"ts_unit": "ms"}, {"ts_unit": "us"}, {"ts_unit": "ns"}, {"ts_format": "%d.%m.%Y %H:%M"},
     {"assume_tz": "reject"}, {"assume_tz": "Europe/Vienna"}, {"sequence": "version"},
     {"sequence": "version", "extra": "forbid"}, {"extra": "forbid"}, {"extra": "ignore"},
     {"deleted": "version"}, {"deleted": "name"}],
)  # fmt: skip
@settings(max_examples=examples(15))
@given(data=st.data())
def test_both_ways_come_to_the_same_whatever_the_source_says(
    source: dict[str, Any], data: st.DataObject
) -> None:
    names = (*EVENT, *(["version"] if "sequence" in source else []))
    records: list[RawRecord] = data.draw(st.lists(lines(names), min_size=1, max_size=8))
    assert_alike(judges(Event, **source), records)
    table: list[RawRecord] = data.draw(st.lists(rows(names), min_size=1, max_size=8))
    assert_alike(judges(Event, **source), table, list(names))


@settings(max_examples=examples(60))
@given(
    times=st.lists(st.one_of(shapes.times, st.integers(-(10**18), 10**19)), min_size=1, max_size=3),
    source=st.sampled_from([{}, {"ts_unit": "ms"}, {"ts_unit": "ns"}, {"assume_tz": "reject"}]),
)
@example(times=["2025-01-15T08:00:00Z", "2025-01-15T08:00:00Z,2025-01-15T08:00:00Z"], source={})
@example(times=["2025-01-15T08:00:00", "2025-01-15 08:00:00"], source={})
@example(times=["2025-01-15T08:00:00", "2025-01-15 08:00:00"], source={"assume_tz": "reject"})
@example(times=["2025-01-15T08:00:00.123Z", "2025-01-15T08:00:00.123+00:00"], source={})
@example(times=["2024-02-29T08:00:00Z"], source={})
def test_both_ways_read_the_same_times(times: list[Any], source: dict[str, Any]) -> None:
    records: list[RawRecord] = [
        orjson.dumps({"key": "a", "name": "n", "value": 1, "ts": ts}, default=str).decode()
        for ts in times
        if not (isinstance(ts, str) and "\ud800" in ts)
        and not (isinstance(ts, int) and not -(2**63) <= ts < 2**64)
    ]
    assert_alike(judges(Event, **source), records)


@pytest.mark.parametrize("quickly", [True, False])
@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ('"2025-01-15T09:00:00+01:00"', '"2025-01-15T08:00:00Z"', True),
        ('"2025-01-15T08:00:00"', '"2025-01-15T08:00:00Z"', False),  # the column holds them apart
        ('"2025-01-15T08:00:00.000"', '"2025-01-15T08:00:00"', True),
    ],
)
def test_times_that_a_column_holds_alike_are_one_content(
    one: str, other: str, alike: bool, quickly: bool
) -> None:
    records: list[RawRecord] = [ORDER[:-1] % 1 + f',"at":{at}}}' for at in (one, other)]
    held = judge_batch(message(records), judges(Order)[0 if quickly else 1], None, NOW).valid
    column = held.values[[each.name for each in contract_of(Order).columns].index("at")]
    assert (column[0] == column[1], held.contents[0] == held.contents[1]) == (alike, alike)


@pytest.mark.parametrize("quickly", [True, False])
def test_minus_zero_is_zero(quickly: bool) -> None:
    records: list[RawRecord] = [GOOD % "-0.0", GOOD % "0", GOOD % "0.0"]
    held = judge_batch(message(records), judges(Event)[0 if quickly else 1], None, NOW).valid
    assert list(map(str, held.values[1])) == ["0.0"] * 3
    assert held.contents[0] == held.contents[1] == held.contents[2]

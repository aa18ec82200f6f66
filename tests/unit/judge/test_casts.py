"""Casts of a mapping: exact, the same on both ways, and the same as those of a replay."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from store.csv_reader import Dialect
from store.dead_letters.edits import CASTS, Edit, json_body
from store.errors import ConfigError, UsageError
from worker.contract import Event
from worker.judge.adapt import Adapter
from worker.judge.notation import Notation, caster
from worker.judge.parse import Numbers, Unusable, parse_json
from worker.judge.stages import judge_batch, judge_for
from worker.queue.message import RawRecord
from worker.settings import SourceSettings

from ...examples import examples
from .pairs import EVENT, ORDER, assert_alike, contract_of, importable, judges, outcome  # noqa: F401
from .shapes import NOW, SKEW, NumberedKey, Order, Reading, message

NO_NUMBER = Unusable(
    "should be a number with a decimal point, which the cast divide:100 of its source divides"
)
NO_COMMA = Unusable(
    "should be a number with a decimal comma, as the cast of its source reads it: this has a point"
)
HOWS = (*CASTS, "divide:100", "time:%d.%m.%Y", "time:%Y%m%d")
TEXTS = st.one_of(
    st.from_regex(r"[+-]?[0-9]{1,3}([., '][0-9]{3}){0,3}([.,][0-9]{1,4})?", fullmatch=True),
    st.from_regex(r" ?(EUR )?[0-9]{1,20}([.,][0-9]{1,20})?([eE][+-]?[0-9]{1,3})?( €)? ?", fullmatch=True),
    st.sampled_from(
        [
            "15.01.2025",
            "20250115",
            "1736928000",
            "1736928000000",
            *("1999", "1999,5", "1.999", "1e301", "1e-310", "1.50", "1.500", "EUR 1.50", "1e3"),
            *("1122025", "01122025", "20250115120000", "1\u0665.01.2025", "99999999999999"),
            *("9.007.199.254.740.993,00", "900719925474099350", "9223372036854775808"),
            "",
            " ",
            " a ",
            "n/a",
            "\uff11",
            "-0",
            "+.5",
        ]
    ),
    st.text(max_size=6),
)
VALUES = st.one_of(
    TEXTS,
    st.integers(-(10**25), 10**25),
    st.integers(0, 4 * 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([True, None, [], {"a": 1}, 12345678901234567.89, 0.1, -0.0, 1e300, 1e301, 1e-310]),
)
FIELDS = {Event: "value", Order: "amount", Reading: "count"}


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("model", [Event, Order, Reading])
@settings(max_examples=examples(4))
@given(data=st.data())
def test_both_ways_come_to_the_same_under_a_cast(model: type[Any], how: str, data: st.DataObject) -> None:
    names = [data.draw(st.sampled_from([FIELDS[model], "ts", "key"])), FIELDS[model]]
    base = {"key": "a", "name": "n", "status": "open", "day": "2025-01-15", "ts": "2025-01-15T08:00:00Z"}
    base |= {"value": "1", "ok": "true", "note": "a"} if model is Reading else {}
    pair = judges(model, casts=dict.fromkeys(names, how))
    records: list[RawRecord] = []
    for _ in range(data.draw(st.integers(1, 5))):
        record = base | {FIELDS[model]: 1} | {name: data.draw(VALUES) for name in names}
        records.append(orjson.dumps(_with_digits(record)).decode())
    assert_alike(pair, records)
    header = [*base, FIELDS[model]]
    cells = data.draw(st.lists(st.tuples(*(TEXTS for _ in names)), min_size=1, max_size=4))
    rows: list[RawRecord] = []
    for row in cells:
        found = base | {FIELDS[model]: "1"} | dict(zip(names, row, strict=True))
        rows.append(",".join('"' + found[name].replace('"', '""').replace("\0", "") + '"' for name in header))
    assert_alike(pair, rows, header)


def _with_digits(record: dict[str, Any]) -> dict[str, Any]:
    """Integers beyond 64 bits as orjson can write them."""
    return {
        name: orjson.Fragment(str(value)) if type(value) is int else value for name, value in record.items()
    }


@pytest.mark.parametrize("how", HOWS)
@settings(max_examples=examples(8))
@given(value=st.one_of(TEXTS, st.integers(-(10**25), 10**25)))
@example(value="1.234.567,89")
@example(value="12345678901234567,89")
def test_a_mapping_reads_a_value_as_the_edit_of_a_replay_does(how: str, value: str | int) -> None:
    payload = orjson.dumps(_with_digits({"value": value})).decode()
    exactly = Numbers(decimals=True, integers=True)
    try:
        edited = Edit(cast={"value": how}).apply(json_body(payload)).decode()
    except UnicodeEncodeError:
        return
    raw = parse_json(payload, exactly)
    found = caster(how, decimals=True)(raw["value"])
    if type(found) is Unusable:  # the edit leaves it, and letters with it are open after the replay
        found = raw["value"]
    assert found == parse_json(edited, exactly)["value"]


@pytest.mark.parametrize(
    ("how", "value", "read"),
    [
        ("decimal-comma", "1.234,50", 1234.5),
        ("decimal-comma", "12345678901234567,89", Decimal("12345678901234567.89")),
        ("thousands", "1,234.5", 1234.5),
        ("currency-comma", "1.234,50 €", 1234.5),
        ("divide:100", 1999, 19.99),
        ("divide:100", "12345678901234567890", Decimal("123456789012345678.90")),
        ("divide:1000", Decimal("0.1234567890123456789"), Decimal("0.0001234567890123456789")),
        ("divide:100", "much", NO_NUMBER),
        ("divide:100", "1.999,5", NO_NUMBER),
        ("divide:100", "1e301", NO_NUMBER),
        ("divide:100", 1e301, NO_NUMBER),
        ("divide:100", 1e-310, NO_NUMBER),
        ("divide:100", " ", " "),
        ("decimal-comma", "1.50", NO_COMMA),
        ("currency-comma", " 1.50 ", NO_COMMA),
        ("decimal-comma", "1.500", 1500),
        ("decimal-comma", "1e3", "1e3"),
        ("decimal-comma", "n/a", "n/a"),
        ("thousands", "1,50", "1,50"),
        ("time:%d.%m.%Y", "15.01.2025", "2025-01-15T00:00:00"),
        ("epoch-ms", 1736928000500, "2025-01-15T08:00:00.500000+00:00"),
        ("text", 7, "7"),
        ("text", 1.5, 1.5),
        ("trim", " a ", "a"),
        ("decimal-comma", 1.5, 1.5),
        ("decimal-comma", True, True),
    ],
)
def test_a_cast_loses_no_digit_and_leaves_what_has_no_second_meaning(how: str, value: Any, read: Any) -> None:
    found = caster(how, decimals=True)(value)
    assert (found, type(found)) == (read, type(read))


def test_a_cast_is_of_one_field_and_the_others_stay_in_their_notation() -> None:
    _, carefully = judges(Event, casts={"value": "decimal-comma"}, fields={"value": "betrag"})
    record = '{"key":"1.234","name":"1,5","betrag":"1.234,5","ts":"2025-01-15"}'
    judged = judge_batch(message([record]), carefully, None, NOW)
    (valid,) = judged.valid
    assert (valid.record.key, valid.record.values) == ("1.234", ("1,5", 1234.5))


def test_a_tombstones_key_and_time_are_cast_too() -> None:
    pair = judges(Event, casts={"ts": "time:%d.%m.%Y", "key": "text"}, deleted="gone")
    records: list[RawRecord] = ['{"key":7,"ts":"15.01.2025","gone":true}']
    assert_alike(pair, records)
    (valid,) = judge_batch(message(records), pair[0], None, NOW).valid
    assert (valid.record.key, valid.record.ts, valid.record.deleted) == (
        "7",
        "2025-01-15T00:00:00.000000Z",
        True,
    )


def test_the_fingerprint_covers_the_casts() -> None:
    contract = contract_of(Event)
    prints = {
        contract.fingerprint(SourceSettings(casts=casts))
        for casts in ({}, {"value": "thousands"}, {"value": "decimal-comma"}, {"name": "decimal-comma"})
    }
    assert len(prints) == 4


def test_without_casts_nothing_is_read_again() -> None:
    assert Adapter(SourceSettings(), contract_of(Event)).changes_records is False


@pytest.mark.parametrize(
    "source",
    [
        {"casts": {"value": "comma"}},
        {"casts": {"value": "divide:7"}},
        {"casts": {"value": "divide:1"}},
        {"casts": {"ts": "time:%d.%m"}},
        {"casts": {"ts": "time:%Q"}},
        {"casts": {"ts": "epoch"}, "ts_unit": "s"},
        {"casts": {"ts": "time:%d.%m.%Y"}, "ts_format": "%Y"},
        {"casts": {"value": "trim"}, "adapter": "made:up"},
        {"casts": {"value": "divide:100"}, "decimal": ","},
        {"casts": {"value": "divide:100"}, "thousands": ","},
    ],
)
def test_a_cast_that_there_is_not_or_that_contradicts_is_refused(source: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SourceSettings(**source)


def test_a_cast_of_a_field_that_the_contract_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="no such field"):
        Adapter(SourceSettings(casts={"amount": "trim"}), contract_of(Event))


def test_a_replay_divides_too_and_refuses_other_divisors() -> None:
    edit = Edit(cast={"value": "divide:100"})
    assert edit.apply(json_body('{"value": 1999}')) == b'{"value":19.99}'
    with pytest.raises(UsageError, match="power of ten"):
        Edit(cast={"value": "divide:3"}).check()


def test_a_batch_says_the_same_whichever_way_its_records_took() -> None:
    pair = judges(Event, casts={"value": "decimal-comma"})
    good = '{"key":"a","name":"n","value":"%s","ts":"2025-01-15T08:00:00Z"}'
    records: list[RawRecord] = [good % each for each in ("1,5", "1.234,5", "x", "1.5")]
    assert outcome(pair[0], records) == outcome(pair[1], records)
    judged = judge_batch(message(records), pair[0], None, NOW)
    assert (len(judged.valid), len(judged.bad)) == (2, 2)  # 1.5 among decimal commas may be 15
    assert set(EVENT) <= set(contract_of(Event).inputs)


@pytest.mark.parametrize("key", [10**19 + 10, 9 * 10**18 + 70, -(10**19) - 10])
def test_a_number_beyond_64_bits_is_divided_exactly_on_both_ways(key: int) -> None:
    pair = judges(NumberedKey, casts={"key": "divide:100"})
    records: list[RawRecord] = [f'{{"key":{key * 10},"name":"n","value":1,"ts":"2025-01-15"}}']
    assert_alike(pair, records)
    (valid,) = judge_batch(message(records), pair[0], None, NOW).valid
    assert valid.record.key == str(key // 10)


@pytest.mark.parametrize(
    ("how", "cells", "accepted"),
    [
        ("divide:100", ["1999", "1999,5", "1.999", "1e301"], [19.99]),
        ("decimal-comma", ["1,50", "1.50", "1.500"], [1.5, 1500.0]),
        ("number", ["1.5", "1,5", "1.500,5", "2"], [1.5, 2.0]),
        ("thousands", ["1,500", "1,5"], [1500.0]),
    ],
)
def test_the_notation_of_the_file_does_not_read_what_the_cast_of_a_field_did_not(
    how: str, cells: list[str], accepted: list[float]
) -> None:
    source, notation = SourceSettings(casts={"value": how}), Notation(",", ".")
    quickly = judge_for(contract_of(Event), source, SKEW, notation)
    header = ["key", "name", "value", "ts"]
    rows: list[RawRecord] = [f'k{row},n,"{cell}",2025-01-15' for row, cell in enumerate(cells)]
    written = replace(message(rows, header), dialect=Dialect(decimal=",", thousands="."))
    judged = [judge_batch(written, each, None, NOW) for each in (quickly, replace(quickly, quick=None))]
    for each in judged:
        each.seconds = {}
        assert [one.record.values[1] for one in each.valid] == accepted
    assert repr(judged[0]) == repr(judged[1])


def test_one_column_does_not_get_two_meanings() -> None:
    pair = judges(Event, casts={"value": "currency-comma"})
    rows: list[RawRecord] = [f'k{row},n,"{cell}",2025-01-15' for row, cell in enumerate(("1.50", "1.500"))]
    header = ["key", "name", "value", "ts"]
    assert_alike(pair, rows, header)
    judged = judge_batch(message(rows, header), pair[0], None, NOW)
    assert [each.record.values[1] for each in judged.valid] == [1500.0]
    assert [(each.faults[0].field, each.faults[0].rule) for each in judged.bad] == [("value", "number")]


@pytest.mark.parametrize("how", ["time:%d%m%Y", "epoch"])
@pytest.mark.parametrize(
    "value", ['"20250115120000"', "20250115120000", '"1122025.5"', "1e300", '"99999999999999"']
)
def test_digits_that_are_no_time_under_a_cast_are_not_seconds_to_the_contract(how: str, value: str) -> None:
    pair = judges(Order, casts={"at": how})
    records: list[RawRecord] = [ORDER[:-1] % 1 + f',"at":{value}}}']
    assert_alike(pair, records)
    judged = judge_batch(message(records), pair[0], None, NOW)
    if how == "epoch" and value == '"1122025.5"':
        assert len(judged.valid) == 1
    else:
        assert [each.faults[0].field for each in judged.bad] == ["at"]


@pytest.mark.parametrize("source", [{"ts_format": "%d%m%Y"}, {"casts": {"ts": "time:%d%m%Y"}}])
def test_a_date_of_digits_that_has_lost_its_zero_is_rejected(source: dict[str, Any]) -> None:
    pair = judges(Event, **source)
    good = '{"key":"a","name":"n","value":1,"ts":"%s"}'
    records: list[RawRecord] = [good % "1122024", good % "01122024"]
    assert_alike(pair, records)
    judged = judge_batch(message(records), pair[0], None, NOW)
    assert [each.record.ts for each in judged.valid] == ["2024-12-01T00:00:00.000000Z"]


@pytest.mark.parametrize(
    ("how", "value", "count"),
    [
        ("decimal-comma", '"9.007.199.254.740.993,00"', 9007199254740993),
        ("decimal-comma", '"9.223.372.036.854.775.807,0"', 2**63 - 1),
        ("divide:100", "900719925474099300", 9007199254740993),
        ("divide:100", "900719925474099350", None),
        ("divide:100", "9223372036854775808", None),
        ("divide:100", '"922337203685477580700"', 2**63 - 1),
        ("divide:100", '"922337203685477580800"', None),
        ("divide:100", "700", 7),
    ],
)
def test_an_integer_is_cast_exactly_or_rejected_without_a_decimal_in_the_contract(
    how: str, value: str, count: int | None
) -> None:
    assert not contract_of(Reading).has_decimals
    pair = judges(Reading, casts={"count": how})
    base = '{"key":"a","name":"n","count":%s,"value":1,"ok":true,"note":null,"ts":"2025-01-15T08:00:00Z"}'
    records: list[RawRecord] = [base % value]
    assert_alike(pair, records)
    judged = judge_batch(message(records), pair[0], None, NOW)
    assert [each.record.values[1] for each in judged.valid] == ([] if count is None else [count])
    assert [each.faults[0].field for each in judged.bad] == (["count"] if count is None else [])

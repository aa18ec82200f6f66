"""Numbers and times in text: JSON's and CSV's ways to write them, and nothing of Python's."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ConfigDict, field_validator, model_validator

from worker.contract import Event, Record
from worker.judge.adapt import getter
from worker.judge.columns import ROUNDED, plain_digits
from worker.judge.faults import Rejection
from worker.judge.stages import ALL_ON, judge_batch
from worker.queue.message import RawRecord

from .pairs import EVENT, GOOD, ORDER, importable, judges  # noqa: F401
from .shapes import NOW, NumberedKey, Order, message

NUMBERS = ["1", "-0", "+5", "007", ".5", "5.", "1e3", "-1.5E-3", " 1.5 ", "\t2\r", "1" * 18, "1e30"]
ODD_NUMBERS = [
    "1_000",
    "1_0.5",
    "\u0661\u0662\u0663",
    "\uff11\uff12",
    "inf",
    "-Infinity",
    "nan",
    "\u00a05",
    "1\u2009",
]
NO_NUMBERS = ["0x10", "1,000", "1 000", "12%", "(12)", "12-", "--1", "1e", ".", "e", "\u22125", "$12", "true"]


def verdicts(
    model: type[Record], *values: str, template: str = GOOD, quoted: bool = True, **source: Any
) -> list[list[str]]:
    """On both ways: the messages of each record's first fault; empty where it is accepted."""
    records: list[RawRecord] = [template % (f'"{value}"' if quoted else value) for value in values]
    found = []
    for judge in judges(model, **source):
        judged = judge_batch(message(records), judge, None, NOW)
        bad = {each.position: each.faults[0].message for each in judged.bad}
        found.append([bad.get(position, "") for position in range(len(records))])
    return found


@pytest.mark.parametrize("model", [Event, Order])
def test_both_ways_take_the_numbers_of_json_and_csv_and_nothing_of_pythons(model: type[Record]) -> None:
    template = ORDER if model is Order else GOOD
    given = [each.replace("\t", "\\t").replace("\r", "\\r") for each in [*NUMBERS, *ODD_NUMBERS, *NO_NUMBERS]]
    quickly, carefully = verdicts(model, *given, template=template)
    assert quickly == carefully
    assert quickly[: len(NUMBERS)] == [""] * len(NUMBERS)
    odd = quickly[len(NUMBERS) : len(NUMBERS) + len(ODD_NUMBERS)]
    assert all("number" in each for each in odd)
    assert odd[0] == "should be a number as JSON and CSV write it, such as -12.5 or 1e3"
    assert all("valid" in each for each in quickly[-len(NO_NUMBERS) :])


LONG = ["9223372036854775808", "-9223372036854775809", " +009223372036854775808 ", "1" * 30, "9" * 300]
FITTING = [
    "9223372036854775807",
    "-9223372036854775808",
    "+0000009223372036854775807",
    "1" * 30 + ".0",
    "1e30",
]


@pytest.mark.parametrize("quotes", ['"', ""])
def test_an_integer_beyond_64_bits_is_no_number_as_text_or_as_a_number(quotes: str) -> None:
    """Into a column of floats too: what JSON and CSV say of a record is the same."""
    for number in LONG:
        if quotes or number.strip() == number:
            each = verdicts(Event, f"{quotes}{number}{quotes}", quoted=False)
            assert each == [["the integer does not fit into 64 bits"]] * 2
    for number in FITTING:
        if quotes or "+" not in number:
            assert verdicts(Event, f"{quotes}{number}{quotes}", quoted=False) == [[""]] * 2


@pytest.mark.parametrize("quotes", ['"', ""])
@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775809", "1" * 30])
def test_a_decimal_takes_integers_of_any_length_as_text_and_as_a_number(quotes: str, number: str) -> None:
    given = [ORDER % f"{quotes}{number}{quotes}"]
    texts = [judge_batch(message(given), judge, None, NOW).valid.values[:2] for judge in judges(Order)]
    assert texts == [[[float(number)], [number]]] * 2


@pytest.mark.parametrize("number", ODD_NUMBERS)
def test_no_part_of_a_record_takes_pythons_numbers(number: str) -> None:
    keyed = '{"key":%s,"name":"n","value":1,"ts":"2025-01-15T08:00:00Z"}'
    epoch = '{"key":"a","name":"n","value":1,"ts":%s}'
    versioned = '{"key":"a","name":"n","value":1,"ts":"2025-01-15T08:00:00Z","v":%s}'
    assert all(all(each) for each in verdicts(NumberedKey, number, template=keyed))
    for unit in ("s", "ns"):
        assert all(all(each) for each in verdicts(Event, number, template=epoch, ts_unit=unit))
    assert all(all(each) for each in verdicts(Event, number, template=versioned, sequence="v"))
    with pytest.raises(Rejection):
        getter("to_number(v) || `0`", "value")({"v": number})
    off = {**ALL_ON, "validate": 0.0}
    judged = judge_batch(message([GOOD % f'"{number}"']), judges(Event)[0], None, NOW, off)
    assert [bad.faults[0].message for bad in judged.bad] == ["should be a number"]


def test_an_expression_reads_other_texts_as_before() -> None:
    get = getter("to_number(v) || `7`", "value")
    assert [get({"v": each}) for each in ("5", "n/a", 3, None)] == [5, 7, 3, 7]


class Grouped(Event):
    @field_validator("value", mode="before")
    @classmethod
    def without_groups(cls, value: Any) -> Any:
        return value.replace("_", "") if isinstance(value, str) else value


class GroupedWhole(Event):
    @model_validator(mode="before")
    @classmethod
    def without_groups(cls, fields: dict[str, Any]) -> dict[str, Any]:
        return fields | {"value": str(fields.get("value")).replace("_", "")}


@pytest.mark.parametrize("model", [Grouped, GroupedWhole])
def test_a_contract_may_read_its_own_numbers(model: type[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.contract._import", lambda name: model)
    assert verdicts(model, "1_000", "5") == [["", ""], ["", ""]]


def test_blanks_around_a_time_change_nothing_on_both_ways() -> None:
    template = '{"key":"a","name":"n","value":1,"ts":%s}'
    times = [" 2025-01-15T08:00:00Z", "2025-01-15T08:00:00 ", "\\t2025-01-15 08:00:00Z", "2025-01-15\\r\\n"]
    assert verdicts(Event, *times, template=template) == [[""] * 4] * 2
    assert verdicts(Event, " 15.01.2025 ", template=template, ts_format="%d.%m.%Y") == [[""]] * 2
    assert verdicts(Event, " 1736942400\\n", template=template, ts_unit="s") == [[""]] * 2


@pytest.mark.parametrize(
    ("time", "source", "why"),
    [
        ("2025-01-15T08:00:60Z", {}, "has 60 seconds, as a leap second does"),
        ("2025-12-31 23:59:60", {}, "has 60 seconds, as a leap second does"),
        ("15.01.2025 08:00:60", {"ts_format": "%d.%m.%Y %H:%M:%S"}, "has 60 seconds, as a leap second does"),
        ("2025-02-30T08:00:00Z", {}, "names a day that does not exist"),
        ("2025-13-01", {}, "names a day that does not exist"),
        ("30.02.2025", {"ts_format": "%d.%m.%Y"}, "names a day that does not exist"),
        ("2025-01-15T24:00:01Z", {}, "names a time of day that does not exist"),
        ("2025-01-15T08:60:00Z", {}, "names a time of day that does not exist"),
        ("2025-01-15T08:00:00 Zulu", {}, "should be ISO 8601, like 2025-01-15T12:00:00Z"),
        ("2025-1-5", {}, "should be ISO 8601, like 2025-01-15T12:00:00Z"),
        ("15.01.25", {"ts_format": "%d.%m.%Y"}, "should be text like %d.%m.%Y"),
        ("\u0661\u0665.01.2025", {"ts_format": "%d.%m.%Y"}, "should be text like %d.%m.%Y"),
        ("2025-0\u0661-15", {}, "should be ISO 8601, like 2025-01-15T12:00:00Z"),
    ],
)
def test_the_message_says_what_is_wrong_with_a_time(time: str, source: dict[str, Any], why: str) -> None:
    template = '{"key":"a","name":"n","value":1,"ts":%s}'
    for found in verdicts(Event, time, template=template, **source):
        assert found[0].startswith(why)


@pytest.mark.parametrize(
    ("one", "other"),
    [("1e-999999999", "10E-1000000000"), ("-1.50e999999999", "-15e999999998"), ("0e-999999999", "-0.0")],
)
def test_digits_of_a_number_with_a_huge_exponent_are_as_short_as_its_text(one: str, other: str) -> None:
    assert plain_digits(Decimal(one)) == plain_digits(Decimal(other))
    assert len(plain_digits(Decimal(one))) < 20
    record = ORDER % one
    nested = record[:-1] + f',"lines":[{{"name":"n","amount":{one}}}]}}'
    for judge in judges(Order):
        judged = judge_batch(message([record, nested]), judge, None, NOW)
        assert len(judged.valid) + len(judged.bad) == 2


class Priced(Record):
    prices: list[Decimal] = []  # noqa: RUF012 - pydantic copies it
    either: Decimal | str = ""


def test_decimals_within_lists_and_unions_keep_their_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.contract._import", lambda name: Priced)
    text = '{"key":"a","ts":"2025-01-15","prices":[%s,1.5],"either":%s}'
    for number in ("0.1000000000000000000001", "1" * 30):
        for judge in judges(Priced):
            valid = judge_batch(message([text % (number, number)]), judge, None, NOW).valid
            assert valid.values == [[f'["{number}","1.5"]'], [f'"{number}"']]


class Counted(Event):
    value: int  # type: ignore[assignment]


@pytest.mark.parametrize("sign", ["", "-"])
def test_an_integer_field_takes_no_float_of_which_two_integers_may_have_been_made(
    sign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """9007199254740993.0 is 9007199254740992.0 to every parser of JSON, and so would be another record's number."""
    given = [
        f"{sign}{each}" for each in ("9007199254740991.0", "9007199254740993.0", "1e17", "9007199254740993")
    ]
    assert verdicts(Event, *given, quoted=False) == [[""] * 4] * 2  # as a float it is what every parser reads
    monkeypatch.setattr("worker.contract._import", lambda name: Counted)
    quickly, carefully = verdicts(Counted, *given, quoted=False)
    assert quickly == carefully
    assert quickly == ["", ROUNDED, ROUNDED, ""]
    assert verdicts(Counted, *given[:2]) == [["", ""]] * 2  # as text it is read to the last digit


@pytest.mark.parametrize(
    "number", ["9007199254740993.0", "-9007199254740993.0", "1e17", "[9007199254740993.0]"]
)
def test_an_expression_makes_no_text_of_a_float_of_which_two_integers_may_have_been_made(number: str) -> None:
    """Two ids would become one key, and a record a duplicate of another."""
    mapping: Any = {"fields": {"key": "to_string(id)", "name": "name", "value": "value", "ts": "ts"}}
    template = '{"id":%s,"name":"n","value":1,"ts":"2025-01-15T08:00:00Z"}'
    quickly, carefully = verdicts(Event, number, template=template, quoted=False, **mapping)
    assert quickly == carefully == [ROUNDED]
    taken = ["9007199254740993", "12.5", "[1.5]"]
    assert verdicts(Event, *taken, template=template, quoted=False, **mapping) == [[""] * 3] * 2


class Coerced(Event):
    model_config = ConfigDict(coerce_numbers_to_str=True)


def test_a_contract_that_makes_texts_of_numbers_makes_none_of_such_a_float(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.contract._import", lambda name: Coerced)
    template = '{"key":%s,"name":"n","value":1,"ts":"2025-01-15T08:00:00Z"}'
    given = ["9007199254740993.0", "9007199254740993", "12.5"]
    assert verdicts(Coerced, *given, template=template, quoted=False) == [[ROUNDED, "", ""]] * 2

"""A value as a cell of a spreadsheet, and a cell as a value."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.dead_letters.transfer.cells import (
    change_of,
    change_of_value,
    is_same,
    marked,
    number_of,
    text_of,
    unmarked,
)
from store.errors import InputError
from tests.examples import examples

SPECIAL = "=+-@\t\r\n'\"; ,|a017.E\0\x85\uff1d\u00fc"
TEXTS = st.text(SPECIAL + "\ud800", max_size=10) | st.text(max_size=6)
WIDE = "\uff1d"  # an equals sign in full width
FORMULAS = [
    "=1+1", "+1+1", "-1+x", "@SUM(A1)", "\t=1", "\r=1", "\n=1", ";=1", 'a;"=1', " =1", f"{WIDE}1", "'=1", "''",
]  # fmt: skip


@given(TEXTS)
@settings(max_examples=examples(100))
def test_an_apostrophe_comes_off_where_it_was_put_on(text: str) -> None:
    assert unmarked(marked(text)) == text


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_would_run_is_defused(text: str) -> None:
    for part in marked(text).replace('"', "").split(";"):
        assert not part.startswith(tuple(f"=+-@\t\r\n {WIDE}"))
    assert "'" in marked(text)


@pytest.mark.parametrize("text", ["-5", "+1.5", "1,-2", "a=b", "x-y", "Smith, -x", "2025-01-15", "1E+5", ""])
def test_what_is_harmless_stays_as_it_is(text: str) -> None:
    assert marked(text) == text


@pytest.mark.parametrize("text", ["007", "1234567890123456", "1E5", "0e12345", "-007"])
def test_what_a_spreadsheet_would_round_is_marked(text: str) -> None:
    assert marked(text) == "'" + text


Typed = tuple[str | None, str, str | None]
TYPED: dict[str, Typed] = {
    "text stays text": ('"007"', "008", '"008"'),
    "a number stays a number": ("1.50", "1.75", "1.75"),
    "with all of its digits": ("1", "12345678901234567890.10", "12345678901234567890.10"),
    "a decimal comma": ("1.5", "2,25", "2.25"),
    "no number is text": ("1.5", "n/a", '"n/a"'),
    "true": ("false", "TRUE", "true"),
    "neither true nor false": ("false", "yes", '"yes"'),
    "an object": ('{"a": 1}', '{"a": 2.0}', '{"a": 2.0}'),
    "a list": ("[1]", "[1,2]", "[1,2]"),
    "a list that is none any more": ("[1]", "[1,", '"[1,"'),
    "null becomes text": ("null", "5", '"5"'),
    "a field that was not there becomes text": (None, "5", '"5"'),
    "a cleared cell removes the field": ('"x"', "", None),
    "escapes": ('"a\\u0000b"', '"a\\u0009b"', '"a\\u0009b"'),
    "blanks are a change": ('"x"', "x ", '"x "'),
}
UNCHANGED = {
    "a number in other digits": ("1.50", "1.5"),
    "a decimal comma": ("12.5", "12,5"),
    "an exponent without loss": ("100000", "1.0E+05"),
    "TRUE": ("true", "TRUE"),
    "null": ("null", ""),
    "empty text": ('""', ""),
    "absent": (None, ""),
    "line ends": ('"a\\r\\nb"', "a\nb"),
    "an object in other blanks": ('{"a": [1, 2.0]}', '{"a":[1,2]}'),
}


@pytest.mark.parametrize(("before", "cell", "after"), TYPED.values(), ids=TYPED)
def test_a_changed_cell_has_the_type_that_its_value_had(
    before: str | None, cell: str, after: str | None
) -> None:
    made = change_of(cell, before, is_text=False, has_comma=False)
    assert made is not None
    assert made.value == after


@pytest.mark.parametrize(("before", "cell"), UNCHANGED.values(), ids=UNCHANGED)
def test_the_same_value_written_otherwise_is_no_change(before: str | None, cell: str) -> None:
    assert change_of(cell, before, is_text=False, has_comma=False) is None


def test_a_changed_cell_of_a_csv_letter_is_text() -> None:
    assert change_of("1.5", '"1.50"', is_text=True, has_comma=False) == ('"1.5"', "")


@pytest.mark.parametrize(
    ("cell", "before", "says"),
    [
        ("1.2E+15", '"1234567890123456"', "has rounded 1234567890123456"),
        ("1,23457E+15", "1234567890123456", "has rounded"),
        ("1234567890123450", "1234567890123456", "has rounded"),
        ("1,234", "7", "may be 1234 or 1.234"),
        ("x" * 32_767, json.dumps("x" * 40_000), "has cut its 40,000 characters"),
    ],
)
def test_what_nobody_can_mean_is_refused(cell: str, before: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        change_of(cell, before, is_text=False, has_comma=False)


@pytest.mark.parametrize(
    ("before", "cell", "hint"),
    [
        ("2025-01-15", "15.01.2025", "a date in other notation"),
        ("2025-01-15", "1/15/25", "a date in other notation"),
        ("2025-01-15", "16.01.2025", ""),
        ("2025-01-15", "2025-01-16", ""),
        ("007", "7", "zeros in front are lost"),
        ("12.5", "12,5", "a decimal comma"),
        ("12345678", "1.2E+07", "an exponent"),
        ("a", "b", ""),
    ],
)
def test_what_a_spreadsheet_may_have_done_is_named(before: str, cell: str, hint: str) -> None:
    made = change_of(cell, json.dumps(before), is_text=True, has_comma=False)
    assert made is not None
    assert made.hint == hint


@pytest.mark.parametrize(
    ("text", "has_comma", "number"),
    [
        ("1.234", False, "1.234"),
        ("1.234,5", True, "1234.5"),
        ("1,234.5", False, "1234.5"),
        ("1.234.567", True, "1234567"),
        ("+.5", False, "0.5"),
        ("007", False, "7"),
        ("1.0E+05", False, "1.0e+05"),
        ("1,2,3", False, None),
        ("12a", False, None),
        ("", False, None),
        ("-", False, None),
        (".", False, None),
        ("\uff11", False, None),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, has_comma: bool, number: str | None) -> None:
    assert number_of(text, has_comma=has_comma) == number
    if number is not None:
        orjson.loads(number)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("1.50", "1.5", True), ("1", "true", False), ("0", "false", False), ('"1"', "1", False),
     ("[1,true]", "[1.0,true]", True), ("NaN", "NaN", True), ('"NaN"', "NaN", False), ("null", "false", False),
     ("1e99999999999999999999", "1", False)],
)  # fmt: skip
def test_values_are_equal_by_type_and_value(one: str, other: str, same: bool) -> None:
    assert is_same(one, other) is same


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ('"7"', "7", ["7"]),
        ("7", '"7"', ['"7"']),
        ("7", "7.0", []),
        ("7", "null", [None]),
        ("null", "null", []),
        (None, "null", []),
        (None, '""', ['""']),
        ('""', "null", [None]),
    ],
)
def test_a_value_of_ndjson_is_taken_as_it_is(before: str | None, value: str, after: list[str | None]) -> None:
    made = change_of_value(value, before, is_text=False)
    assert [made.value] == after if made else after == []


def test_a_cell_shows_escapes_only_where_it_must() -> None:
    assert text_of('"a\\u0001\\u009b"') == '"a\\u0001\\u009b"'
    assert text_of('"\\ud800"') == '"\\ud800"'
    assert text_of('"\\u00fc\\n"') == "ü\n"
    assert text_of('["\x9b"]') == '["\\u009b"]'

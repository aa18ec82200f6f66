from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.csv_reader import Dialect
from worker.judge.faults import Rejection
from worker.judge.parse import (
    MAX_DEPTH,
    Unusable,
    bad_text,
    check_extra,
    depth,
    parse_csv,
    parse_exactly,
    parse_json,
)

UTF_8 = st.characters(exclude_categories=["Cs"])  # naming the codec takes seconds
INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(UTF_8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(UTF_8), inner),
    max_leaves=8,
)  # fmt: skip
OBJECTS = st.dictionaries(st.text(UTF_8), VALUES, max_size=4)


def reason(text: str) -> str:
    with pytest.raises(Rejection) as rejected:
        parse_json(text)
    return rejected.value.faults[0].reason


@given(OBJECTS, st.sampled_from([None, 1]), st.booleans(), st.sampled_from([(",", ":"), (", ", " : "), None]))
def test_any_object_is_read_back_however_it_is_written(
    value: dict[str, Any], indent: int | None, escaped: bool, separators: Any
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=escaped, separators=separators)
    assert parse_json(text) == parse_exactly(text) == value


@given(st.text(max_size=30) | st.text('{}[]":,\\1ea\ud800 ', max_size=12))
def test_any_text_is_an_object_or_a_rejection(text: str) -> None:
    try:
        assert isinstance(parse_json(text), dict)
    except Rejection as rejection:
        assert rejection.faults[0].reason in {
            "malformed_json", "not_an_object", "duplicate_field", "too_deep",
        }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a":1,"b":{"c":1,"c":1}}',
        '{"x":[{"a":1,"a":1}]}',
        '{"a":1,"\\u0061":2}',
        '{"a" : 1, "a" : 1}',
        '{"a"  :1,"a":2}',
        '{"a"\t :1,"a":2}',
        '{"a" \r\n\t:1,"b":{"a":1},"a":2}',
    ],
)
def test_a_field_that_stands_twice_is_found_wherever_it_is(text: str) -> None:
    assert reason(text) == "duplicate_field"


BLANKS = st.text(" \t\n\r", max_size=3)
FIELDS = st.lists(
    st.tuples(
        st.sampled_from("abc"), BLANKS, BLANKS, st.sampled_from(["1", '" :"', '"\\":"', '"\\" :"', "{}"])
    ),
    max_size=4,
)


@given(FIELDS)
def test_blanks_around_a_colon_hide_no_field_that_stands_twice(
    fields: list[tuple[str, str, str, str]],
) -> None:
    text = "{" + ",".join(f'"{name}"{before}:{after}{value}' for name, before, after, value in fields) + "}"
    if len({name for name, *_ in fields}) < len(fields):
        assert reason(text) == "duplicate_field"
    else:
        assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize("text", ['{"a":"\\":"}', '{"a":"b\\":c"}', '{"a":{"b":1},"c":{"b":1}}', '{"":1}'])
def test_what_only_looks_like_a_repeated_field_is_none(text: str) -> None:
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize(
    "literal",
    ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9223372036854775808", "18446744073709551616",
     "-9223372036854775809", "9" * 5000, "-" + "9" * 5000],
)  # fmt: skip
@pytest.mark.parametrize("shape", ["%s", "[%s]", '{"b":[1,%s]}'])
def test_a_number_no_column_can_hold_is_unusable_and_the_rest_is_read(shape: str, literal: str) -> None:
    found = parse_json('{"a":%s,"c":1}' % (shape % literal))
    assert found["c"] == 1
    inner = found["a"]
    while isinstance(inner, dict | list):
        inner = inner["b"] if isinstance(inner, dict) else inner[-1]
    assert isinstance(inner, Unusable)
    with pytest.raises(Rejection):
        check_extra("a", found["a"])


@given(INT64)
def test_every_integer_of_64_bits_is_stored_exactly(number: int) -> None:
    assert parse_json(f'{{"a":{number}}}') == {"a": number}


@pytest.mark.parametrize("literal", ["1e300", "-1e300", "9223372036854775808.0", "1E5", "-0.0", "0.1"])
def test_floats_of_any_size_are_stored(literal: str) -> None:
    assert parse_json(f'{{"a":{literal}}}') == {"a": float(literal)}


@pytest.mark.parametrize("brackets", ["[]", "{}"])
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 100, 333, 600, 1000, 1023, 1024, 1025, 10_000])
def test_what_is_nested_too_deep_is_rejected_at_any_depth(brackets: str, levels: int) -> None:
    opening = "[" if brackets == "[]" else '{"a":'
    text = '{"x":' + opening * (levels - 1) + "1" + brackets[1] * (levels - 1) + "}"
    assert reason(text) == "too_deep"


@pytest.mark.parametrize("spaces", ["", " "])
def test_what_is_nested_as_deep_as_may_be_is_read(spaces: str) -> None:
    text = f'{{"x"{spaces}:' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}"
    check_extra("x", parse_json(text)["x"])


def test_brackets_within_texts_are_not_nesting() -> None:
    text = json.dumps({"a": '[{"' * 100, "b": "\\"})
    assert depth(text) == 1
    assert parse_json(text)["b"] == "\\"


def test_lone_surrogates_are_read_for_their_field_to_be_judged() -> None:
    assert parse_json('{"a":"\\ud800","b":1}') == {"a": "\ud800", "b": 1}


@pytest.mark.parametrize(
    ("text", "why"), [("a\0", "NUL"), ("\ud800", "surrogate"), ("\udfff\0", "NUL"), ("é😀", None)]
)
def test_text_no_column_can_hold_is_reported(text: str, why: str | None) -> None:
    assert (why or "") in (bad_text(text) or "")
    assert (bad_text(text) is None) == (why is None)


def csv_reason(text: str, header: list[str]) -> str:
    with pytest.raises(Rejection) as rejected:
        parse_csv(text, header, Dialect())
    return rejected.value.faults[0].reason


def test_an_empty_cell_is_an_absent_field() -> None:
    assert parse_csv('1,,"",4', ["a", "b", "c", "d"], Dialect()) == {"a": "1", "d": "4"}


@pytest.mark.parametrize("text", ["1", "1,2,3", "", '"1,2', '"1"x,2', "1\r2,3"])
def test_a_row_that_does_not_fit_its_header_is_malformed(text: str) -> None:
    assert csv_reason(text, ["a", "b"]) == "malformed_csv"


def test_a_name_that_stands_twice_in_the_header_is_a_duplicate_field() -> None:
    assert csv_reason("1,2", ["a", "a"]) == "duplicate_field"


def test_a_cell_may_be_longer_than_the_librarys_limit() -> None:
    assert len(parse_csv("x" * 200_000, ["a"], Dialect())["a"]) == 200_000

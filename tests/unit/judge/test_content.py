"""What a rejected record says, for the digest: equal where docs/semantics.md says so, and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.csv_reader import Dialect
from worker.contract import Event
from worker.judge.adapt import Adapter
from worker.judge.content import content_of, content_of_parsed, content_of_raw, number_names
from worker.judge.notation import Notation
from worker.judge.parse import parse_csv, parse_json
from worker.judge.stages import judge_batch
from worker.settings import SourceSettings

from .pairs import contract_of, importable, judges  # noqa: F401
from .shapes import NOW, message

NUMBERS = frozenset({"value"})


def of_json(text: str) -> str:
    return content_of_raw(text, message([text]), NUMBERS)


def of_value(text: str) -> str:
    """The content of a record with this value, as JSON writes it."""
    return of_json(f'{{"key":"k","value":{text}}}')


def of_cell(text: str, name: str = "value") -> str:
    return content_of({"key": "k", name: text}, NUMBERS)


def test_content_of_a_rejected_record_is_one_whatever_its_format() -> None:
    row = parse_csv("a,n,cloudy,,-12.5", ["key", "name", "value", "ts", "x"], Dialect())
    document = parse_json('{"x": -12.5, "ts": null, "value": "cloudy", "name": "n", "key": "a"}')
    assert content_of(row) == content_of(document)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": "1"}, {"a": "2"}),
        ({"a": "1"}, {"b": "1"}),
        ({"a": "b", "c": "d"}, {"a": "bcd"}),
        ({"a": "\ud800"}, {"a": "\udfff"}),
        ({"\ud800": 1}, {"\udfff": 1}),
        ({"a": [1]}, {"a": [2]}),
        ({}, {"a": 0}),
    ],
)
def test_content_of_different_records_differs(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert content_of(one) != content_of(other)


@pytest.mark.parametrize(
    "same",
    [
        ["0", "-0", "0.0", "-0.0", "0e5", '"0"', '"-0"', '"0.00"'],
        ["1.5", "1.50", "15e-1", "1.5E0", '"1.5"', '"1.50"', '" +1.500 "'],
        ["5", "5.0", '"5"', '"5."', '"005"'],
        ["1e23", "100000000000000000000000", '"1e23"', '"100000000000000000000000"'],
    ],
)
def test_equal_numbers_say_the_same_in_every_spelling_where_the_contract_has_a_number(
    same: list[str],
) -> None:
    assert len({of_value(each) for each in same}) == 1
    assert {of_cell(each.strip('"')) for each in same} == {of_value(same[0])}


DIFFERENT = [
    "1e23", "999999999999999999999999", "1000000000000000000000000", "9223372036854775808", "9223372036854775809",
    "1e400", "-1e400", "1e401", "NaN", "Infinity", "-Infinity", "0.1", "0.10000000000000000000001", "1e-400",
    '"x"', '"1_0"', '"1-1"', "true", "false", "[]", "{}", '"[]"', "[1]", '["1"]', '[null]', '{"a":1}', '{"a":"1"}',
    '"{\\"a\\":1}"', "9" * 2000, "8" + "9" * 1999, "1e99999999999999999999", "1e99999999999999999998",
]  # fmt: skip


def test_different_values_say_something_else() -> None:
    contents = [of_value(each) for each in DIFFERENT]
    assert len(set(contents)) == len(DIFFERENT)


@pytest.mark.parametrize("one", ["007", "1.50", "-0", " 7", "1e3"])
def test_texts_of_other_fields_say_their_characters(one: str) -> None:
    other = str(float(one)) if one != "-0" else "0"
    assert of_cell(one, "name") != of_cell(other, "name")


def test_numbers_of_other_fields_say_their_values() -> None:
    assert of_json('{"name":1.50}') == of_json('{"name":1.5}') != of_json('{"name":1.51}')
    assert of_json('{"name":5}') == content_of({"name": "5"}, NUMBERS)


def test_the_order_of_fields_says_nothing_at_any_depth() -> None:
    one = '{"x":{"a":[{"c":1,"d":-0.0}],"b":2.50},"key":"k"}'
    assert of_json(one) == of_json('{"key":"k","x":{"b":2.5,"a":[{"d":0,"c":1.0}]}}')
    assert of_json(one) != of_json('{"key":"k","x":{"b":2.5,"a":[{"d":1,"c":0}]}}')


@given(
    st.dictionaries(
        st.sampled_from(["key", "value", "name", "x"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**70), 2**70)
            | st.floats(allow_nan=False)
            | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
            ),
            max_leaves=5,
        ),
    ),
    st.booleans(),
)
def test_what_was_parsed_before_says_what_its_text_says(record: dict[str, Any], pretty: bool) -> None:
    text = json.dumps(record, indent=1 if pretty else None)
    parsed = parse_json(text)
    assert content_of_parsed(parsed, text, message([text]), NUMBERS) == of_json(text)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, {"value"}),
        ({"fields": {"value": "amount"}}, {"amount"}),
        ({"fields": {"value": "a.b"}}, set()),
        ({"fields": {"value": "to_number(v)"}}, set()),
        ({"constants": {"value": 1}}, set()),
        ({"defaults": {"value": 1}}, {"value"}),
    ],
)
def test_the_names_of_numbers_are_those_of_the_source(settings: dict[str, Any], names: set[str]) -> None:
    contract = contract_of(Event)
    assert number_names(Adapter(SourceSettings(**settings), contract), contract) == names


def test_a_mapped_number_says_its_value() -> None:
    [judge, _] = judges(Event, fields={"value": "amount"})
    texts = [f'{{"key":"k","amount":{each}}}' for each in ("1.50", '"1.5"', "2")]
    one, same, other = (bad.content for bad in judge_batch(message(texts), judge, None, NOW).bad)
    assert one == same != other


def test_a_number_in_the_notation_of_its_file_says_its_value() -> None:
    german = Notation(",", ".")
    assert content_of({"value": "1.234,50"}, NUMBERS, german) == content_of({"value": "1234.5"}, NUMBERS)
    assert content_of({"value": "x"}, NUMBERS, german) == content_of({"value": "x"}, NUMBERS)


def test_a_number_of_many_digits_is_read_again_for_what_it_says() -> None:
    """A parser makes one binary number of all these; the digest of a letter tells them apart."""
    short, long = '{"value":0.1}', '{"value":0.1000000000000000055511151231257827}'
    batch = message([short, long])
    found = [content_of_parsed({"value": 0.1}, record, batch) for record in (short, long)]
    assert found == [content_of_raw(record, batch) for record in (short, long)]
    assert found[0] != found[1]

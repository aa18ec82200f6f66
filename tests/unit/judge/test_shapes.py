"""The shape of a value at a faulty field: it tells what kind of value it is, and never the value."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from worker.judge.faults import ABSENT, shape_of


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ("12,50", "d+,d+"),
        ("1,5", "d+,d+"),
        ("15/01/2025", "d+/d+/d+"),
        ("1.234,50 €", "d+.d+,d+_€"),
        ("two  words", "a+_a+"),
        ("", "empty"),
        (" \t", "blank"),
        ("a\x00b", "a+?a+"),
        ("é1", "a+d+"),
        ("x" * 500, "text"),
        ("a b " * 9, "text"),
        (ABSENT, "absent"),
        (None, "null"),
        (True, "true or false"),
        (1, "number"),
        (1.5, "number"),
        ([1], "list"),
        ({}, "object"),
    ],
)
def test_the_shape_of_a_value(value: Any, shape: str) -> None:
    assert shape_of(value) == shape


@given(st.text())
@settings(max_examples=examples(50))
def test_a_shape_is_short_printable_and_has_no_digits_of_its_value(text: str) -> None:
    shape = shape_of(text)
    assert len(shape) <= 24
    assert shape.isprintable()
    assert not any(character.isdigit() for character in shape)

"""A field within objects as one text, and where each of the contract's fields comes from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import paths
from worker.contract import load_contract
from worker.judge.adapt import Adapter, origins, path_of
from worker.settings import SourceSettings, WorkerSettings

NAMES = st.lists(st.text(st.sampled_from("a.\\ ")), min_size=1, max_size=4).map(tuple)


@given(NAMES)
def test_any_path_comes_back_from_its_text(path: tuple[str, ...]) -> None:
    assert paths.split(paths.joined(path)) == path


@given(NAMES, NAMES)
def test_two_paths_never_have_one_text(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert (paths.joined(one) == paths.joined(other)) == (one == other)


@pytest.mark.parametrize(
    ("expression", "path"),
    [
        ("a", ["a"]),
        ("a.b.c", ["a", "b", "c"]),
        ('a."b c".d', ["a", "b c", "d"]),
        ("a || b", None),
        ("a[0].b", None),
        ("to_number(a)", None),
        ("@.a", None),
    ],
)
def test_an_expression_of_names_alone_is_a_path(expression: str, path: list[str] | None) -> None:
    assert path_of(expression) == path


@pytest.mark.parametrize(
    ("source", "of_value"),
    [
        ({}, {"path": ["value"]}),
        ({"fields": {"value": "p.mag"}}, {"path": ["p", "mag"]}),
        ({"fields": {"value": "a || b"}}, {"by": "the expression a || b"}),
        ({"fields": {"value": "a"}, "constants": {"value": 1}}, {"by": "constants.value"}),
        ({"fields": {"name": "value.text"}}, {"by": "no field: the mapping reads value for others"}),
        ({"adapter": "tests.examples:examples"}, {"by": "the adapter tests.examples:examples"}),
    ],
)
def test_each_field_of_the_contract_says_where_it_comes_from(
    source: dict[str, Any], of_value: dict[str, Any]
) -> None:
    contract = load_contract(WorkerSettings())
    settings = SourceSettings.model_validate(source)
    assert origins(settings, contract, Adapter(settings, contract))["value"] == of_value

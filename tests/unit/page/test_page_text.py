"""Text, masks and pictures of the page, without a store."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import UsageError
from worker.page.commands import check, command_line, option
from worker.page.drawing import bars, by_parent, tree
from worker.page.masking import HIDDEN, Masks
from worker.page.text import lines_of, visible


@given(st.text())
def test_what_is_printed_has_nothing_that_is_not_seen(text: str) -> None:
    assert visible(text).isprintable()
    if text.isprintable():
        assert visible(text) == text


def test_lines_stay_lines() -> None:
    assert lines_of("a\n\tb") == ["a", "    b"]


def entry(id: str, parent: str | None, **fields: Any) -> dict[str, Any]:
    return {"id": id, "parent_id": parent, "step": "stage", "detail": "x", "file": "f", "line": 1} | fields


def test_each_entry_stands_behind_its_parent_and_none_is_lost() -> None:
    entries = [
        entry("c", "b"),
        entry("a", None),
        entry("b", "a"),
        entry("x", "y"),
        entry("y", "x"),
        entry("o", "gone"),
    ]
    ordered = by_parent(entries)
    assert [(each["id"], depth) for each, depth in ordered][:3] == [("a", 0), ("b", 1), ("c", 2)]
    assert sorted(each["id"] for each, _ in ordered) == ["a", "b", "c", "o", "x", "y"]


def test_pictures_escape_what_they_show() -> None:
    found = tree("t", [entry("a", None, detail="<script>", file="</svg>")])
    assert "<script>" not in found
    assert found.count("</svg>") == 1
    hour = {"hour": '"><b>', "received": 2, "rejected": 1}
    assert "<b>" not in bars('"><i>', [hour], "hour", "received", "rejected")
    assert "style=" not in found


def test_a_hidden_field_is_hidden_at_every_depth() -> None:
    mask = Masks(hide=("name",)).source("shop")
    value = {"name": "s", "a": [{"name": ["s"], "b": 1}], "names": 2}
    assert mask.value(value) == {"name": HIDDEN, "a": [{"name": HIDDEN, "b": 1}], "names": 2}


@pytest.mark.parametrize("hide", ["name", "place", "properties.place"])
def test_a_mapping_hides_both_ends(hide: str) -> None:
    mask = Masks(hide=(hide,), mappings={"usgs": {"name": "properties.place", "key": "id"}}).source("usgs")
    assert mask.is_hidden("name")
    assert mask.is_hidden("place")
    assert not mask.is_hidden("key")
    assert mask.is_hidden(None)  # what a rule of the whole record says may repeat the value


def test_a_message_of_a_hidden_field_is_hidden_and_its_rule_is_not() -> None:
    fault = {"field": "name", "rule": "too_short", "message": "got 's'"}
    assert Masks(hide=("name",)).source("x").fault(fault) == {**fault, "message": HIDDEN}
    assert Masks().source("x").fault(fault) == fault


def test_a_payload_that_is_cut_is_hidden_whole() -> None:
    mask = Masks(hide=("name",)).source("x")
    assert mask.json_text('{"name": "s", "a": 1}') == f'{{"name": "{HIDDEN}", "a": 1}}'
    assert mask.json_text('{"a": 1, "name": "s') == HIDDEN


def test_the_keys_of_records_are_hidden_with_their_field() -> None:
    assert Masks(hide=("key",)).source("x").key("k1") == HIDDEN
    assert Masks(show_values=False).source("x").key("k1") == HIDDEN
    assert Masks(hide=("name",)).source("x").key("k1") == "k1"


def test_a_command_is_run_without_the_working_directory_and_takes_no_option_from_a_value() -> None:
    words = command_line(["store", "letters", option("why", "--all")])
    assert words[1] == "-P"
    assert words[-1] == "--why=--all"
    with pytest.raises(UsageError):
        check(["store", "a\0b"])


def test_a_bar_is_drawn_for_what_is_known_alone() -> None:
    runs = [{"name": "run 1", "speed": 10}, {"name": "run 2", "speed": None}, {"name": "run 3", "speed": 0}]
    found = str(bars("How quick", runs, "name", "speed"))
    assert found.count("<rect") == 2
    assert "<title>run 1: 10 speed</title>" in found
    assert "<title>run 2: not known</title>" in found
    assert 'role="img" aria-label="How quick"' in found

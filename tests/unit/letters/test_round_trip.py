"""A letter as a row of a file, and the row back: what nobody changed stays whole, and nothing else is changed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.csv_reader import Dialect
from store.dead_letters.transfer import export, fields
from store.dead_letters.transfer.cells import (
    marked,
    unmarked,
)
from store.dead_letters.transfer.fields import fields_of, names_of, values_of
from store.dead_letters.transfer.fixes import changed, changes_of
from store.dead_letters.transfer.rows import Row, Rows, csv_rows, json_rows
from store.errors import InputError
from store.payload import to_text
from store.tables.dead_letters import DeadLetter
from tests.examples import examples

SPECIAL = "=+-@\t\r\n'\"; ,|a017.E\0\x85\uff1d\u00fc"
TEXTS = st.text(SPECIAL + "\ud800", max_size=10) | st.text(max_size=6)
NUMBERS = st.sampled_from(
    ["0", "-0", "1.50", "1E5", "12345678901234567890", "1e999", "-7", "0.1e-7", "9007199254740993", "NaN"]
)


class Digits(str):
    """A number as it is written."""


def json_text(value: Any) -> str:
    """JSON in ASCII, with numbers as they are written."""
    if isinstance(value, Digits):
        return value
    if isinstance(value, dict):
        return (
            "{ " + ",".join(f"{json.dumps(name)} : {json_text(each)}" for name, each in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(json_text, value)) + "]"
    return json.dumps(value)


VALUES = st.recursive(
    st.none() | st.booleans() | TEXTS | NUMBERS.map(Digits),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(
    TEXTS | st.sampled_from(["letter.id", "raw.x", "", '"a"', "raw."]), VALUES, max_size=5
)


def a_letter(payload: bytes, header: dict[str, Any] | None = None, reason: str = "late") -> DeadLetter:
    text, encoding = to_text(payload)
    return DeadLetter(
        "0" * 32, "s", "open", reason, [], "g", text, encoding, len(payload), None, "csv" if header else "json",
        header, None, "f", 1, 1, None, 1, 0, "", "", None,
    )  # fmt: skip


def a_csv_letter(cells: Sequence[str], columns: Sequence[str]) -> DeadLetter:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return a_letter(line.getvalue().encode(), {"columns": list(columns), **Dialect().to_wire()})


def own() -> dict[str, Any]:
    return dict.fromkeys(export.OWN[:-1], "x")


def lines_of(text: str) -> Callable[[], Iterator[str]]:
    """As a file is read; UTF-8 has no lone surrogates."""
    text.encode()
    return lambda: iter(io.StringIO(text, newline=""))


def as_csv(letter: DeadLetter, more: Sequence[str] = (), delimiter: str = ",") -> str:
    """A file of one row, with columns that other letters have."""
    names = list(dict.fromkeys([*names_of(letter), *more]))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n", delimiter=delimiter)
    writer.writerow(export.header_of(names))
    writer.writerow(export.cells_of(own(), fields_of(letter), "", names))
    return out.getvalue()


def rows_of(text: str) -> Rows:
    return csv_rows(lines_of(text), "f")


def changes(rows: Rows, letter: DeadLetter) -> dict[str, str | None]:
    [row] = rows.read()
    found = changes_of(rows, row, fields_of(letter), is_text=letter.format == "csv")
    return {export.name_of(column): each.value for column, each in found.items()}


@given(OBJECTS)
@settings(max_examples=examples(40))
def test_the_values_of_an_object_are_found_as_they_are_written(found: dict[str, Any]) -> None:
    values = values_of(json_text(found))
    assert values == {name: json_text(value) for name, value in found.items()}
    assert values_of(fields.object_of(values)) == values


NO_OBJECTS = [
    "", "{", "[1]", "7", '{"a":1', '{"a":1}x', '{"a":1,"a":2}', '{"a" 1}', '{"a":}', '{"a":1,}', "{1:2}",
    '{"a":1 "b":2}', "\ufeff{}",
]  # fmt: skip


@pytest.mark.parametrize("text", [*NO_OBJECTS, pytest.param('{"a":' + "[" * 100_000, id="too deep")])
def test_what_is_no_object_has_no_values(text: str) -> None:
    with pytest.raises(InputError, match=r"the payload|a field stands twice"):
        values_of(text)


@given(TEXTS)
@settings(max_examples=examples(60))
def test_a_column_names_one_field(name: str) -> None:
    column = export.column_of(name)
    assert export.name_of(column) == name
    assert not column.startswith(export.PREFIX)
    assert unmarked(marked(column)) == column
    column.encode()


@given(OBJECTS)
@settings(max_examples=examples(40), deadline=None)
def test_an_unchanged_row_of_any_object_changes_nothing(found: dict[str, Any]) -> None:
    letter = a_letter(json_text(found).encode())
    assert changes(rows_of(as_csv(letter, ["another"])), letter) == {}
    assert (
        changes(rows_of(as_csv(letter, delimiter=";")), letter) == {}
    )  # as a spreadsheet of some countries saves it
    line = export.line_of(own(), fields_of(letter))
    assert line.count("\n") == 1
    assert changes(json_rows(lines_of(line), "f"), letter) == {}


@given(st.lists(st.text(SPECIAL, max_size=8) | st.text(st.characters(codec="utf-8"), max_size=6)))
@settings(max_examples=examples(40), deadline=None)
def test_an_unchanged_row_of_any_csv_file_changes_nothing(cells: list[str]) -> None:
    letter = a_csv_letter(cells, [f"c{number}" for number in range(len(cells))])
    try:
        names_of(letter)
    except InputError:  # a row that our own reader refuses has no fields
        return
    assert changes(rows_of(as_csv(letter)), letter) == {}
    assert changes(json_rows(lines_of(export.line_of(own(), fields_of(letter))), "f"), letter) == {}


@given(OBJECTS.filter(bool), st.data())
@settings(max_examples=examples(40), deadline=None)
def test_one_changed_cell_is_exactly_that_change(found: dict[str, Any], data: st.DataObject) -> None:
    letter = a_letter(json_text(found).encode())
    name = data.draw(st.sampled_from(sorted(found)))
    rows = rows_of(as_csv(letter))
    [row] = rows.read()
    edited = Row(row.line, {**row.values, export.column_of(name): "edited x"})
    made = changes_of(rows, edited, fields_of(letter), is_text=False)
    payload = values_of(changed(fields_of(letter), made))
    assert payload == {**fields_of(letter), name: '"edited x"'}
    assert list(payload) == list(found)  # in their order


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "its first row has no column letter.id"),
        ("letter.id,value\n", "its first row has no column letter.hash"),
        ('"letter.id,letter.hash,letter.store"\n', "its first row has no column"),
        ("letter.id,letter.hash,letter.store,a,a\n", "'a' stands twice"),
        ('letter.id,letter.hash,letter.store,"a\n', "no column letter.id"),
    ],
)
def test_a_file_that_is_no_export_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        list(rows_of(text).read())


def test_rows_are_read_as_spreadsheets_write_them() -> None:
    text = 'sep=;\r\nletter.id;letter.hash;letter.store;"a\nb";\r\n\r\n1;2;3;"x\r\ny";\r\n;;;;\r\n4;5;6\r\n7;8;9;;z\r\n'
    rows = rows_of(text)
    first, second, third = rows.read()
    assert (rows.has_comma, rows.how) == (True, "read with ';' between its cells")
    assert (first.line, first.values["a\nb"]) == (5, "x\r\ny")
    assert (second.line, second.missing) == (8, {"a\nb"})
    assert third.why == "a cell stands under no column name"


def test_a_row_that_ends_early_is_refused_where_a_value_is_missing() -> None:
    letter = a_letter(b'{"a": "1", "b": null}')
    rows = rows_of(as_csv(letter))
    for missing, says in (("b", ""), ("a", "ends before the column 'a'")):
        row = Row(2, {}, missing=frozenset({missing}))
        if says:
            with pytest.raises(InputError, match=says):
                changes_of(rows, row, fields_of(letter), is_text=False)
        else:
            assert changes_of(rows, row, fields_of(letter), is_text=False) == {}

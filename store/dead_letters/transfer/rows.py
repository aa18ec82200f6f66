"""The rows of an exported file that a person, or a program, gave back: CSV as spreadsheets save it, or NDJSON."""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, NamedTuple

from store.csv_reader import csv_reader
from store.dead_letters.transfer import fields
from store.dead_letters.transfer.cells import unmarked
from store.dead_letters.transfer.export import HASH, ID, STORE
from store.errors import InputError
from store.text import shown_path, storable_name

DELIMITERS = ",;\t|"
NEEDED = (ID, HASH, STORE)
EXPORT = "it is no file of `store letters export`"
_SEPARATOR = re.compile(r"\"?sep=(.)\"?\1*\s*", re.IGNORECASE)
_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Row(NamedTuple):
    """One row: its line, and what stands in its columns."""

    line: int
    values: Mapping[str, str]  # column -> text of the cell without its apostrophe; of NDJSON, JSON
    why: str | None = None  # it cannot be read
    missing: frozenset[str] = frozenset()  # columns that the row ends before


@dataclass
class Rows:
    """An open file; its rows can be read once."""

    name: str
    is_csv: bool
    has_comma: bool  # a program that writes `;` between cells writes decimal commas
    read: Callable[[], Iterator[Row]] = field(repr=False)
    how: str = ""  # what was met, for people

    def text(self, row: Row, column: str) -> str:
        """One of a letter's own columns."""
        value = row.values.get(column, "")
        if self.is_csv:
            return value.strip()
        found = json.loads(value) if value else ""
        return found if isinstance(found, str) else ""


def open_rows(path: Path) -> Rows:
    """Raises InputError for a file that cannot be read, is empty, or is no export."""
    name = shown_path(str(path))
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}; check the path") from None
    if not start.strip():
        raise InputError(f"{name} is empty: {EXPORT}")
    if start.startswith(b"PK\x03\x04"):
        raise InputError(f"{name} is a workbook (.xlsx, .ods): save it as CSV UTF-8, and give that")
    encoding = next((each for bom, each in _ENCODINGS if start.startswith(bom)), "utf-8")
    begins = start.removeprefix(codecs.BOM_UTF8).lstrip()
    read_text = partial(_lines, path, name, encoding)
    if begins.startswith(b"{"):
        return json_rows(read_text, name)
    return csv_rows(read_text, name)


def _lines(path: Path, name: str, encoding: str) -> Iterator[str]:
    """Lines with their ends. Raises InputError for bytes that are no text."""
    number = 0
    try:
        file: IO[str]
        with path.open(encoding=encoding, newline="") as file:
            for line in file:
                number += 1
                yield line
    except UnicodeDecodeError:
        raise InputError(
            f"{name}: a line after line {number:,} is not {encoding.removesuffix('-sig').upper()} text: save it as "
            "CSV UTF-8"
        ) from None
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error}") from None


# --- CSV ---


def csv_rows(read_text: Callable[[], Iterator[str]], name: str) -> Rows:
    """The rows of a CSV file. Raises InputError for one that is no export."""
    lines = read_text()
    first = next(lines, "")
    separator = _SEPARATOR.fullmatch(first)
    skipped = 1 if separator else 0
    if not separator:
        lines = chain([first], lines)
    delimiter, header = _header(lines, separator[1] if separator else None, name)
    if repeated := [column for column, times in Counter(filter(None, header)).items() if times > 1]:
        raise InputError(f"{name}: the column {storable_name(repeated[0])!r} stands twice in its header")
    how = "" if delimiter == "," else f"read with {delimiter!r} between its cells"
    return Rows(
        name,
        True,
        delimiter == ";",
        lambda: _csv_rows(read_text(), delimiter, header, skipped, name),
        how,
    )


def _header(lines: Iterator[str], delimiter: str | None, name: str) -> tuple[str, list[str]]:
    """(delimiter, columns) by the first row: the delimiter under which it has the columns that every export has."""
    text = ""
    for line in lines:
        text += line
        for each in delimiter or DELIMITERS:
            try:
                [row] = csv_reader([text], delimiter=each)
            except (csv.Error, ValueError):  # a quoted name with a line end goes on in the next line
                continue
            header = [unmarked(column) for column in row]
            lacking = tuple(column for column in NEEDED if column not in header)
            if not lacking:
                return each, header
            if len(lacking) < len(NEEDED):
                raise InputError(
                    f"{name}: its first row has no column {lacking[0]}: {EXPORT}, or the column was lost"
                )
        if len(text) > 1 << 20 or text.count('"') % 2 == 0:
            break
    raise InputError(f"{name}: its first row has no column {ID}: {EXPORT}")


def _csv_rows(
    lines: Iterator[str], delimiter: str, header: list[str], skipped: int, name: str
) -> Iterator[Row]:
    for _ in range(skipped):
        next(lines)
    reader = csv_reader(lines, delimiter=delimiter)
    is_header = True
    while True:
        line = reader.line_num + skipped + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputError(
                f"{name}: line {line:,} cannot be read as CSV ({error}): nothing was sent"
            ) from None
        if cells is None:
            return
        if is_header or not any(cells):
            is_header = False
            continue
        yield _csv_row(line, cells, header)


def _csv_row(line: int, cells: list[str], header: list[str]) -> Row:
    if any(cells[len(header) :]) or any(
        cell for cell, column in zip(cells, header, strict=False) if not column
    ):
        return Row(line, {}, "a cell stands under no column name")
    texts = {column: unmarked(cell) for column, cell in zip(header, cells, strict=False) if column}
    return Row(line, texts, missing=frozenset(filter(None, header[len(cells) :])))


# --- NDJSON ---


def json_rows(read_text: Callable[[], Iterator[str]], name: str) -> Rows:
    """The rows of an NDJSON file."""
    return Rows(name, False, False, lambda: _json_rows(read_text(), name))


def _json_rows(lines: Iterator[str], name: str) -> Iterator[Row]:
    is_first = True
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = fields.values_of(line)
        except InputError:
            if is_first:
                raise InputError(f"{name}: line {number:,} is no JSON object: {EXPORT}") from None
            yield Row(number, {}, "it is no JSON object")
            continue
        if is_first and (lacking := [column for column in NEEDED if column not in values]):
            raise InputError(f"{name}: line {number:,} has no {lacking[0]}: {EXPORT}")
        is_first = False
        yield Row(number, values)

"""How a file is written, by its first bytes: format, encoding, records, and the dialect of a table. Pure.

Each thing that is found has a reason in words, to stand beside it as a comment.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from producer.files.csv import SEPARATOR_LINE
from producer.files.names import Format

DELIMITERS = ",;\t|"
MOST_PREAMBLE = 20  # lines before a header
LINES = 200
LEAST_FIT = 0.6  # of the rows that have as many cells as their header
NUMBER = re.compile(r"\s*[+-]?[0-9][-0-9.,:/ ]*\s*")  # or a date
YEAR = re.compile(r"(?:19|20)[0-9]{2}")
MOMENT = re.compile(r"\s*[0-9]{4}-?[0-9]{2}-?[0-9]{2}[T ].*", re.DOTALL)
ESCAPED = re.compile(r'\\["\\]')


@dataclass
class Written:
    """The keys of a source for how its files are written, and why."""

    format: Format
    keys: dict[str, Any] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    in_doubt: dict[str, tuple[Any, str]] = field(default_factory=dict)  # keys that are not chosen, and why

    header_in_doubt: str | None = None  # why the row that is read as the header may be a record

    def note(self, key: str, value: Any, why: str) -> None:
        self.keys[key], self.why[key] = value, why


def encoding_of(start: bytes) -> tuple[str, str] | None:
    """An encoding other than UTF-8, and why; None for UTF-8."""
    for bom, name in (
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if start.startswith(bom):
            return name, "its first bytes say so"
    if start[1:2] == b"\0" and start[3:4] == b"\0":
        return "utf-16-le", "every second byte is NUL"
    if start[:1] == b"\0" and start[2:3] == b"\0":
        return "utf-16-be", "every second byte is NUL"
    return None


def is_utf_8(start: bytes) -> bool:
    """Whether bytes that may end within a character are UTF-8."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:  # that is the answer
        return False
    return True


def table_of(text: str, written: Written, *, is_tabs: bool) -> None:
    """Notes how a table is written, by its first lines."""
    lines = text.split("\n")[:LINES]
    if found := SEPARATOR_LINE.match(text.encode()):
        _within(lines[1:], found[1].decode(), written)
        return
    comment = _comment(lines, is_tabs=is_tabs)
    best = max(_headers(lines, comment), default=None, key=lambda each: each[:4])
    if best is None:
        return
    _, _, number, _, delimiter = best
    number = -number
    values = [cell for cell in _cells(lines[number], delimiter) or () if _is_value(cell.strip())]
    if values:
        written.header_in_doubt = (
            f"line {number + 1} is read as the header, but has values such as {values[0].strip()!r}"
        )
    if delimiter != ("\t" if is_tabs else ","):
        written.note("delimiter", delimiter, "it stands as often in each row as in the header")
    if any(line.strip() and not (comment and line.startswith(comment)) for line in lines[:number]):
        written.note("skip_rows", number, f"line {number + 1} names the columns")
    if comment:
        written.note("comment", comment, "lines that begin with it are not rows")
    _within(lines[number:], delimiter, written)


def _comment(lines: Sequence[str], *, is_tabs: bool) -> str | None:
    """The sign before comments; none where such a line has the cells of a row: it may be one."""
    found = [line for line in lines[1:] if line.startswith("#")]
    if not found or lines[0].startswith("#"):
        return None
    for delimiter in "\t" if is_tabs else DELIMITERS:
        usual = Counter(len(row) for line in lines if (row := _cells(line, delimiter)) and line not in found)
        number = max(usual, key=lambda each: usual[each], default=0)
        if number > 1 and any(len(_cells(line, delimiter) or ()) == number for line in found):
            return None
    return "#"


def _headers(lines: Sequence[str], comment: str | None) -> Iterator[tuple[bool, int, int, float, str]]:
    """(whether it names them, its cells, minus its line, fit, delimiter) of each row that may name the columns."""
    for delimiter in DELIMITERS:
        rows = [None if comment and line.startswith(comment) else _cells(line, delimiter) for line in lines]
        for number, header in enumerate(rows[:MOST_PREAMBLE]):
            if not header or len(header) < 2 or not _are_names(header):
                continue
            found = [n for n, above in enumerate(rows[:number]) if above and _may_be_header(above, header)]
            if found:  # the first row of a table names its columns, even by a year
                yield from _first_row(rows, found[0], delimiter, is_sure=True)
                break
            below = [row for row in rows[number + 1 :] if row]
            fit = sum(_fits(row, header) for row in below) / len(below) if below else 0.5
            if fit >= LEAST_FIT or not (below or any(rows[:number])):
                yield True, len(header), -number, fit, delimiter
                break
        else:
            usual = Counter(len(row) for row in rows if row).most_common(1)
            first = next((n for n, row in enumerate(rows) if row and len(row) == usual[0][0]), len(rows))
            yield from _first_row(rows, first, delimiter, is_sure=False)


def _first_row(
    rows: Sequence[Sequence[str] | None], number: int, delimiter: str, *, is_sure: bool
) -> Iterator[tuple[bool, int, int, float, str]]:
    """A row as the header, whatever is in it, if most rows below have the same number of cells."""
    below = Counter(len(row) for row in rows[number + 1 :] if row)
    for cells, of_these in below.most_common(1):
        if cells > 1 and of_these >= LEAST_FIT * below.total():
            yield is_sure, cells, -number, of_these / below.total(), delimiter


def _may_be_header(above: Sequence[str], row: Sequence[str]) -> bool:
    """Whether a row above another one is of the same table: as many cells, or a quote that is open at its end."""
    return len(above) == len(row) or any("\n" in cell for cell in above)


def _fits(row: Sequence[str], header: Sequence[str]) -> bool:
    return len(row) == len(header) or (len(row) > len(header) and not any(row[len(header) :]))


def _are_names(cells: Sequence[str]) -> bool:
    """Whether a row may be a header: most cells are there, and none is a number or a time."""
    there = [cell for cell in cells if cell.strip()]
    return len(there) * 2 > len(cells) and not any(
        NUMBER.fullmatch(cell) or MOMENT.fullmatch(cell) for cell in there
    )


def _is_value(cell: str) -> bool:
    """Whether a cell names no column: a number or a time; a year may be a name."""
    return bool((NUMBER.fullmatch(cell) or MOMENT.fullmatch(cell)) and not YEAR.fullmatch(cell))


def _cells(line: str, delimiter: str) -> list[str] | None:
    line = line.rstrip("\r")
    if not line.strip():
        return None
    try:
        # A line break stays only in a cell whose quote is open at the end.
        return next(csv.reader([line + "\n"], delimiter=delimiter), None)
    except csv.Error:  # a cell of several lines: it is no header
        return None


def _within(lines: Sequence[str], delimiter: str, written: Written) -> None:
    """Notes what stands around cells and in them."""
    text = "\n".join(lines)
    cell = re.escape(delimiter)
    if re.search(rf'(?m)(?:^|{cell})"[^"\n]*\\"(?!$|\r|{cell})', text):
        if "\\" in ESCAPED.sub("", text):
            why = 'a \\" stands in quoted cells, but other backslashes do too, which would be lost'
            written.in_doubt["escapechar"] = "\\", why
        else:
            written.note("escapechar", "\\", 'a \\" stands in its quoted cells')
    quoted = {sign: _quoted(text, sign, cell) for sign in ('"', "'")}
    if quoted["'"] > max(1, quoted['"']):
        written.note("quotechar", "'", "cells stand between these")
    rows = [line for line in lines if line.strip()]
    blanks = sum(bool(re.search(rf"{cell} +\S| +{cell}", line)) for line in rows)
    if delimiter != "\t" and rows and blanks * 2 > len(rows) and _are_padded(rows, delimiter):
        written.note("trim", True, "blanks stand around its cells")


def _quoted(text: str, sign: str, cell: str) -> int:
    """How many cells stand between two of these signs."""
    return len(re.findall(rf"(?m)(?:^|{cell}){sign}(?:[^{sign}\n]|{sign}{sign})*{sign}(?=$|\r|{cell})", text))


def _are_padded(rows: Sequence[str], delimiter: str) -> bool:
    """Whether blanks stand around cells of the header too: in text a blank behind a comma is usual."""
    header = rows[0].split(delimiter)
    return any(cell != cell.strip() and cell.strip() for cell in header[1:]) or any(
        cell.strip() and cell != cell.strip(" ") for cell in header[:1]
    )


def records_of(text: str) -> str | None:
    """The path of the first array of objects within a JSON object, as far as its text goes."""
    path: list[str] = []
    kinds: list[str] = []
    name, position = "", 0
    while position < len(text):
        sign = text[position]
        if sign == '"':
            found = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL).match(text, position)
            if found is None:
                return None
            position = found.end()
            if re.compile(r"\s*:").match(text, position):
                name = found[1]
            continue
        if sign == "{" and kinds and kinds[-1] == "[":
            return ".".join(path[1:]) if "[" not in kinds[:-1] and "." not in "".join(path) else None
        if sign in "{[":
            if sign == "[" and "[" in kinds:
                return None
            kinds.append(sign)
            path.append(name)
        elif sign in "}]" and kinds:
            kinds.pop()
            path.pop()
        position += 1
    return None

"""Raw records of a slice of a batch as a table, for the quick way: columns by the names that the records have.

What is odd is left out, for `parse` to judge: whatever a fast parser refuses or changes without an error (a repeated
field, a number of many digits, NUL), and rows that do not fit their header.
"""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from itertools import compress, repeat
from typing import Any

import orjson

from store.csv_reader import Dialect, fitting
from worker.judge.faults import Rejection
from worker.judge.parse import MAX_DEPTH, bad_text, count_fields
from worker.queue.message import RawRecord


class Absent:
    """Stands in a column where a record has no such field."""


ABSENT = Absent()

# What makes a record odd: blanks before a colon hide a repeated field from counting, an escaped colon or quote adds
# a name that is none, and NUL cannot be stored. Each is searched for only where its first sign is found: most are a
# single character, which takes no time.
ODD = {
    " :": ('" :', "  :", "\t :", "\n :", "\r :"),
    "\t": ("\t:",),
    "\n": ("\n:",),
    "\r": ("\r:",),
    "\\": ("\\u0000", "\\u0022", "\\u003a", "\\u003A"),
}

# For a contract of decimals: a number of 16 characters or more may have digits that a float has not, and so has one
# with an exponent below -99. All digits become 0, and all that stands before a number becomes a colon, so that one
# search finds any such number: ten times as fast as a regular expression.
LIKE_NUMBERS = bytes.maketrans(b"0123456789.,[E", b"0" * 11 + b"::e")
LONG = (b":" + b"0" * 16, b":-" + b"0" * 16, b"0e-000")


class Table(ABC):
    """The records of a slice, by the names of their fields."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, ...], list[Any]] = {}

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def rows(self) -> list[dict[str, Any]]:
        """Each record as a dictionary."""

    @abstractmethod
    def column(self, name: str) -> list[Any]:
        """A field of all records; ABSENT where one has none."""

    @abstractmethod
    def beyond(self, known: Collection[str]) -> list[dict[str, Any]] | None:
        """What each record has beside these fields, nulls left out; None where no record has more."""

    def at(self, path: tuple[str, ...]) -> list[Any]:
        """A column of what a path of names leads to; None or ABSENT where it leads nowhere."""
        if path not in self._found:
            name = path[-1]
            self._found[path] = (
                self.column(name)
                if len(path) == 1
                else [each.get(name) if type(each) is dict else None for each in self.at(path[:-1])]
            )
        return self._found[path]


class JsonTable(Table):
    """JSON objects."""

    def __init__(self, objects: list[dict[str, Any]]) -> None:
        super().__init__()
        self._objects = objects

    def __len__(self) -> int:
        return len(self._objects)

    def rows(self) -> list[dict[str, Any]]:
        return self._objects

    def column(self, name: str) -> list[Any]:
        try:
            return [each[name] for each in self._objects]
        except KeyError:
            return [each.get(name, ABSENT) for each in self._objects]

    def beyond(self, known: Collection[str]) -> list[dict[str, Any]] | None:
        names = set().union(*self._objects).difference(known)
        if not names:
            return None
        return [
            {name: value for name, value in each.items() if name in names and value is not None}
            for each in self._objects
        ]


class CsvTable(Table):
    """Rows of cells under one header."""

    def __init__(self, header: list[str], rows: list[list[str]]) -> None:
        super().__init__()
        self._header = header
        self._rows = rows
        self._columns = dict(zip(header, zip(*rows, strict=True), strict=True)) if rows else {}

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> list[dict[str, Any]]:
        return [dict(compress(zip(self._header, row, strict=True), row)) for row in self._rows]

    def column(self, name: str) -> list[Any]:
        cells = self._columns.get(name)
        if cells is None:
            return [ABSENT] * len(self._rows)
        return [cell or ABSENT for cell in cells] if "" in cells else list(cells)

    def beyond(self, known: Collection[str]) -> list[dict[str, Any]] | None:
        names = [name for name in self._header if name not in known]
        if not names or not self._rows:
            return None
        cells = zip(*[self._columns[name] for name in names], strict=True)
        return [dict(compress(zip(names, row, strict=True), row)) for row in cells]


def read_csv(
    records: Sequence[RawRecord], header: list[str], dialect: Dialect
) -> tuple[CsvTable, Sequence[int]]:
    """The rows that fit their header, and which of the records they are."""
    if any(map(bad_text, header)):
        return CsvTable([], []), ()
    texts = [record if isinstance(record, str) else "" for record in records]
    try:
        rows = dialect.rows(texts)
    except csv.Error:
        rows = []
    if len(rows) != len(texts):  # a quote that is not closed has run two rows together
        rows = [_row(text, dialect) for text in texts]
    width, odd = len(header), set()
    if set(map(len, rows)) != {width} or width == 0:
        rows = [fitting(row, header) or [] for row in rows]
        odd = {number for number, row in enumerate(rows) if len(row) != width or not width}
    if bad_text("".join(texts)):
        odd.update(number for number, text in enumerate(texts) if bad_text(text))
    odd.update(number for number, record in enumerate(records) if type(record) is not str)
    fit = [number for number in range(len(rows)) if number not in odd] if odd else range(len(rows))
    header, rows = _named(header, [rows[number] for number in fit] if odd else rows)
    return (CsvTable(header, rows), fit) if len(set(header)) == len(header) else (CsvTable([], []), ())


def _named(header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """The rows without the columns that have neither a name nor a cell, where several have no name."""
    if header.count("") < 2 or not rows:
        return header, rows
    there = [bool(name) or any(column) for name, column in zip(header, zip(*rows, strict=True), strict=False)]
    return list(compress(header, there)), [list(compress(row, there)) for row in rows]


def _row(text: str, dialect: Dialect) -> list[str]:
    """A row alone; an empty one where it is none."""
    try:
        rows = dialect.rows([text])
    except csv.Error:  # the careful way finds out why
        return []
    return rows[0] if len(rows) == 1 else []


def read_json(records: Sequence[RawRecord], *, exactly: bool) -> tuple[JsonTable, Sequence[int]]:
    """The objects that are as their text says, and which of the records they are.

    Numbers beyond 64 bits are among them, as floats: whoever takes a value has a look at it.
    """
    objects = _objects(records)
    fit: Sequence[int] = range(len(objects))
    if set(map(type, objects)) != {dict}:
        fit = [number for number in fit if type(objects[number]) is dict]
    texts = [str(records[number]) for number in fit]
    found = [objects[number] for number in fit]
    odd = _odd(texts, found, exactly=exactly)
    if odd:
        found = [each for row, each in enumerate(found) if row not in odd]
        fit = [number for row, number in enumerate(fit) if row not in odd]
    return JsonTable(found), fit


def _objects(records: Sequence[RawRecord]) -> list[Any]:
    """What each record is to orjson; None where it is nothing."""
    try:
        return list(map(orjson.loads, records))  # type: ignore[arg-type]
    except orjson.JSONDecodeError:
        return [_object(record) for record in records]


def _object(record: RawRecord) -> Any:
    try:
        return orjson.loads(record)  # type: ignore[arg-type]
    except orjson.JSONDecodeError:  # the careful way finds out why
        return None


def _odd(texts: list[str], objects: list[dict[str, Any]], *, exactly: bool) -> set[int]:
    """The rows whose object may not be all that their text says."""
    written = "\n".join(texts)
    names = written.count('":')
    # As many names in the text as there are fields: none is repeated, none is nested.
    is_flat = names == sum(map(len, objects))
    odd = _marked(texts, written)
    if not is_flat or "[" in written:
        odd |= _too_deep(texts, objects)
    if odd:  # the counts are of all records, so those are counted again without them
        rest = [row for row in range(len(texts)) if row not in odd]
        found = _odd([texts[row] for row in rest], [objects[row] for row in rest], exactly=exactly)
        return odd | {rest[row] for row in found}
    if not is_flat and orjson.dumps(objects).count(b'":') != names:
        odd = {
            row
            for row, (text, each) in enumerate(zip(texts, objects, strict=True))
            if orjson.dumps(each).count(b'":') != text.count('":')
        }
    if exactly and _has_long_number(written):
        odd |= {row for row, text in enumerate(texts) if _has_long_number(text)}
    return odd


def _marked(texts: list[str], written: str) -> set[int]:
    """Rows with a sign of what is odd: mostly none, and then no text is searched by itself."""
    signs = [each for sign, each_of in ODD.items() if sign in written for each in each_of if each in written]
    if not signs:
        return set()
    return {row for row, text in enumerate(texts) if any(sign in text for sign in signs)}


def _too_deep(texts: list[str], objects: list[dict[str, Any]]) -> set[int]:
    braces, brackets = (list(map(str.count, texts, repeat(sign))) for sign in "{[")
    if max(braces, default=0) + max(brackets, default=0) <= MAX_DEPTH:
        return set()
    return {
        row
        for row, each in enumerate(objects)
        if braces[row] + brackets[row] > MAX_DEPTH and _is_too_deep(each)
    }


def _is_too_deep(value: dict[str, Any]) -> bool:
    try:
        count_fields(value)
    except Rejection:  # the careful way names the depth
        return True
    return False


def _has_long_number(text: str) -> bool:
    like = text.encode().translate(LIKE_NUMBERS, b" \t\r\n")
    return any(long in like for long in LONG)

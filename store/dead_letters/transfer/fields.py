"""The raw fields of a letter's payload: each value as its payload writes it, so that nothing of it is lost.

A value is JSON text; a cell of a CSV row is its text as JSON.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping

from store.csv_reader import Dialect, fitting
from store.errors import InputError
from store.tables.dead_letters import DeadLetter

# Numbers as text: a long integer would take its time, and Python refuses one of 5,000 digits.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_BLANKS = re.compile(r"[ \t\n\r]*")


def fields_of(letter: DeadLetter) -> dict[str, str]:
    """name -> value as JSON text. Raises InputError that says why the payload has no fields."""
    if letter.payload_digest:
        raise InputError("only the first 4 KiB of the payload are stored")
    if is_undecoded(letter):
        raise InputError("the payload is bytes that do not decode")
    text = letter.raw.decode()
    if letter.format == "csv" and letter.header:
        return {name: as_json(cell) for name, cell in _cells(text, letter.header["columns"], letter).items()}
    return values_of(text)


def is_undecoded(letter: DeadLetter) -> bool:
    """Whether the payload is bytes of the file, and no text. Text is base64 only for a NUL in it."""
    if letter.encoding != "base64":
        return False
    if letter.reason == "undecodable" or b"\0" not in letter.raw:
        return True
    try:
        letter.raw.decode()
    except UnicodeDecodeError:  # that is the answer
        return True
    return False


def names_of(letter: DeadLetter) -> list[str]:
    """The names that a letter's fields have or, in a CSV file, may have. Raises InputError where it has no fields."""
    found = fields_of(letter)
    if letter.format == "csv" and letter.header:
        return [name for name in letter.header["columns"] if name or name in found]
    return list(found)


def _cells(text: str, columns: list[str], letter: DeadLetter) -> dict[str, str]:
    try:
        rows = Dialect.from_wire(letter.header or {}).rows([text])
    except csv.Error as error:
        raise InputError("the payload is no row of CSV") from error
    cells = fitting(rows[0], columns) if len(rows) == 1 else None
    if cells is None:
        raise InputError("the payload has another number of cells than its file has columns")
    named = [(name, cell) for name, cell in zip(columns, cells, strict=True) if name or cell]
    if len({name for name, _ in named}) < len(named):
        raise InputError("a column stands twice in the header of its file")
    return {name: cell for name, cell in named if cell}


def values_of(text: str) -> dict[str, str]:
    """The values of one JSON object, each as it is written. Raises InputError for what is none."""
    try:
        return _object(text)
    except (ValueError, RecursionError, IndexError):
        raise InputError("the payload is not JSON") from None


def _object(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = _after_blanks(text, 0)
    if text[at] != "{":
        _, at = _DECODER.raw_decode(text, at)
        _end(text, at)
        raise InputError("the payload is not an object")
    at = _after_blanks(text, at + 1)
    while text[at] != "}":
        if found:
            at = _after(text, at, ",")
        if text[at] != '"':
            raise ValueError(text[at])
        name, at = _DECODER.raw_decode(text, at)
        start = _after(text, _after_blanks(text, at), ":")
        _, at = _DECODER.raw_decode(text, start)
        if name in found:
            raise InputError("a field stands twice in the payload")
        found[name] = text[start:at]
        at = _after_blanks(text, at)
    _end(text, at + 1)
    return found


def _after(text: str, at: int, sign: str) -> int:
    if text[at] != sign:
        raise ValueError(sign)
    return _after_blanks(text, at + 1)


def _after_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return found.end() if found else at


def _end(text: str, at: int) -> None:
    if _after_blanks(text, at) != len(text):
        raise ValueError("more")


def as_json(text: str) -> str:
    """A text as JSON, in ASCII."""
    return json.dumps(text)


def object_of(values: Mapping[str, str]) -> str:
    """The inverse of `values_of`: one JSON object."""
    return "{" + ",".join(f"{as_json(name)}:{value}" for name, value in values.items()) + "}"

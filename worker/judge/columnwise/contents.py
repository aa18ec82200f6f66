"""Validated columns as they are stored, and the content hash of each row: the same as `columns` makes of one record."""

from __future__ import annotations

import math
import re
from datetime import date
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from typing import Any

import orjson
from pydantic_core import to_jsonable_python

from store import hashing
from worker.contract import IDENTITY, Contract
from worker.judge.columns import by_value, canonical, decimal_columns, stored
from worker.judge.columnwise.mapping import NoneType, Slice
from worker.judge.faults import Rejection
from worker.judge.parse import INT64_MAX, INT64_MIN, bad_text

Column = list[Any]
EXACT_DIGITS = 15  # a decimal of so many digits is the decimal of its float
PLAIN_DIGITS = re.compile(r"[-0-9.,]*")


class Contents:
    """How a contract's columns are stored and hashed."""

    def __init__(self, contract: Contract) -> None:
        self._columns = [(name, kind) for name, kind in contract.kinds.items() if name not in IDENTITY]
        self._exact = contract.exact
        self._names = sorted([*contract.kinds, "extra"])

    def write_keys(self, records: Slice) -> None:
        """The keys as text, as the slice's own "key"; records whose key cannot be stored drop out."""
        keys = records.fields["key"]
        if set(map(type, keys)) != {str}:
            keys = [key if type(key) is str else str(to_jsonable_python(key)) for key in keys]
        records.own["key"] = keys
        records.drop(unstorable_texts(keys))

    def stored(self, records: Slice) -> tuple[list[Column], dict[str, Column]]:
        """(the contract's columns as they are stored, those that are hashed as something else than they are).

        Records with a value that no column can hold drop out.
        """
        while True:
            odd: set[int] = set()
            columns: list[Column] = []
            hashed: dict[str, Column] = {}
            for name, kind in self._columns:
                if kind == "decimal":
                    numbers, digits, hashed[name] = decimals(name, records.fields[name], odd)
                    columns += [numbers, digits] if name in self._exact else [numbers]
                else:
                    given = records.fields[name]
                    held = stored_column(name, kind, given, odd)
                    columns.append(held)
                    if (
                        held is not given and kind != "json"
                    ):  # values that the column holds alike are one content
                        hashed[name] = held
            if not odd:
                return columns, hashed
            records.drop(odd)

    def hashes(self, records: Slice, hashed: dict[str, Column]) -> list[bytearray]:
        """The content hash of each record: of its fields as canonical JSON, in the order of their names."""
        parts: list[str] = []
        columns: list[list[bytes]] = []
        for name in self._names:
            if name == "extra":
                if "extra" in records.own:
                    columns.append([b'"extra":%b,' % text if text else b"" for text in records.own["extra"]])
                    parts.append("%b")
                continue
            column = records.own["ts"] if name == "ts" else hashed.get(name, records.fields.get(name, []))
            is_text, written = json_of(column)
            columns.append(written)
            label = orjson.dumps(name).decode().replace("%", "%%")
            parts.append(f'{label}:"%b",' if is_text else f"{label}:%b,")
        body = b"{" + "".join(parts).rstrip(",").encode() + b"}"
        # A copy of a new hash takes two thirds of the time of another new one.
        new, contents = blake2b(digest_size=hashing.BYTES).copy, []
        for row in zip(*columns, strict=True):
            one = new()
            one.update(body % row)
            contents.append(bytearray(one.digest()))
        return contents


def json_of(column: Column) -> tuple[bool, list[bytes]]:
    """(whether all are text, the canonical JSON of each value, without the quotes of text).

    The column is written as one list and taken apart at its commas, where these can be nothing else: that is five
    times as fast as a call for each.
    """
    if not column:
        return False, []
    whole = canonical(column, by_value)
    if b'"' not in whole and b"{" not in whole and b"[" not in whole[1:]:
        return False, whole[1:-1].split(b",")
    # Without an escaped quote every quote is one around a text; if all but the first and the last stand in `","`,
    # with two a value, no value is anything but text.
    if whole[1:2] == whole[-2:-1] == b'"' and b'\\"' not in whole and whole.count(b'"') == 2 * len(column):
        written = whole[2:-2].split(b'","')
        if len(written) == len(column):
            return True, written
    return False, [canonical(value, by_value) for value in column]


def stored_column(name: str, kind: str, column: Column, odd: set[int]) -> Column:
    """A column as it is stored; the rows whose value cannot be are added to `odd`."""
    kinds = set(map(type, column))
    simple = kinds - {NoneType}
    if kind != "json" and simple <= {str}:
        odd |= unstorable_texts(column if simple == kinds else [value or "" for value in column])
        return column
    if kind != "json" and simple <= {float}:
        numbers = column if simple == kinds else [value or 0.0 for value in column]
        if not all(map(math.isfinite, numbers)):
            odd |= {row for row, value in enumerate(numbers) if not math.isfinite(value)}
        if 0.0 in numbers:  # -0.0 is 0.0
            return [value if value is None else value + 0.0 for value in column]
        return column
    if kind != "json" and simple <= {int, bool}:
        numbers = column if simple == kinds else [value or 0 for value in column]
        if not (min(numbers) >= INT64_MIN and max(numbers) <= INT64_MAX):
            odd |= {row for row, value in enumerate(numbers) if not INT64_MIN <= value <= INT64_MAX}
        return column
    if kind != "json" and kinds == {date}:
        return [value.isoformat() for value in column]
    return _each_stored(name, kind, column, odd)


def _each_stored(name: str, kind: str, column: Column, odd: set[int]) -> Column:
    found: Column = []
    members: dict[int, Any] = {}  # of an enumeration there are few, and each is written the same every time
    for row, value in enumerate(column):
        if id(value) in members:
            found.append(members[id(value)])
            continue
        made = None
        try:
            made = stored(name, value, kind)
        except Rejection:
            odd.add(row)
        else:
            if isinstance(value, Enum):
                members[id(value)] = made
        found.append(made)
    return found


def decimals(name: str, column: Column, odd: set[int]) -> tuple[Column, Column, Column]:
    """(numbers, the digits of those that their number does not hold, what is hashed) of a column of decimals."""
    texts = list(map(str, column))
    short = max(map(len, texts)) <= EXACT_DIGITS and PLAIN_DIGITS.fullmatch(",".join(texts))
    if short and set(map(type, column)) == {Decimal}:
        hashed = [text.rstrip("0").rstrip(".") if "." in text else text for text in texts]
        if "-0" in hashed:
            hashed = ["0" if text == "-0" else text for text in hashed]
        return list(map(float, texts)), [None] * len(column), hashed
    numbers: Column = []
    digits: Column = []
    for row, value in enumerate(column):
        number = exact = None
        try:
            number, exact = decimal_columns(name, value)
        except Rejection:
            odd.add(row)
        numbers.append(number)
        digits.append(exact)
    return numbers, digits, column


def unstorable_texts(column: list[str]) -> set[int]:
    """The rows of text that no column can hold: mostly none, which one look at all of them tells."""
    whole = "".join(column)
    if not bad_text(whole) if not whole.isascii() else "\0" not in whole:
        return set()
    return {row for row, text in enumerate(column) if bad_text(text)}

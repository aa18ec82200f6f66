"""A raw record's text -> a dictionary, strictly: what JSON leaves open is settled here.

orjson reads nearly every record. What it refuses, and what it would silently bend (a repeated field, an
integer it turns into a float), is read again with the standard library, which can be told to be exact.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

import orjson

from store.csv_reader import Dialect, fitting
from store.tables.dead_letters import Sendable
from store.text import storable_name
from worker.judge.faults import Fault, Rejection, invalid
from worker.queue.message import Opaque, RawRecord, raw_record

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MAX_DEPTH = 64
TOO_DEEP = Fault("too_deep", None, f"nested more than {MAX_DEPTH} deep")
BLANKS = " \t\n\r\v\f"  # around a number or a time in text
# Python reads more as numbers: 1_000, the digits of other scripts, inf.
NUMBER_CHARACTERS = "0123456789+-.eE" + BLANKS
UNDECODABLE = "undecodable"
UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Unusable:
    """Stands where a value was that no column can hold: NaN, an infinity, an integer outside int64."""

    why: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """How numbers are read that a binary one of 64 bits does not hold."""

    decimals: bool = False  # with all of their digits, as Decimal; else as floats
    integers: bool = False  # beyond 64 bits as int; else as Unusable


AS_FLOATS = Numbers()
NAME_APART = re.compile(r'"[ \t\n\r]+:')
LONG_NUMBER = re.compile(r"[0-9][0-9.]{15}|[0-9][eE]")


def parse_json(text: str, numbers: Numbers = AS_FLOATS) -> dict[str, Any]:
    """One JSON object. Raises Rejection: malformed_json, not_an_object, duplicate_field, too_deep.

    A value that JSON can write and no column can hold comes back as Unusable: the field's fault alone.
    """
    try:
        raw = orjson.loads(text)
    except orjson.JSONDecodeError:
        return parse_exactly(text, numbers)
    if type(raw) is not dict:
        raise Rejection(Fault("not_an_object", None, f"a record is a JSON object, not {_json_type(raw)}"))
    if may_repeat_a_field(text, raw) or (numbers.decimals and LONG_NUMBER.search(text)):
        return parse_exactly(text, numbers)
    return parse_exactly(text, numbers) if needs_exactness(raw.values()) else raw


def may_repeat_a_field(text: str, raw: dict[str, Any]) -> bool:
    """False where the text has as many `":` as the record has fields: then none can be repeated."""
    may_be_apart = " :" in text or "\t:" in text or "\n:" in text or "\r:" in text
    if may_be_apart and NAME_APART.search(text):
        return True
    return text.count('":') != count_fields(raw)


def count_fields(value: Any, level: int = 1) -> int:
    """Fields of an object and of all objects within it. Raises Rejection: too_deep."""
    if level > MAX_DEPTH:
        raise Rejection(TOO_DEEP)
    found = len(value) if type(value) is dict else 0
    for inner in value.values() if type(value) is dict else value:
        if type(inner) is dict or type(inner) is list:
            found += count_fields(inner, level + 1)
    return found


def needs_exactness(values: Iterable[Any]) -> bool:
    """Whether orjson may have bent an integer among these: those beyond 64 bits come back as floats."""
    for value in values:
        kind = type(value)
        if kind is str:
            continue
        if kind is float or kind is int:
            if not INT64_MIN < value <= INT64_MAX:  # -2**63 may be the float of a lesser integer
                return True
        elif (kind is dict and needs_exactness(value.values())) or (kind is list and needs_exactness(value)):
            return True
    return False


def parse_exactly(text: str, numbers: Numbers = AS_FLOATS) -> dict[str, Any]:
    """As `parse_json`, with the standard library: ten times as slow, and nothing is bent."""
    return _parsed(
        text,
        parse_int=_any_integer if numbers.integers else _integer,
        parse_float=_decimal if numbers.decimals else _float,
        parse_constant=lambda name: Unusable(f"{name} is no number"),
    )


class Digits(str):
    """A number of JSON as it is written; also NaN and the infinities, which JSON does not have."""


def parse_as_written(text: str) -> dict[str, Any]:
    """As `parse_exactly`, with every number as its Digits."""
    return _parsed(text, parse_int=Digits, parse_float=Digits, parse_constant=Digits)


def _parsed(text: str, **hooks: Any) -> dict[str, Any]:
    if depth(text) > MAX_DEPTH:
        raise Rejection(TOO_DEEP)
    try:
        raw = json.loads(text, object_pairs_hook=_object, **hooks)
    except ValueError as error:
        _malformed(error)
    if type(raw) is not dict:
        raise Rejection(Fault("not_an_object", None, f"a record is a JSON object, not {_json_type(raw)}"))
    return raw


def depth(text: str) -> int:
    """How deep brackets nest, strings left out; without recursion, whatever the text."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return 0  # cannot be too deep: the exact figure is nobody's concern
    deepest = level = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in "{[":
            level += 1
            deepest = max(deepest, level)
        elif character in "}]":
            level -= 1
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        name = repeated([name for name, _ in pairs])
        raise Rejection(Fault("duplicate_field", storable_name(name), "the field stands twice"))
    return found


def _integer(digits: str) -> int | Unusable:
    value = int(digits) if len(digits) <= 20 else None
    if value is None or not INT64_MIN <= value <= INT64_MAX:
        return Unusable("the integer does not fit into 64 bits")
    return value


def number_of(digits: str, numbers: Numbers) -> Decimal | float | int | Unusable:
    """A number as `parse_exactly` reads it in a record."""
    if digits.removeprefix("-").isdigit():
        return _any_integer(digits) if numbers.integers else _integer(digits)
    return _decimal(digits) if numbers.decimals else _float(digits)


MOST_DIGITS = 1000


def _any_integer(digits: str) -> int | Unusable:
    return int(digits) if len(digits) <= MOST_DIGITS else Unusable("the integer does not fit into 64 bits")


def _decimal(text: str) -> Decimal | float | Unusable:
    value = float(text)
    if not math.isfinite(value):
        return Unusable("the number is infinite")
    exact = Decimal(text)
    return value if Decimal(repr(value)) == exact else exact


def _float(text: str) -> float | Unusable:
    value = float(text)
    return value if math.isfinite(value) else Unusable("the number is infinite")


def _malformed(error: ValueError) -> NoReturn:
    position = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
    reported = error.msg if isinstance(error, json.JSONDecodeError) else "not JSON"
    raise Rejection(Fault("malformed_json", None, f"{reported}{position}")) from None


def _json_type(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def parse_csv(text: str, header: list[str], dialect: Dialect) -> dict[str, Any]:
    """One CSV row under its header; an empty cell is an absent field. Raises Rejection: malformed_csv,
    duplicate_field."""
    try:
        rows = dialect.rows([text])
    except csv.Error as error:
        raise Rejection(Fault("malformed_csv", None, str(error))) from None
    cells = fitting(rows[0], header) if len(rows) == 1 else None
    if cells is None:
        number = len(rows[0]) if rows else 0
        raise Rejection(Fault("malformed_csv", None, f"{number} cells under {len(header)} column names"))
    names = header
    if "" in header:  # a column without a name is none where it is empty
        names = [name for name, cell in zip(header, cells, strict=True) if name or cell]
    if len(set(names)) != len(names):
        name = storable_name(repeated(names))
        raise Rejection(Fault("duplicate_field", name, "the column stands twice in the header"))
    return {name: cell for name, cell in zip(header, cells, strict=True) if cell}


def repeated(names: list[str]) -> str:
    """The first name that stands before."""
    seen: set[str] = set()
    return next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]


def check_extra(name: str, value: Any, level: int = 1) -> None:
    """Raises Rejection where a field beyond the contract holds what no column can."""
    if isinstance(value, Unusable):
        raise Rejection(invalid(name, value.why, "unusable", value))
    if isinstance(value, str):
        if why := bad_text(value):
            raise Rejection(invalid(name, why, "text", value))
    elif isinstance(value, float) and not math.isfinite(value):  # a mapping may compute one
        raise Rejection(invalid(name, "the number is infinite or none", "finite_number", value))
    elif isinstance(value, int) and not INT64_MIN <= value <= INT64_MAX:
        raise Rejection(invalid(name, "the integer does not fit into 64 bits", "int64", value))
    elif isinstance(value, dict | list):
        if level >= MAX_DEPTH:
            raise Rejection(Fault("too_deep", name, f"nested more than {MAX_DEPTH} deep"))
        for inner in value.values() if isinstance(value, dict) else value:
            check_extra(name, inner, level + 1)
        if isinstance(value, dict):
            for key in value:
                check_extra(name, key)


def bad_text(value: str) -> str | None:
    """Why a text cannot be stored; None where it can."""
    if not UNSTORABLE.search(value):
        return None
    return "contains a NUL character" if "\0" in value else "contains a lone surrogate"


def is_undecoded(letter: Sendable) -> bool:
    """Whether the payload is bytes of the file, and not the text that was read from them.

    Text is base64 only for a NUL in it.
    """
    if letter.encoding != "base64":
        return False
    return (
        letter.reason == UNDECODABLE or b"\0" not in letter.raw or isinstance(raw_record(letter.raw), Opaque)
    )


def record_of(letter: Sendable) -> RawRecord:
    """The record of a letter, as its file gave it."""
    return Opaque(letter.raw, letter.size, None) if is_undecoded(letter) else raw_record(letter.raw)

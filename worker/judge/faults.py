"""A rejection: what is wrong with one raw record, in the words of dead letters (semantics, section 5)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

from rq.timeouts import BaseTimeoutException

from store.errors import SluiceError

ABSENT = object()  # the value of a field that is not there
# Digits, blanks, letters, or one mark.
PARTS = re.compile(r"\d+|\s+|[^\W\d_]+|.", re.DOTALL)
MAX_PARTS = 12
MAX_SHAPED = 80  # characters
# Each character of ASCII -> the one that stands for its kind.
KINDS = {
    code: "0"
    if chr(code).isdigit()
    else "a"
    if chr(code).isalpha()
    else " "
    if chr(code).isspace()
    else chr(code)
    for code in range(128)
}
SHAPES = {
    type(ABSENT): "absent",
    type(None): "null",
    bool: "true or false",
    list: "list",
    tuple: "list",
    dict: "object",
}

FIELD_WORDS = {"ts": "timestamp"}  # `missing_timestamp`, not `missing_ts`


# What may be raised while a record is judged, and says nothing about the record.
NOT_DATA = (MemoryError, RecursionError, BaseTimeoutException, SluiceError)


class Fault(NamedTuple):
    """One thing wrong with a record. Messages name the rule, never the record's values."""

    reason: str
    field: str | None
    message: str
    rule: str = ""  # pydantic's type of the error, or a name of ours; empty: the reason says it
    shape: str = ""  # of the value at the field: see `shape_of`


class Rejection(Exception):
    """A raw record breaks its contract: it becomes a dead letter. The first fault names the reason."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults[0].reason)
        self.faults = faults


def missing(field: str, value: Any = ABSENT) -> Fault:
    """A required field that is not there, or is null or blank."""
    reason = f"missing_{FIELD_WORDS.get(field, field)}"
    return Fault(reason, field, "a value is required", "missing", shape_of(value))


def invalid(field: str, message: str, rule: str, value: Any = ABSENT) -> Fault:
    """A value that breaks a rule of its field."""
    reason = f"invalid_{FIELD_WORDS.get(field, field)}"
    return Fault(reason, field, message, rule, shape_of(value))


def shape_of(value: Any) -> str:
    """What kind of value this is, without the value: `d+,d+` for `12,50`, `a+_a+` for two words, `number`.

    `d+` stands for digits, `a+` for letters, `_` for blanks, `?` for a character that cannot be printed; marks stay.
    Letters with one shape are fixed by one edit, so the number of shapes must stay small: long ones are `text`.
    """
    if type(value) is str:
        return _shape_of_text(value)
    return SHAPES.get(type(value), "number")


def _shape_of_text(value: str) -> str:
    if not value:
        return "empty"
    if value.isspace():
        return "blank"
    if len(value) > MAX_SHAPED:
        return "text"
    # Values of ASCII with characters of the same kinds have one shape; looking it up saves 3 µs a fault.
    return _shape_of_parts(value.translate(KINDS) if value.isascii() else value)


@lru_cache(maxsize=4096)
def _shape_of_parts(value: str) -> str:
    parts = [_part(each) for each in PARTS.findall(value)]
    return "".join(parts) if len(parts) <= MAX_PARTS else "text"


def _part(part: str) -> str:
    first = part[0]
    if first.isdigit():
        return "d+"
    if first.isspace():
        return "_"
    if first.isalpha():
        return "a+"
    return first if first.isprintable() else "?"

"""What a replay changes in the payloads that it sends back: one edit an action, stored with it.

An edit names raw fields, those of the payload, and those within objects by their path: see `store.paths`. It is applied
in this order: rename, drop, cast, default, set. The digits of numbers that it does not change stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, Self

import orjson

from store import paths, timestamps
from store.errors import InputError, UsageError

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
DECIMAL_COMMA = re.compile(r"([+-]?)(\d{1,3}(?:[. '\u00a0\u202f]\d{3})+|\d+)(?:,(\d+))?", re.ASCII)
THOUSANDS = re.compile(r"([+-]?)(\d{1,3}(?:[, '\u00a0\u202f]\d{3})+|\d+)(?:\.(\d+))?", re.ASCII)
CURRENCY = re.compile(r"^\s*(?:[A-Z]{3}|[$€£¥])\s*|\s*(?:[A-Z]{3}|[$€£¥])\s*$")
NOT_DIGITS = re.compile(r"\D+", re.ASCII)
WITHOUT_DIGITS = {str, bool, type(None)}
APART = re.compile(r'"[ \t\n\r]+:')
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{1,20})?")


@dataclass(frozen=True)
class Edit:
    """What to change in a payload before it is validated again."""

    set: dict[str, Any] = field(default_factory=dict)  # new values; None removes the field
    default: dict[str, Any] = field(default_factory=dict)  # values where the field is absent, null or blank
    rename: dict[str, str] = field(default_factory=dict)  # old name -> new name
    cast: dict[str, str] = field(default_factory=dict)  # field -> how its text is read: see `CASTS`
    drop: tuple[str, ...] = ()
    payload: str | None = None  # replaces the whole payload

    @cached_property
    def is_empty(self) -> bool:
        """Whether letters are sent back as they are."""
        return self == Edit()

    @property
    def names(self) -> list[str]:
        """The fields that must be there for it to do anything."""
        return [*self.rename, *self.drop, *self.cast, *self.default, *self.set]

    def to_text(self) -> str | None:
        """As JSON, for the action; None where nothing is changed."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        text = orjson.dumps({name: value for name, value in given.items() if value}).decode()
        return None if self.is_empty else text

    @classmethod
    def from_text(cls, stored: str | None) -> Self:
        """The inverse of `to_text`."""
        return cls.of(json_body(stored)) if stored else cls()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The edit of a file. Raises UsageError for what is none."""
        parts = {each.name: each for each in fields(cls)}
        for name, value in given.items():
            if name not in parts:
                raise UsageError(f"an edit has no {name!r}: it has {', '.join(parts)}")
            wanted: Any = list | tuple if name == "drop" else str if name == "payload" else Mapping
            if not isinstance(value, wanted):
                raise UsageError(f"an edit's {name!r} is not a {type(value).__name__}")
        edit = cls(**{**given, "drop": tuple(given.get("drop", ()))})
        edit.check()
        return edit

    def check(self) -> None:
        """Raises UsageError for a cast that there is not, and names that are none."""
        if not all(
            isinstance(each, str) for each in (*self.rename.values(), *self.cast.values(), *self.drop)
        ):
            raise UsageError("an edit's rename, cast and drop have texts")
        for name, how in self.cast.items():
            if not is_cast(how):
                raise UsageError(f"--cast {name}={how}: {WHAT_CASTS_ARE}")

    def apply(self, body: dict[str, Any]) -> bytes:
        """The payload as it is sent, JSON. Raises InputError for one that JSON cannot hold."""
        changed = self._of_top(body) if self._names_the_top else self._of_paths(body)
        try:
            return orjson.dumps(
                {name: value for name, value in changed.items() if value is not None}
                if None in changed.values()
                else changed
            )
        except TypeError as error:
            raise InputError(f"the edited payload is no JSON: {error}") from error

    @cached_property
    def _names_the_top(self) -> bool:
        """Whether it names no field within an object: that is quicker."""
        return not any("." in name or "\\" in name for name in (*self.names, *self.rename.values()))

    def _of_top(self, body: dict[str, Any]) -> dict[str, Any]:
        changed = dict(body)
        if self.rename:
            changed = {self.rename.get(name, name): value for name, value in body.items()}
        for name in self.drop:
            changed.pop(name, None)
        for name, how in self.cast.items():
            text = text_to_cast(changed.get(name), how)
            if text is not None and ((found := cast(text, how)) is not text or how == "text"):
                changed[name] = found
        for name, value in self.default.items():
            held = changed.get(name)
            if held is None or (isinstance(held, str) and not held.strip()):
                changed[name] = value
        return changed | self.set

    def _of_paths(self, body: dict[str, Any]) -> dict[str, Any]:
        """Raises InputError where a field is to be put into what is no object."""
        changed = dict(body)
        # All are taken first: two fields may exchange their names.
        taken = [(new, paths.take(changed, paths.split(old))) for old, new in self.rename.items()]
        for new, value in taken:
            if value is not paths.ABSENT:
                _put(changed, new, value)
        for name in self.drop:
            paths.take(changed, paths.split(name))
        for name, how in self.cast.items():
            text = text_to_cast(paths.value_at(changed, paths.split(name)), how)
            if text is not None and ((found := cast(text, how)) is not text or how == "text"):
                _put(changed, name, found)
        for name, value in self.default.items():
            held = paths.value_at(changed, paths.split(name))
            if held is None or held is paths.ABSENT or (isinstance(held, str) and not held.strip()):
                _put(changed, name, value)
        for name, value in self.set.items():
            _put(changed, name, value)
        return changed


def _put(body: dict[str, Any], name: str, value: Any) -> None:
    """Puts a value, or takes the field out where it is None. Raises InputError."""
    path = paths.split(name)
    if value is None:
        paths.take(body, path)
        return
    try:
        paths.put(body, path, value)
    except ValueError as error:
        raise InputError(str(error)) from error


def text_to_cast(value: Any, how: str) -> str | None:
    """The text of a value that a cast reads: also the digits of a number, where that can be a time or a text."""
    if isinstance(value, str):
        return value
    if isinstance(value, orjson.Fragment) and reads_numbers(how):
        return orjson.dumps(value).decode()
    return None


def cast(text: str, how: str) -> Any:
    """The text read this way; the text itself where it cannot be."""
    if read := CASTS.get(how):
        return read(text)
    divisor = DIVISOR.fullmatch(how)
    return _divided(text, len(divisor[1])) if divisor else _time(text, how.removeprefix("time:"))


def is_cast(how: str) -> bool:
    """Whether there is such a cast."""
    if how.startswith("time:"):
        return timestamps.is_layout(how.removeprefix("time:"))
    return how in CASTS or DIVISOR.fullmatch(how) is not None


def reads_numbers(how: str) -> bool:
    """Whether a cast reads the digits of a number too, and not texts alone."""
    return how in OF_NUMBERS or how.startswith(("time:", "divide:"))


def _divided(text: str, zeros: int) -> Any:
    """A number divided by a power of ten: no digit is lost."""
    plain = text.strip()
    if not NUMBER.fullmatch(plain):
        return text
    number = Decimal(plain)
    if abs(number.adjusted()) > MOST_ZEROS:
        return text
    sign, figures, exponent = number.as_tuple()
    found = f"{Decimal((sign, figures, int(exponent) - zeros)):f}"
    # An integer stays one: 19.00 would be read as a float, which does not hold all integers.
    return digits(found.rstrip("0").rstrip(".") if "." in found else found)


def _number(text: str) -> Any:
    plain = text.strip()
    return digits(plain.removeprefix("+")) if NUMBER.fullmatch(plain) else text


def _grouped(pattern: re.Pattern[str]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        found = pattern.fullmatch(text.strip())
        if not found:
            return text
        sign, whole, fraction = found.groups()
        if not whole.isdigit():
            whole = NOT_DIGITS.sub("", whole)
        # Written as `digits` would: the pattern leaves nothing to ask.
        minus, dot = ("-" if sign == "-" else ""), ("." if fraction else "")
        return orjson.Fragment(f"{minus}{whole.lstrip('0') or '0'}{dot}{fraction or ''}")

    return read


def _currency(read: Callable[[str], Any]) -> Callable[[str], Any]:
    def read_amount(text: str) -> Any:
        amount = CURRENCY.sub("", text)
        found = read(amount)
        return text if found is amount else found

    return read_amount


def _epoch(units: int) -> Callable[[str], Any]:
    """Reads a number of units since 1970, of which a second has so many."""

    def read(text: str) -> Any:
        if not EPOCH_NUMBER.fullmatch(text.strip()):
            return text
        try:
            micros = round(Decimal(text.strip()) * 10**6 / units)
            return (EPOCH + timedelta(microseconds=micros)).isoformat()
        except OverflowError:
            return text

    return read


def _time(text: str, format: str) -> str:
    """The time as ISO 8601, without an offset where the format has none: the source's `assume_tz` reads it."""
    try:
        return timestamps.in_layout(text.strip(), format).isoformat()
    except ValueError:
        return text


CASTS: dict[str, Callable[[str], Any]] = {
    "trim": str.strip,
    "text": str,
    "number": _number,
    "decimal-comma": _grouped(DECIMAL_COMMA),
    "thousands": _grouped(THOUSANDS),
    "currency": _currency(_number),
    "currency-comma": _currency(_grouped(DECIMAL_COMMA)),
    "currency-thousands": _currency(_grouped(THOUSANDS)),
    "epoch": _epoch(1),
    "epoch-ms": _epoch(1000),
}
OF_NUMBERS = ("text", "epoch", "epoch-ms")
DIVISOR = re.compile(r"divide:1(0{1,9})")
MOST_ZEROS = 300
WHAT_CASTS_ARE = (
    f"a cast is one of {', '.join(CASTS)}, divide:100 (or another power of ten), "
    "or time:FORMAT like time:%d.%m.%Y, in the codes of strptime and with a year"
)


def digits(text: str) -> orjson.Fragment:
    """A number of JSON with just these digits: no float bends them."""
    whole, dot, rest = text.partition(".")
    sign, whole = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    whole = whole.lstrip("0") or "0" if whole.isdigit() else whole or "0"
    rest = f"0{rest}" if dot and not rest[:1].isdigit() else rest
    return orjson.Fragment(sign + whole + dot + rest)


def json_body(text: str) -> dict[str, Any]:
    """A payload's fields, numbers as they are written.

    Raises InputError for what is no object, or names a field twice.
    """
    if (quick := _quick_body(text)) is not None:
        return quick
    try:
        body = EXACT.decode(text)
    except (ValueError, RecursionError) as error:
        raise InputError("its payload cannot be read") from error
    if not isinstance(body, dict):
        raise InputError("its payload is not an object")
    return body


def _quick_body(text: str) -> dict[str, Any] | None:
    """As `json_body`, by orjson: a quarter of its 10 µs. None where a value has digits, or a field may stand twice."""
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:  # the exact reader decides, and says what is wrong
        return None
    if type(body) is not dict or not WITHOUT_DIGITS.issuperset(map(type, body.values())):
        return None
    # As many `":` as fields, and no colon further away: then each field stands once.
    if text.count('":') != len(body):
        return None
    may_be_apart = '" ' in text or '"\t' in text or '"\n' in text or '"\r' in text
    return None if may_be_apart and APART.search(text) else body


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InputError("a field stands twice in its payload")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(text)


# Made once: it takes as long as reading a payload.
EXACT = json.JSONDecoder(
    parse_int=orjson.Fragment,
    parse_float=orjson.Fragment,
    parse_constant=_no_constant,
    object_pairs_hook=_once,
)

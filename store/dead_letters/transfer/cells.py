"""A raw value as a cell of a spreadsheet, and a cell back as a value.

A cell that a program would run as a formula, or whose digits it would round, gets an apostrophe in front, and loses it
when the file comes back. The apostrophes are exact: `unmarked(marked(text)) == text` for every text.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import NamedTuple

from store.dead_letters.transfer.fields import as_json
from store.errors import InputError
from store.text import storable

APOSTROPHE = "'"
# What begins a formula (OWASP, "CSV Injection"): also in full width, behind a separator at which a program with other
# settings splits the row, and behind quotes and blanks there. A plain number is none.
_BEGINS = r"(?:\A|(?<=[;|\t\r\n]))"
_PLAIN = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?=[;|\t\r\n\" ]|\Z)"
_FORMULA = re.compile(rf"{_BEGINS}(?=[\" ]*(?!{_PLAIN})[=+\-@\t\r\n\uff0b\uff0d\uff1d\uff20]|')")
_MARKED = re.compile(rf"{_BEGINS}'")
# Digits that a spreadsheet rounds to 15, zeros that it takes off, and what it reads as a number with an exponent.
_BENT = re.compile(r"[+-]?(?:0\d+(?:\.\d+)?|[\d.]{16,}|\d+[eE]\d+)")
_UNSHOWN = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufeff]")
_C1 = re.compile("[\x7f-\x9f]")

LONGEST = 32_767  # characters of a cell: Excel cuts a longer one


def marked(text: str) -> str:
    """A cell that no spreadsheet runs or rounds."""
    if _BENT.fullmatch(text):
        return APOSTROPHE + text
    return _FORMULA.sub(APOSTROPHE, text)


def unmarked(text: str) -> str:
    """The inverse of `marked`."""
    return _MARKED.sub("", text)


def text_of(value: str | None) -> str:
    """What a cell shows of a value, before it is marked: null and a field that is not there are empty."""
    if value is None or value == "null":
        return ""
    if not value.startswith('"'):
        return safe_json(value)
    text: str = json.loads(value)
    return as_json(text) if is_unshown(text) else text


def safe_json(value: str) -> str:
    """The same JSON without control characters that terminals obey: JSON itself escapes the others."""
    return _C1.sub(lambda found: f"\\u{ord(found[0]):04x}", value)


def is_unshown(text: str) -> bool:
    """Whether a text has characters that a cell does not show, or UTF-8 does not have."""
    return _UNSHOWN.search(text) is not None


def _is_escaped(value: str) -> bool:
    """Whether a cell shows the escapes of a text."""
    return value.startswith('"') and is_unshown(json.loads(value))


def _no_constant(name: str) -> None:
    raise ValueError(name)


class Change(NamedTuple):
    """A value that a person changed."""

    value: str | None  # JSON; None: the field is removed
    hint: str = ""  # what a spreadsheet may have done to it


def change_of(cell: str, before: str | None, *, is_text: bool, has_comma: bool) -> Change | None:
    """What a cell makes of the value that it showed; None where it is the same value. Raises InputError.

    `is_text`: it is text whatever it looks like, as in a CSV file. `has_comma`: the program writes decimal commas.
    """
    shown = text_of(before)
    if _lines(cell) == _lines(shown):
        return None
    if why := _cut(shown, cell):
        raise InputError(why)
    if not cell:
        return Change(None)
    value = as_json(cell) if is_text else _typed(cell, before, has_comma=has_comma)
    if before is not None and is_same(value, before):
        return None
    return Change(value, _hint(shown, cell))


def _lines(text: str) -> str:
    """Spreadsheets write other line ends in a cell than they read."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _typed(cell: str, before: str | None, *, has_comma: bool) -> str:
    """The cell with the type that the value had, where it can be read so; else it is text."""
    kind = (before or "null")[0]
    plain = cell.strip()
    if kind in "tf" and plain.lower() in ("true", "false"):
        return plain.lower()
    if kind in "{[" and plain[:1] == kind and is_json(plain):
        return plain
    if kind in "-0123456789NI" and (number := number_of(plain, has_comma=has_comma)):
        return number
    if kind == '"' and cell.startswith('"') and is_json(cell) and _is_escaped(before or ""):
        return cell
    return as_json(cell)


_NUMBER = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?", re.ASCII)
_ONE_GROUP = re.compile(r"[+-]?\d{1,3}([.,])\d{3}", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:([.,' \u00a0\u202f])\d{3})(?:\1\d{3})*(?:[.,]\d*)?", re.ASCII)


def number_of(text: str, *, has_comma: bool) -> str | None:
    """A number as JSON writes it, with its digits; None for what is none.

    Raises InputError for one that may be two: `1,234` is 1234 to some, and 1.234 to others.
    """
    if (one := _ONE_GROUP.fullmatch(text)) and (has_comma or one[1] == ","):
        raise InputError(
            f"{text} may be {re.sub('[.,]', '', text)} or {text.replace(',', '.')}: write it without groups"
        )
    if "," in text or _GROUPED.fullmatch(text):
        decimal = "," if text.rfind(",") > text.rfind(".") else "."
        whole, _, rest = text.partition(decimal) if text.count(decimal) == 1 else (text, "", "")
        if re.search(r"[.,' \u00a0\u202f]", whole) and not _GROUPED.fullmatch(whole):
            return None
        text = re.sub(r"[.,' \u00a0\u202f]", "", whole) + (f".{rest}" if rest else "")
    found = _NUMBER.fullmatch(text)
    if not found or not (found[2] or found[3]):
        return None
    sign, whole, fraction, exponent = found.groups()
    return (
        ("-" if sign == "-" else "")
        + (whole.lstrip("0") or "0")
        + (f".{fraction}" if fraction else "")
        + (f"e{exponent}" if exponent else "")
    )


def is_same(one: str, other: str) -> bool:
    """Whether two JSON texts are one value: numbers by value, text by its characters, 1 is not "1"."""
    try:
        return one == other or _parsed(one) == _parsed(other)
    except (RecursionError, ArithmeticError):  # so deep, or beyond what a Decimal holds
        return False


def is_json(text: str) -> bool:
    """Whether it is one JSON value."""
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # that is the answer
        return False
    return True


def change_of_value(value: str, before: str | None, *, is_text: bool) -> Change | None:
    """The same for a value of NDJSON: null removes the field. `is_text`: in a CSV file, empty text is no value."""
    shown, removed = ("null" if before is None else before), ("null", '""') if is_text else ("null",)
    if is_same(value, shown) or (value in removed and shown in removed):
        return None
    return Change(None if value in removed else value)


class _Name(NamedTuple):
    """true, false, null, NaN and the infinities: Python's 1 and True are equal."""

    name: str


def _parsed(text: str) -> object:
    found = json.loads(text, parse_int=Decimal, parse_float=Decimal, parse_constant=_Name)
    return _strict(found)


def _strict(value: object) -> object:
    if isinstance(value, bool):
        return _Name(str(value))
    if isinstance(value, dict):
        return {name: _strict(each) for name, each in value.items()}
    return [_strict(each) for each in value] if isinstance(value, list) else value


# --- what spreadsheets do to cells that nobody touched ---

_LONG = re.compile(r"[+-]?\d{12,}", re.ASCII)
_ROUNDED = re.compile(r"[+-]?\d(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)")


def _cut(before: str, after: str) -> str | None:
    """Why a cell lost what nobody can want to lose; None where it did not."""
    if len(before) > len(after) >= LONGEST - 1 and before.startswith(after):
        return f"the spreadsheet has cut its {len(before):,} characters to {len(after):,}"
    if not _LONG.fullmatch(before):
        return None
    is_rounded = len(before) == len(after) and before[:15] == after[:15] and not after[15:].strip("0")
    if _ROUNDED.fullmatch(after):
        exact = Decimal(before)
        is_rounded = abs(Decimal(after.replace(",", ".")) - exact) * 20 < abs(exact)
    if not is_rounded:
        return None
    return f"the spreadsheet has rounded {storable(before)} to {storable(after)}"


def _hint(before: str, after: str) -> str:
    """What a spreadsheet may have done to a cell that nobody meant to change."""
    if (date := _DATE.match(before)) and not _DATE.match(after):
        numbers = {int(each) % 100 for each in re.findall(r"\d+", after)[:3]}
        if {int(each) % 100 for each in date.groups()} == numbers:
            return "a date in other notation"
    if before.lstrip("0") == after and after:
        return "zeros in front are lost"
    if after.count(",") == 1 and before == after.replace(",", "."):
        return "a decimal comma"
    if _ROUNDED.fullmatch(after) and not _ROUNDED.fullmatch(before):
        return "an exponent"
    return ""

"""Text from outside, made safe for where it goes: a terminal, the database and JSON, a spreadsheet."""

from __future__ import annotations

import os
import re

SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_CELL = 80
MAX_NAME = 100
MAX_ERROR = 500
# A cell that begins with one of these is a formula to a spreadsheet, unless it is a plain number.
FORMULA = re.compile(r"[=+\-@\t\r\n]")
PLAIN_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def printable(text: str) -> str:
    """One line for a terminal: control characters and escape sequences are written out, `\\x1b`."""
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def printable_lines(text: str) -> str:
    """The same, with line ends as they are."""
    return "\n".join(map(printable, text.split("\n")))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def shortened(text: str, most: int = MAX_CELL) -> str:
    """`printable`, and only the first `most` characters, with `…`, of a longer text."""
    head = printable(text[: most + 1])
    return head if len(head) <= most else head[: most - 1] + "…"


def shown_path(path: str) -> str:
    """A path as one line that the database, JSON and terminals take; two paths never give the same text.

    A byte that is not UTF-8 is `\\xe9`, a control character `\\n` or `\\u0085`, a backslash `\\\\`.
    """
    if path.isascii() and path.isprintable() and "\\" not in path:
        return path
    try:
        text = os.fsencode(path).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        text = path  # no file can have this name, but messages show it
    return "".join(map(_shown_character, text))


def without_login(text: str) -> str:
    """What was given as a path, without user and password where it is an address."""
    return re.sub(r"(\w+://)[^/?#]*@", r"\1***@", text)


def _shown_character(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if character.isprintable() and character != "\\":
        return character
    return f"\\u{code:04x}" if 0x80 <= code <= 0xFF else _escaped(character)


def encodable(text: str) -> str:
    """Text that UTF-8 and JSON can write: lone surrogates are written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def storable(text: str) -> str:
    """Text that every database can hold: `encodable`, and NUL written out."""
    return encodable(text).replace("\0", "\\x00")


def storable_name(name: str) -> str:
    """A field's name for a dead letter, whatever a record calls its fields."""
    return storable(name[:MAX_NAME])


def error_message(error: BaseException) -> str:
    """`ValueError: …` for a dead letter: an error that code of others raised."""
    try:
        message = str(error)
    except Exception:  # their __str__ may fail too
        message = "(without a message)"
    return storable(f"{type(error).__name__}: {message}"[:MAX_ERROR])


def spreadsheet_cell(value: object) -> str:
    """A CSV cell, with `'` before what a spreadsheet would run as a formula; null is empty."""
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if FORMULA.match(text) and not PLAIN_NUMBER.fullmatch(text):
        return "'" + text
    return text


def share_of(text: str) -> float:
    """`5%` or `0.05`, from 0 to 1. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"{text!r} is no share of all records: write it like 5% or 0.05")
    return share

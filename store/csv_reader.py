"""The one strict CSV reader, for files and for records on the queue, and the dialect of a file."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import lru_cache, partial
from typing import Any, Self

from store.errors import ConfigError

# The limit holds for the whole process. `max_record_bytes` limits a record before it is read as CSV.
csv.field_size_limit(2**31 - 1)

csv_reader = partial(csv.reader, strict=True)
_WHITESPACE = b" \t\n\r\v\f"
UTF_8 = "utf-8"
MOST_SKIPPED = 1_000_000
BLANKS = " \t"
# Those that are no text in a file, and those in which what a byte means depends on bytes long before it.
_NOT_OF_FILES = re.compile(
    r"utf-?7|hz|iso2022.*|idna|punycode|undefined|charmap|mbcs|oem|(raw[-_])?unicode[-_]escape"
)


def encoding_name(name: str) -> str:
    """Python's name of an encoding of text. Raises ConfigError for what is none, or none that files can have."""
    try:
        found = codecs.lookup(name)
        codecs.getincrementaldecoder(name)
    except (LookupError, ValueError):
        found = None
    if found is None or not found._is_text_encoding or _NOT_OF_FILES.fullmatch(found.name):
        raise ConfigError(
            f"encoding {name!r} is not known here: give one such as utf-8, utf-16, cp1252 or latin-1, or convert the "
            "file to UTF-8"
        )
    return UTF_8 if found.name == "utf-8-sig" else found.name


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is written: its encoding, its rows, its cells. It travels with the rows, and stays with a dead letter.

    All but `encoding` is about CSV.
    """

    delimiter: str = ","
    quotechar: str = '"'
    escapechar: str | None = None  # the character after it is text, whatever it is
    trim: bool = False  # blanks around a cell, and before its quote, are no part of it
    encoding: str = UTF_8  # by the name that Python has for it
    skip_rows: int = 0  # lines before the header that are no rows
    comment: str | None = None  # a line that begins with it is no row
    decimal: str = "."  # the decimal mark of numbers
    thousands: str | None = None  # between groups of three digits of numbers
    null_values: tuple[str, ...] = ()  # a cell that is one of these is an empty one

    def __post_init__(self) -> None:
        self._check_types()
        object.__setattr__(self, "encoding", encoding_name(self.encoding))
        object.__setattr__(self, "null_values", tuple(self.null_values))
        characters = {"delimiter": self.delimiter, "quotechar": self.quotechar}
        for name in ("escapechar", "comment"):
            if (value := getattr(self, name)) is not None:
                characters[name] = value
        for name, value in characters.items():
            if len(value) != 1 or not value.isascii() or value in "\r\n\0":
                raise ConfigError(
                    f"csv {name} {value!r} is not one ASCII character; give one, such as ',' or '\"'"
                )
        if len(set(characters.values())) < len(characters):
            named = " and ".join(f"{name} {value!r}" for name, value in characters.items())
            raise ConfigError(f"csv {named} are not all different; give different ones")
        self._check_numbers()
        self._check_null_values()

    def _check_types(self) -> None:
        texts = (self.delimiter, self.quotechar, self.encoding, self.decimal, *self.null_values)
        optional = (self.escapechar, self.comment, self.thousands)
        if not all(
            isinstance(each, str) for each in (*texts, *(each for each in optional if each is not None))
        ):
            raise TypeError("what a dialect names must be text")
        if not isinstance(self.trim, bool) or type(self.skip_rows) is not int:
            raise TypeError("trim must be true or false, skip_rows a number")
        if not 0 <= self.skip_rows <= MOST_SKIPPED:
            raise ConfigError(f"csv skip_rows {self.skip_rows} is not a number from 0 to {MOST_SKIPPED:,}")

    def _check_numbers(self) -> None:
        for name, sign in (("decimal", self.decimal), ("thousands", self.thousands)):
            if sign is not None and (len(sign) != 1 or sign.isalnum() or sign in "+-\r\n\0"):
                raise ConfigError(f"csv {name} {sign!r} is not one mark; give one, such as ',' or '.'")
        if self.decimal == self.thousands:
            raise ConfigError(
                f"csv decimal and thousands are both {self.decimal!r}; give different ones: decimal is '.' by itself"
            )

    def _check_null_values(self) -> None:
        """Raises ConfigError for one that no cell can ever be."""
        for value in self.null_values:
            if self.escapechar and self.escapechar in value:
                raise ConfigError(
                    f"csv null value {value!r} has the escapechar in it, which no cell has when it is read: give it "
                    "as it is read, without the escapechar"
                )
            if self.trim and value != value.strip():
                raise ConfigError(
                    f"csv null value {value!r} has blanks around it, and trim removes them: leave them out"
                )

    @property
    def blank(self) -> bytes:
        """The bytes of a blank line; a delimiter is not blank, for it separates two empty cells."""
        return _WHITESPACE.replace(self.delimiter.encode(), b"")

    @property
    def blanks_behind_quotes(self) -> str:
        """The blanks that may stand between a quote that closes a cell and the delimiter."""
        return BLANKS.replace(self.delimiter, "").replace(self.quotechar, "") if self.trim else ""

    def rows(self, texts: Iterable[str]) -> list[list[str]]:
        """The cells of each row. Raises csv.Error for what is no row."""
        rows = self._read(texts)
        if self.null_values:
            nulls = frozenset(self.null_values)
            rows = [["" if cell in nulls else cell for cell in row] for row in rows]
        return rows

    def names(self, header: str) -> list[str]:
        """The column names in a header. Raises csv.Error for what is no row."""
        return [name.strip() for name in self._read([header])[0]]

    def _read(self, texts: Iterable[str]) -> list[list[str]]:
        if self.trim:
            texts = self._closed(list(texts))
        if self.escapechar:  # without a line's end the reader waits for one behind an escaped line break
            texts = [text + "\n" for text in texts]
        rows = list(
            csv_reader(
                texts,
                delimiter=self.delimiter,
                quotechar=self.quotechar,
                escapechar=self.escapechar,
                skipinitialspace=self.trim,
            )
        )
        return [[cell.strip() for cell in row] for row in rows] if self.trim else rows

    def _closed(self, texts: list[str]) -> list[str]:
        """The rows without blanks behind quotes that close a cell: the strict reader refuses them."""
        signs = [self.quotechar + blank for blank in self.blanks_behind_quotes]
        if not any(sign in text for text in texts for sign in signs):
            return texts
        cells = _cells(self)
        return [cells.sub(r"\1", text) for text in texts]

    def to_wire(self) -> dict[str, Any]:
        return asdict(self) | {"null_values": list(self.null_values)}

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Self:
        """The inverse of `to_wire`. Raises KeyError, TypeError or ConfigError for what is none."""
        if type(wire["null_values"]) is not list:  # a text would give its characters
            raise TypeError("null_values must be a list")
        return cls(**{each.name: wire[each.name] for each in fields(cls)})


@lru_cache(maxsize=64)
def _cells(dialect: Dialect) -> re.Pattern[str]:
    """Cell by cell: all of it, and the blanks behind the quote that closes it."""
    delimiter, quote, blanks = map(
        re.escape, (dialect.delimiter, dialect.quotechar, dialect.blanks_behind_quotes)
    )
    escape = re.escape(dialect.escapechar or "")
    escaped = rf"|{escape}[\s\S]" if escape else ""
    quoted = rf"{quote}(?:[^{quote}{escape}]++|{quote}{quote}{escaped})*+{quote}(?=[{blanks}]*+(?:{delimiter}|\r?\Z))"
    plain = rf"(?:[^{delimiter}{escape}]++{escaped})*+"
    return re.compile(rf"((?:\A|{delimiter})\x20*+(?:{quoted}|{plain}))([{blanks}]*+)")


def fitting(cells: list[str], header: list[str]) -> list[str] | None:
    """The cells of a row, one under each name; None where they are too many or too few.

    Empty cells beyond the header are none, and a column without a name at the end of the header may be missing.
    """
    extra = len(cells) - len(header)
    if extra > 0 and not any(cells[len(header) :]):
        return cells[: len(header)]
    if extra < 0 and not any(header[len(cells) :]):
        return cells + [""] * -extra
    return None if extra else cells

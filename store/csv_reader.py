"""The one strict CSV reader, for files and for records on the queue, and the dialect that it reads."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Self

from store.errors import ConfigError

# The limit holds for the whole process. `max_record_bytes` limits a record before it is read as CSV.
csv.field_size_limit(2**31 - 1)

csv_reader = partial(csv.reader, strict=True)
_WHITESPACE = b" \t\n\r\v\f"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How cells are separated, quoted and escaped. It travels with the rows, and stays with a dead letter."""

    delimiter: str = ","
    quotechar: str = '"'
    escapechar: str | None = None  # the character after it is text, whatever it is
    trim: bool = False  # blanks around a cell, and before its quote, are no part of it

    def __post_init__(self) -> None:
        characters = {"delimiter": self.delimiter, "quotechar": self.quotechar}
        if self.escapechar is not None:
            characters["escapechar"] = self.escapechar
        for name, value in characters.items():
            if len(value) != 1 or not value.isascii() or value in "\r\n\0":
                raise ConfigError(
                    f"csv {name} {value!r} is not one ASCII character; give one, such as ',' or '\"'"
                )
        if len(set(characters.values())) < len(characters):
            named = " and ".join(f"{name} {value!r}" for name, value in characters.items())
            raise ConfigError(f"csv {named} are not all different; give different ones")

    @property
    def blank(self) -> bytes:
        """The bytes of a blank line; a delimiter is not blank, for it separates two empty cells."""
        return _WHITESPACE.replace(self.delimiter.encode(), b"")

    def rows(self, texts: Iterable[str]) -> list[list[str]]:
        """The cells of each row. Raises csv.Error for what is no row."""
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

    def to_wire(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Self:
        """The inverse of `to_wire`. Raises KeyError, TypeError or ConfigError for what is none."""
        dialect = cls(wire["delimiter"], wire["quotechar"], wire["escapechar"], wire["trim"])
        if not isinstance(dialect.trim, bool):
            raise TypeError("trim must be true or false")
        return dialect


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

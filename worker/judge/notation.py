"""Numbers as a table writes them, `1.234,5`, as JSON and CSV write them, `1234.5`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from store.csv_reader import Dialect
from worker.judge.parse import BLANKS, NUMBER_CHARACTERS, Unusable


@dataclass(frozen=True)
class Notation:
    """A decimal mark, and what stands between groups of three digits."""

    decimal: str
    thousands: str | None = None

    @classmethod
    def of(cls, dialect: Dialect) -> Notation | None:
        """That of a dialect; None where it is JSON's own."""
        notation = cls(dialect.decimal, dialect.thousands)
        return None if notation == cls(".") else notation

    @property
    def why(self) -> str:
        """What is wrong with a text that is no number."""
        groups = f" and {self.thousands!r} between groups of three digits" if self.thousands else ""
        return f"should be a number with {self.decimal!r} as its decimal mark{groups}"

    @cached_property
    def _number(self) -> re.Pattern[str]:
        groups = rf"[0-9]{{1,3}}(?:{re.escape(self.thousands)}[0-9]{{3}})+|" if self.thousands else ""
        decimal = re.escape(self.decimal)
        return re.compile(
            rf"([+-]?)(?=[0-9]|{decimal}[0-9])({groups}[0-9]*)(?:{decimal}([0-9]*))?([eE][+-]?[0-9]+)?"
        )

    def plain(self, text: str) -> str | None:
        """A number as JSON and CSV write it; None for a text that is no number in this notation."""
        found = self._number.fullmatch(text.strip(BLANKS))
        if found is None:
            return None
        sign, whole, fraction, exponent = found.groups()
        whole = whole.replace(self.thousands, "") if self.thousands else whole
        return f"{sign}{whole}{'' if fraction is None else '.' + fraction}{exponent or ''}"

    def read(self, value: Any, *, strictly: bool) -> Any:
        """A value for a field of numbers: its text as JSON writes it; Unusable where it is no number.

        Not strictly, only what would be a number in JSON's notation is unusable: a validator of the contract's own may
        know what other text means.
        """
        if type(value) is not str or not value or value.isspace():
            return value
        if (plain := self.plain(value)) is not None:
            return plain
        return Unusable(self.why) if strictly or not value.strip(NUMBER_CHARACTERS) else value

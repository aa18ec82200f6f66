"""Numbers in the notation of a file, and one field under a cast, as the `--cast` of a replay reads it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import orjson

from store.csv_reader import Dialect
from store.dead_letters.edits import NUMBER, cast, reads_numbers
from worker.judge.parse import BLANKS, NUMBER_CHARACTERS, Numbers, Unusable, number_of


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


Cast = Callable[[Any], Any]
NO_TIME = "should be a time as the cast of its source reads it: this is another number"
COMMAS = ("decimal-comma", "currency-comma")
OF_NUMBERS = (*COMMAS, "number", "thousands", "currency", "currency-thousands")


def caster(how: str, *, decimals: bool, notation: Notation | None = None) -> Cast:
    """A function from a value to what its text is under a cast; a value that cannot be read so stays as it is.

    One that would be read otherwise afterwards, by the contract or in the file's notation, is Unusable. With
    `decimals`, a number that no float holds is a Decimal, as it is where JSON has it.
    """
    numbers = Numbers(decimals, integers=True)
    is_of_numbers = reads_numbers(how)
    divides, is_of_times = how.startswith("divide:"), how.startswith(("time:", "epoch"))
    # Not `text` and `time:`: a float does not say how its number was written.
    is_of_fractions = how.startswith(("epoch", "divide:"))

    def read(value: Any) -> Any:
        kind = type(value)
        if kind is str:
            text = value
        elif (kind is int and is_of_numbers) or ((kind is float or kind is Decimal) and is_of_fractions):
            text = str(value)
        elif is_of_times and (kind is float or kind is Decimal):
            return Unusable(NO_TIME)
        else:
            return value
        found = text if divides and notation and notation.plain(text) != text.strip() else cast(text, how)
        if type(found) is orjson.Fragment:
            return number_of(orjson.dumps(found).decode(), numbers)
        if found is not text or how == "text":
            return found
        why = _why_unusable(text, how, notation)
        return Unusable(why) if why else value

    return read


def _why_unusable(text: str, how: str, notation: Notation | None) -> str | None:
    """Why a text that a cast did not read must not be read in another way; None where it may be."""
    bare = text.strip()
    if not bare:
        return None
    if how.startswith("divide:"):
        return f"should be a number with a decimal point, which the cast {how} of its source divides"
    if how.startswith(("time:", "epoch")) and NUMBER.fullmatch(bare):
        return NO_TIME
    if how in COMMAS and "." in bare and NUMBER.fullmatch(bare):
        return "should be a number with a decimal comma, as the cast of its source reads it: this has a point"
    if notation and how in OF_NUMBERS and notation.plain(text) not in (None, bare):
        return (
            f"should be a number as the cast {how} of its source reads it, and not as its file writes others"
        )
    return None

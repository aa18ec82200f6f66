"""What the values of one column look like, counted as they come: which types, notations and times read them. Pure."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter, ValidationError

from worker.dead_letters.suggest.layouts import layouts
from worker.dead_letters.suggest.readings import UNITS, Readings
from worker.judge.notation import Notation
from worker.judge.parse import INT64_MAX, INT64_MIN, Digits
from worker.judge.times import from_iso

Path = tuple[str, ...]  # of a field within a record

PLAIN = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
SEPARATED = re.compile(r"[+-]?[0-9][0-9.,' \u00a0\u202f]*")
DIGITS = re.compile(r"[+-]?[0-9]+")
MARKED = re.compile(r"[.,][0-9]{2}$")
CODE = re.compile(r"[+-]?0[0-9]+|\+[0-9]+")  # digits that are no number: 007, 0123, +4930
# The simplest first: of two that mean the same for every value, the first is drafted.
NOTATIONS = (
    Notation("."),
    Notation(","),
    Notation(".", ","),
    *(Notation(",", sign) for sign in (".", " ", "'", "\u00a0", "\u202f")),
    *(Notation(".", sign) for sign in (" ", "'", "\u00a0", "\u202f")),
)
NULL_WORDS = frozenset(
    ("n/a", "#n/a", "na", "n.a.", "null", "nil", "none", "nan", "-", "--", "---", "?", "\\n", "missing")
)
BOOLEANS = frozenset(("true", "false", "yes", "no"))
MOST_VALUES = 12  # of a column whose values may be named one by one
DATETIME, DATE = TypeAdapter(datetime), TypeAdapter(date)
EXACT_DIGITS = 15


@dataclass
class Column:
    """One field of the records, in memory that the number of records alone decides: a hash a value, no value."""

    path: Path
    values: int = 0  # that are there and no blank
    booleans: int = 0  # JSON's
    words_of_truth: int = 0  # texts like true, and no
    objects: int = 0
    lists: int = 0
    texts: int = 0
    numbers: int = 0  # JSON's
    plain: int = 0  # numbers as JSON writes them, in a text or without one
    integers: int = 0
    beyond_64_bits: int = 0
    two_digits: int = 0  # numbers with just two digits behind the decimal mark
    long: int = 0  # numbers of more digits than a float holds
    codes: int = 0  # digits with a zero or a plus in front
    iso: int = 0
    iso_dates: int = 0
    iso_naive: int = 0
    datetimes: int = 0  # texts that pydantic reads as such
    dates: int = 0
    null_words: Counter[str] = field(default_factory=Counter)
    notations: Counter[Notation] = field(default_factory=Counter)  # that read a text with marks in it
    meant_differently: dict[frozenset[Notation], str] = field(default_factory=dict)  # a text of two meanings
    layouts: dict[tuple[str, ...], Readings] = field(default_factory=dict)
    units: Readings = field(default_factory=lambda: Readings(UNITS))
    distinct: set[int] = field(default_factory=set)
    counted: Counter[str] | None = field(default_factory=Counter)  # while they are few
    example: str = ""
    odd: dict[str, str] = field(default_factory=dict)  # what it is not -> the first value that is not

    def add(self, value: Any) -> None:
        """Notes a value."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return
        if isinstance(value, str) and not isinstance(value, Digits) and value.strip().lower() in NULL_WORDS:
            self.null_words[value] += 1
            return
        self.values += 1
        if isinstance(value, bool):
            self.booleans += 1
        elif isinstance(value, dict):
            self.objects += 1
        elif isinstance(value, list):
            self.lists += 1
        else:
            self._add_text(value)

    def _add_text(self, text: str) -> None:
        is_number = isinstance(text, Digits)
        self.numbers += is_number
        self.texts += not is_number
        self.example = self.example or text[:60]
        self.distinct.add(hash(str(text)))
        self._count(text)
        text = text.strip()
        is_plain = PLAIN.fullmatch(text) is not None and math.isfinite(float(text))
        if is_plain:
            self._add_number(text, NOTATIONS[0] if not is_number else None)
        elif not is_number:
            self._add_words(text)
        else:
            self.odd.setdefault("number", text[:60])
        if len(text) >= 8 and DIGITS.fullmatch(text):
            self.units.add(text)
        self._add_time(text)

    def _count(self, text: str) -> None:
        if self.counted is not None:
            self.counted[text] += 1
            if len(self.counted) > MOST_VALUES:
                self.counted = None

    def _add_number(self, text: str, notation: Notation | None) -> None:
        """A number in JSON's notation; in a text it may be another in the notation of its file."""
        self.plain += 1
        is_integer = DIGITS.fullmatch(text) is not None
        self.integers += is_integer
        if is_integer and not INT64_MIN <= int(text) <= INT64_MAX:
            self.beyond_64_bits += 1
        self.codes += CODE.fullmatch(text) is not None
        self._measure(text)
        if notation is None:
            return
        if is_integer:
            self.notations.update(NOTATIONS)
        else:
            self._add_notations(text)

    def _measure(self, plain: str) -> None:
        mantissa = plain.lower().partition("e")[0]
        self.two_digits += len(mantissa.partition(".")[2]) == 2
        self.long += len(mantissa.strip("+-0.").replace(".", "")) > EXACT_DIGITS

    def _add_words(self, text: str) -> None:
        self.words_of_truth += text.lower() in BOOLEANS
        if SEPARATED.fullmatch(text) and any(each.plain(text) is not None for each in NOTATIONS):
            self.two_digits += MARKED.search(text) is not None
            self.odd.setdefault("marks", text[:60])
            self._add_notations(text)
        else:
            self.odd.setdefault("number", text[:60])

    def _add_notations(self, text: str) -> None:
        meanings: dict[Decimal, set[Notation]] = {}
        for notation in NOTATIONS:
            if (plain := notation.plain(text)) is not None:
                meanings.setdefault(Decimal(plain), set()).add(notation)
                self.notations[notation] += 1
        listed = list(meanings.values())
        for number, some in enumerate(listed):
            for others in listed[number + 1 :]:
                for one in some:
                    for other in others:
                        self.meant_differently.setdefault(frozenset((one, other)), text[:60])

    def _add_time(self, text: str) -> None:
        if len(text) >= 8 and text[4:5] == "-":
            try:
                moment = from_iso(text)
                self.iso += 1
                self.iso_dates += len(text) == 10
                self.iso_naive += moment.tzinfo is None
            except ValueError:
                self.odd.setdefault("time", text[:60])
            self.datetimes += _is(DATETIME, text)
            self.dates += _is(DATE, text)
            return
        found = layouts(text) if len(text) >= 6 else []
        for rivals in found:
            casts = tuple(f"time:{layout}" for layout in rivals)
            if casts in self.layouts or len(self.layouts) < 4:
                self.layouts.setdefault(casts, Readings(casts)).add(text)
        if not found:
            self.odd.setdefault("time", text[:60])


def _is(kind: TypeAdapter[Any], text: str) -> bool:
    try:
        kind.validate_python(text)
    except ValidationError:  # that is the answer
        return False
    return True

"""Columns -> the type of each, the column of the key, the column of the time. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from producer.draft.columns import BOOLEANS, NOTATIONS, Column
from worker.dead_letters.suggest.readings import Readings
from worker.judge.notation import Notation

MOST = 0.8  # of the values of a column: what they are, the column is; the others would be rejected
MOST_OF_NAMED = 0.3  # of a column with a name of times
MONEY = re.compile(
    r"amount|price|cost|total|sum|balance|fee|tax|vat|salary|revenue|betrag|preis|kosten|summe|saldo|belop|pris",
    re.IGNORECASE,
)
KEY = re.compile(
    r"(?:^|_|\.)(?:id|key|uid|uuid|guid|nr|no|number|code|identifier|isbn|ean|sku|nummer|schluessel)$",
    re.IGNORECASE,
)
TIME = re.compile(
    r"(?:^|_|\.)(?:ts|time|timestamp|at|date|datetime|when|stamp|created|updated|modified|datum|zeit|tid|dato|occurred)"
    r"(?:$|_)",
    re.IGNORECASE,
)
LEAST_RECORDS, LEAST_OF_EACH, MOST_CHARACTERS = 200, 10, 32  # of values that are named one by one


class Time(NamedTuple):
    """How the values of a column are times."""

    keys: dict[str, str]  # of a source: ts_format or ts_unit; none for ISO 8601
    share: float
    why: str
    is_naive: bool
    ambiguous: tuple[str, ...] = ()  # the formats that fit, where no value decides between them


@dataclass
class Kind:
    """The type of a column, and what speaks for it."""

    type: str
    why: str = ""
    share: float = 1.0  # of the values
    cast: str | None = None  # how its text is read, where the contract alone does not read it


@dataclass
class Numbers:
    """The notation of the numbers of a CSV file, and the texts that could have two meanings."""

    notation: Notation = NOTATIONS[0]
    why: str = ""
    ambiguous: dict[tuple[str, ...], str] = field(default_factory=dict)  # column -> why nothing is chosen


def numbers_of(columns: Sequence[Column]) -> Numbers:
    """The notation that reads most columns of numbers; a file has one."""
    votes: dict[Notation, int] = {}
    found = Numbers()
    marked = [each for each in columns if each.texts and not _is_time(each) and _best(each)]
    for column in marked:
        for notation in _best(column):
            votes[notation] = votes.get(notation, 0) + 1
    if not votes:
        return found
    most = max(votes.values())
    leaders = [each for each in NOTATIONS if votes.get(each) == most]
    different = _different(marked, leaders)
    if different:
        text = different[0]
        found.why = f"ambiguous: {text!r} is another number under each of {', '.join(map(_named, leaders))}"
        for column in marked:
            if _different([column], leaders):
                found.ambiguous[column.path] = found.why
        leaders = [each for each in leaders if each == NOTATIONS[0]] or [NOTATIONS[0]]
    found.notation = leaders[0]
    return found


def _best(column: Column) -> list[Notation]:
    """The notations that read the most values of a column of numbers."""
    if not column.notations or column.codes * 2 > column.values:
        return []
    most = max(column.notations.values())
    if most < MOST * column.texts:
        return []
    return [each for each in NOTATIONS if column.notations[each] == most]


def _different(columns: Sequence[Column], notations: Sequence[Notation]) -> list[str]:
    chosen = set(notations)
    return [text for each in columns for pair, text in each.meant_differently.items() if pair <= chosen]


def _named(notation: Notation) -> str:
    groups = f" with {notation.thousands!r} between thousands" if notation.thousands else ""
    return f"decimal {notation.decimal!r}{groups}"


def _is_time(column: Column) -> bool:
    return bool(column.iso or column.layouts) and time_of(column) is not None


def time_of(column: Column, *, is_named: bool = False) -> Time | None:
    """How the values of a column are times; None where they are none.

    With a name of times, also digits since 1970 are some, and fewer values need to be times.
    """
    values, most = column.values, MOST_OF_NAMED if is_named else MOST
    if not values:
        return None
    if column.iso >= most * values:
        return Time({}, column.iso / values, "ISO 8601", bool(column.iso_naive))
    readings = max(column.layouts.values(), key=_number_read, default=None)
    if readings and _number_read(readings) >= most * values:
        return _by_layout(readings, values)
    digits = max(column.units.read.values(), default=0)
    if is_named and digits >= MOST * values and column.integers:
        casts, ambiguous, _ = column.units.verdict()
        if ambiguous or len(casts) != 1:
            return None
        [how] = casts
        unit = {"epoch": "s", "epoch-ms": "ms"}[how]
        return Time({"ts_unit": unit}, digits / values, f"numbers since 1970; {casts[how]}", is_naive=False)
    return None


def _number_read(readings: Readings) -> int:
    return max(readings.read.values(), default=0)


def _by_layout(readings: Readings, values: int) -> Time:
    casts, ambiguous, _ = readings.verdict()
    share = _number_read(readings) / values
    formats = {how: how.removeprefix("time:") for how in readings.rivals}
    if ambiguous or not casts:
        fitting = tuple(formats[how] for how in readings.rivals if readings.read.get(how))
        return Time({}, share, ambiguous or "no format reads all", is_naive=True, ambiguous=fitting)
    how, evidence = next(iter(casts.items()))
    return Time({"ts_format": formats[how]}, share, evidence, is_naive="%z" not in how)


def kind_of(column: Column, numbers: Numbers, *, is_csv: bool, name: str) -> Kind:
    """The type that most values of a column have."""
    if not column.values:
        return Kind("str", "no value was seen")
    return (
        _structure(column)
        or _simple(column)
        or _number(column, numbers.notation if is_csv else NOTATIONS[0], name, numbers.ambiguous)
        or _other_number(column, name)
        or _other_time(column)
        or _text(column)
    )


def _simple(column: Column) -> Kind | None:
    truths = max(column.booleans, column.words_of_truth)
    for number, type_ in ((truths, "bool"), (column.dates, "date"), (column.datetimes, "datetime")):
        if number >= MOST * column.values:
            return Kind(type_, share=number / column.values)
    return None


def _other_time(column: Column) -> Kind | None:
    """Times in a format, as a cast reads them; text where no value decides between two."""
    time = time_of(column)
    if time is None or not time.keys:
        return Kind("str", f"ambiguous: {time.why}") if time and time.ambiguous else None
    layout = time.keys["ts_format"]
    type_ = "datetime" if "%H" in layout or "%I" in layout else "date"
    return Kind(type_, share=time.share, cast=f"time:{layout}")


def _structure(column: Column) -> Kind | None:
    if not column.objects and not column.lists:
        return None
    if column.objects == column.values:
        return Kind("dict[str, Any]")
    return Kind("list[Any]") if column.lists == column.values else Kind("Any", "of several kinds")


def _other_number(column: Column, name: str) -> Kind | None:
    """Numbers in another notation than those of their file, as a cast reads them; text where it could be either."""
    best = _best(column)
    if not best or _different([column], best):
        return None
    cast = "number" if best[0] == NOTATIONS[0] else "decimal-comma" if best[0].decimal == "," else "thousands"
    found = _number(column, best[0], name, {})
    return replace(found, cast=cast) if found else None


def _number(
    column: Column, notation: Notation, name: str, ambiguous: dict[tuple[str, ...], str]
) -> Kind | None:
    if column.path in ambiguous:
        return Kind("str", ambiguous[column.path])
    read = column.numbers + column.notations[notation]
    if read < MOST * column.values or column.codes:  # 007 is not 7
        return None
    share = read / column.values
    if column.integers == read:
        return Kind("Decimal" if column.beyond_64_bits else "int", share=share)
    why = ""
    if MONEY.search(name):
        why = "money by its name: no digit is rounded"
    elif column.texts and column.two_digits >= read - column.integers and column.two_digits * 2 > read:
        why = "two digits behind the decimal mark, as money has"
    elif column.long:
        why = "more digits than a float holds"
    return Kind("Decimal" if why else "float", why, share)


def _text(column: Column) -> Kind:
    counted = column.counted
    if column.numbers and column.texts:
        return Kind("Any", "numbers and texts")
    if counted is None or column.numbers or column.values < LEAST_RECORDS:
        return Kind("str")
    is_clear = (
        1 < len(counted) <= MOST_NAMED
        and min(counted.values()) >= LEAST_OF_EACH
        and all(len(each) <= MOST_CHARACTERS and WORD.fullmatch(each) for each in counted)
    )
    if not is_clear or {each.lower() for each in counted} <= BOOLEANS:
        return Kind("str")
    listed = ", ".join(f'"{each}"' for each in sorted(counted))
    return Kind(f"Literal[{listed}]", f"only these in {column.values:,} records: str if others may come")


MOST_NAMED = 6
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class Candidate(NamedTuple):
    """A column that may be the key."""

    column: Column
    distinct: int
    share_there: float  # of the records

    @property
    def is_named(self) -> bool:
        """Whether its name is that of a key."""
        return KEY.search(_name(self.column)) is not None

    @property
    def is_unique(self) -> bool:
        return self.distinct == self.column.values


def key_candidates(columns: Sequence[Column], records: int) -> list[Candidate]:
    """The columns that may be the key, the best first: its values differ, its name is that of a key."""
    found: list[tuple[tuple[Any, ...], Candidate]] = []
    for position, column in enumerate(columns):
        fractions = column.plain - column.integers
        if not column.values or column.lists or column.objects or column.booleans or fractions:
            continue
        if column.values < 0.9 * records or _is_time(column) or column.words_of_truth == column.values:
            continue
        if (column.numbers and column.texts) or (_best(column) and "marks" in column.odd):
            continue
        each = Candidate(column, len(column.distinct), column.values / records)
        is_time = TIME.search(_name(column)) is not None and time_of(column, is_named=True) is not None
        if is_time or (not each.is_named and not each.is_unique and each.distinct * 2 < column.values):
            continue
        found.append(((not each.is_unique, not each.is_named, len(column.path), position), each))
    return [each for _, each in sorted(found, key=lambda pair: pair[0])]


def time_candidates(columns: Sequence[Column], records: int) -> list[tuple[Column, Time]]:
    """The columns that may be the time, the best first."""
    found = []
    for position, column in enumerate(columns):
        is_named = TIME.search(_name(column)) is not None
        time = time_of(column, is_named=is_named)
        if time and column.values >= 0.5 * records:
            found.append(((not is_named, column.values < records, position), column, time))
    return [(column, time) for _, column, time in sorted(found, key=lambda each: each[0])]


def _name(column: Column) -> str:
    """A column's name with `_` between its words: `OrderDate` is `Order_Date`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", column.path[-1]).strip("_")

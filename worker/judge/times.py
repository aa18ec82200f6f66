"""Times: what a source writes as `ts` -> aware datetimes or stored text, and the digits below their microseconds."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from store import timestamps
from worker.judge.local_times import LocalZone, PlainTimes
from worker.judge.parse import BLANKS, NUMBER_CHARACTERS
from worker.settings import SourceSettings

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def time_reader(source: SourceSettings, *, plain: bool = False) -> Callable[[Any], datetime]:
    """A function from a raw `ts` to an aware datetime; it raises ValueError with what is wrong.

    A `plain` one raises it for local times that exist twice or not at all, whatever becomes of them.
    """
    if source.ts_unit:
        per_second = UNITS_PER_SECOND[source.ts_unit]
        return lambda value: from_epoch(value, per_second)
    zone = zone_of(source, PlainTimes if plain else LocalZone)
    if layout := source.ts_format:
        return lambda value: in_utc(from_layout(value, layout), zone)
    return lambda value: in_utc(from_iso(value), zone)


def oddity_reader(source: SourceSettings) -> Callable[[Any], int] | None:
    """A function from a raw `ts`, which was read, to AMBIGUOUS, SHIFTED or 0; None where all times are ordinary."""
    zone = zone_of(source)
    if source.ts_unit or not isinstance(zone, LocalZone):
        return None

    def oddity(value: Any) -> int:
        moment = from_layout(value, source.ts_format) if source.ts_format else from_iso(value)
        return zone.kind(moment) if moment.tzinfo is None else 0

    return oddity


BELOW_MICROSECONDS = re.compile(r"[.,][0-9]{6}([0-9]{1,12})")
INTEGER = re.compile(r"\s*[+-]?\d{1,30}\s*", re.ASCII)


def digits_reader(source: SourceSettings) -> Callable[[Any], int]:
    """A function from a raw `ts` to what it has below microseconds: it orders versions of one time."""
    if source.ts_unit == "ns":
        return nanoseconds
    if source.ts_unit or source.ts_format:  # read to the nearest microsecond, and no closer
        return lambda _: 0
    return fraction_below_microseconds


def fraction_below_microseconds(value: Any) -> int:
    """The digits of ISO 8601 text below microseconds, up to 12 of them, as an integer."""
    if type(value) is not str or len(value) < 27:
        return 0
    found = BELOW_MICROSECONDS.search(value)
    return int(found[1].ljust(12, "0")) if found else 0


def nanoseconds(value: Any) -> int:
    """What an epoch number of nanoseconds has below microseconds."""
    number = integer_of(value)
    return 0 if number is None else number % 1000


def integer_of(value: Any) -> int | None:
    """An integer, or the text of one (CSV has nothing else); None for anything else."""
    if type(value) is str and INTEGER.fullmatch(value):
        return int(value)
    return value if type(value) is int else None


def zone_of(source: SourceSettings, local: type[LocalZone] = LocalZone) -> tzinfo | LocalZone | None:
    """The zone of a ts without offset; None where that is refused."""
    if source.assume_tz == "reject":
        return None
    return UTC if source.assume_tz == "UTC" else local(source)


def from_epoch(value: Any, per_second: int) -> datetime:
    """A number of units since 1970, exactly; text that is a number is one (CSV has nothing else)."""
    if isinstance(value, str):
        try:
            if value.strip(NUMBER_CHARACTERS):
                raise ValueError
            value = int(value) if value.strip().lstrip("+-").isdigit() else float(value)
        except ValueError:
            raise ValueError("should be a number since 1970, as this source's ts_unit says") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("should be a number since 1970, as this source's ts_unit says")
    try:
        # Whole units are kept exact: a float of nanoseconds would be off by hundreds.
        micros = value * 10**6 // per_second if isinstance(value, int) else round(value * 10**6 / per_second)
        return EPOCH + timedelta(microseconds=micros)
    except (OverflowError, ValueError):
        raise ValueError("lies outside the years 1 to 9999: is ts_unit right?") from None


def from_iso(value: Any) -> datetime:
    """ISO 8601 / RFC 3339 text; naive without an offset."""
    if not isinstance(value, str):
        raise ValueError("should be ISO 8601 text; name ts_unit for a source that sends epoch numbers")
    value = value.strip(BLANKS)
    # fromisoformat would take digits alone for a basic-format date, and any character for the T.
    if value[4:5] != "-" or (len(value) > 10 and value[10] not in "Tt "):
        raise ValueError("should be ISO 8601, like 2025-01-15T12:00:00Z")
    try:
        return datetime.fromisoformat(value[:-1] + "Z" if value[-1] == "z" else value)
    except ValueError:
        raise ValueError(_why_no_time(value)) from None


NO_DAY = "names a day that does not exist: check the month and the day"
NO_TIME_OF_DAY = "names a time of day that does not exist: hours end at 23, minutes and seconds at 59"
LEAP_SECOND = (
    "has 60 seconds, as a leap second does, and no time here can: give second 59, or the minute after it"
)
PARTS = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[Tt ]([0-9]{2}):?([0-9]{2})(?::?([0-9]{2}))?)?")


def _why_no_time(text: str) -> str:
    """What is wrong with a text that begins like a date and is no time."""
    if not (found := PARTS.match(text)):
        return "should be ISO 8601, like 2025-01-15T12:00:00Z"
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
    try:
        date(year, month, day)
    except ValueError:
        return NO_DAY
    if second == 60:
        return LEAP_SECOND
    if hour > 23 or minute > 59 or second > 60:
        return NO_TIME_OF_DAY
    return "should be ISO 8601, like 2025-01-15T12:00:00Z"


def from_layout(value: Any, layout: str) -> datetime:
    """Text in strptime's `layout`; naive without an offset."""
    if not isinstance(value, str):
        raise ValueError(f"should be text like {layout}")
    try:
        return timestamps.in_layout(value.strip(BLANKS), layout)
    except ValueError as error:
        # The library words it so; where it does not, the general message is no lie.
        no_time = {"day is out of range for month": NO_DAY, "second must be in 0..59": LEAP_SECOND}
        raise ValueError(no_time.get(str(error), f"should be text like {layout}")) from None


def in_utc(moment: datetime, zone: tzinfo | LocalZone | None) -> datetime:
    """A moment with its offset honoured, or read in `zone`, or refused where that is None."""
    try:
        if moment.tzinfo is None:
            if zone is None:
                raise ValueError("has no offset, and this source's assume_tz is reject")
            if isinstance(zone, LocalZone):
                return zone.in_utc(moment)
            moment = moment.replace(tzinfo=zone)
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside the years 1 to 9999") from None


# Days that every year has, with their time; the 29th of February is looked up in the calendar.
DAY = (
    r"(?!0000)[0-9]{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)"
    r"|(?:0[13578]|1[02])-31)"
)
SECOND = DAY + r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
# Length of the text of a time -> what many of them look like, joined, and what its Z becomes in stored text.
COMMON = {
    20: (re.compile(rf"(?:{SECOND}Z,)*"), ".000000Z"),
    24: (re.compile(rf"(?:{SECOND}\.[0-9]{{3}}Z,)*"), "000Z"),
    27: (re.compile(rf"(?:{SECOND}\.[0-9]{{6}}Z,)*"), "Z"),
}

MINUTES = [f"T{minute // 60:02d}:{minute % 60:02d}:" for minute in range(24 * 60)]  # of a day
SECONDS = [f"{second:02d}" for second in range(60)]
# Units in a second -> the text of each fraction.
ENDINGS = {1: [".000000Z"], 1000: [f".{milli:03d}000Z" for milli in range(1000)]}


class Days(dict[int, str]):
    """Days since 1970 -> their dates as text: of a slice's times there are few."""

    def __missing__(self, day: int) -> str:
        self[day] = date.fromordinal(EPOCH_DAY + day).isoformat()
        return self[day]


EPOCH_DAY = date(1970, 1, 1).toordinal()


class Times:
    """How one source writes its times, for whole columns of them."""

    def __init__(self, source: SourceSettings) -> None:
        self._read = time_reader(source, plain=True)
        self._below = digits_reader(source)
        self._per_second = UNITS_PER_SECOND[source.ts_unit] if source.ts_unit else None
        self._reads_iso = not source.ts_unit and not source.ts_format
        self._naive_is_utc = zone_of(source) is UTC

    def stored(self, column: list[Any], odd: set[int]) -> tuple[list[str], list[int] | None]:
        """(stored text, the digits below microseconds, None where no time has any); what is no time is added to `odd`.

        Times that are all written in one common way are checked with one regular expression, in a third of the time.
        """
        kinds = set(map(type, column))
        if self._reads_iso and kinds == {str}:
            common = common_iso(column, naive_is_utc=self._naive_is_utc)
            if common is not None:
                return common, None
        if self._per_second and kinds == {int}:
            try:
                return self._from_integers(column)
            except (OverflowError, ValueError):  # one at a time, then
                pass
        return self._each(column, odd)

    def _from_integers(self, column: list[int]) -> tuple[list[str], list[int] | None]:
        """Each part of a time is looked up, and put together: 0.4 µs a time, where a datetime takes 1.5.

        Raises OverflowError, ValueError for a time outside the years 1 to 9999.
        """
        second = self._per_second or 1
        minute, day, days = 60 * second, 86_400 * second, Days()
        if endings := ENDINGS.get(second):
            stored = [
                f"{days[each // day]}{MINUTES[each // minute % 1440]}{SECONDS[each // second % 60]}"
                f"{endings[each % second]}"
                for each in column
            ]
            return stored, None
        micro = second // 10**6
        stored = [
            f"{days[each // day]}{MINUTES[each // minute % 1440]}{SECONDS[each // second % 60]}"
            f".{each % second // micro:06d}Z"
            for each in column
        ]
        return stored, [each % micro for each in column] if micro > 1 else None

    def _each(self, column: list[Any], odd: set[int]) -> tuple[list[str], list[int]]:
        read, below, stored, digits = self._read, self._below, [], []
        for row, value in enumerate(column):
            try:
                stored.append(timestamps.to_text(read(value)))
                digits.append(below(value))
            except ValueError:
                odd.add(row)
                stored.append("")
                digits.append(0)
        return stored, digits


def common_iso(column: list[str], *, naive_is_utc: bool) -> list[str] | None:
    """Stored text of times that are all written in the same common way: in UTC, with 0, 3 or 6 digits of a second."""
    joined = ",".join(column) + ","
    if " " in joined:
        joined = joined.replace(" ", "T")
    if "+00:00," in joined:
        joined = joined.replace("+00:00,", "Z,")
    elif naive_is_utc and "Z" not in joined:
        joined = joined.replace(",", "Z,")
    pattern, ending = COMMON.get(joined.index(","), (None, ""))
    if pattern is None or not pattern.fullmatch(joined):
        return None
    stored = joined.replace("Z", ending).split(",")
    stored.pop()
    return stored if len(stored) == len(column) else None  # a comma within one of them gives one more

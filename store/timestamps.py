"""Points in time as text: UTC, microseconds, one fixed width, so that text order is time order."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

WIDTH = len("2025-01-15T12:00:00.000000Z")


def to_text(moment: datetime) -> str:
    """An aware datetime as `2025-01-15T12:00:00.000000Z`, 27 characters."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def from_text(text: str) -> datetime:
    """The inverse of `to_text`. Raises ValueError for anything of another shape."""
    if len(text) != WIDTH or text[10] != "T" or text[-1] != "Z":
        raise ValueError(f"not a stored timestamp: {text!r}")
    moment = datetime.fromisoformat(text)
    if to_text(moment) != text:  # week dates and decimal commas parse too, but do not sort
        raise ValueError(f"not a stored timestamp: {text!r}")
    return moment


def to_iso(text: str) -> str:
    """Stored text as people write ISO 8601: `2025-01-15T12:00:00Z`, a fraction only where there is one.

    What is no stored timestamp comes back as it is: it is shown, not judged.
    """
    try:
        from_text(text)
    except ValueError:
        return text
    return text[:-1].rstrip("0").rstrip(".") + "Z"


def now() -> datetime:
    """The present, aware, in UTC."""
    return datetime.now(UTC)


def now_text() -> str:
    """The present as stored text."""
    return to_text(now())


def from_iso(text: str) -> datetime:
    """What somebody typed, in UTC: a date or a time, without an offset taken as UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    try:
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"beyond the years 1 to 9999: {text!r}") from error


OTHER_DIGIT = re.compile(r"[^\D0-9]")
PARTS = re.compile(r"%(?P<code>.)|(?P<blank>\s+)|(?P<literal>[^%\s]+)", re.DOTALL)
DIGITS = {"Y": 4, "G": 4, "j": 3, **dict.fromkeys("mdHIMSyUWV", 2), **dict.fromkeys("uw", 1)}
FRACTION = "(?:[0-9]{3}|[0-9]{6})"  # behind other digits: one of five has lost a zero
YEAR = re.compile(r"%[YyGcx]")
SAMPLE = datetime(1983, 11, 23, 14, 35, 46, 123456, tzinfo=UTC)


def in_layout(text: str, layout: str) -> datetime:
    """Text in strptime's `layout`, naive without an offset. Raises ValueError.

    strptime also takes digits of other scripts, and `1122025` for the 11th of February under `%d%m%Y`: digits with
    nothing between them are no time here unless all are there.
    """
    if not text.isascii() and OTHER_DIGIT.search(text):
        raise ValueError("digits of another script")
    moment = datetime.strptime(text, layout)
    whole = _whole(layout)
    if whole and not whole.fullmatch(text):
        raise ValueError("a digit is not there")
    return moment


def is_layout(layout: str) -> bool:
    """Whether strptime reads whole times in a layout, their year included."""
    if not YEAR.search(layout.replace("%%", "")):
        return False
    try:
        return in_layout(SAMPLE.strftime(layout), layout).year == SAMPLE.year
    except (ValueError, re.error):  # the answer is no: who asks says it of the setting
        return False


@lru_cache(maxsize=64)
def _whole(layout: str) -> re.Pattern[str] | None:
    """What a text has to look like for its digits to be all there; None where marks stand between all numbers."""
    found: list[str] = []
    number = wanted = 0  # codes of digits in a row, and their digits
    is_strict = False
    for part in (*PARTS.finditer(layout), None):
        code = part["code"] if part else None
        if code in DIGITS:
            number, wanted = number + 1, wanted + DIGITS[code]
            continue
        if number:
            found.append(f"[0-9]{{{wanted}}}" if number > 1 or code == "f" else " ?[0-9]+")
            is_strict = is_strict or number > 1 or code == "f"
        if code == "f":
            found.append(FRACTION if number else "[0-9]+")
        elif part:
            found.append(
                r"\s*"
                if part["blank"]
                else "%"
                if code == "%"
                else ".+?"
                if code
                else re.escape(part["literal"])
            )
        number = wanted = 0
    return re.compile("".join(found), re.DOTALL | re.IGNORECASE) if is_strict else None

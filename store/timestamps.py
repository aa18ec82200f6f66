"""Points in time as text: UTC, microseconds, one fixed width, so that text order is time order."""

from __future__ import annotations

from datetime import UTC, datetime

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

"""`store letters alarm`: whether dead letters are more, older or more frequent than somebody wants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from store import database, timestamps
from store.database.schema import batches
from store.dead_letters import groups
from store.errors import UsageError
from store.settings import duration
from store.tables import dead_letters
from store.text import share_of

WARNING_FROM = 0.8  # of a limit
WINDOW = timedelta(hours=24)
LEVELS = ("OK", "WARNING", "CRITICAL")


@dataclass(frozen=True)
class Limits:
    """What is tolerated; None: anything."""

    open: int | None
    age_seconds: float | None
    rate: float | None  # 0 to 1

    @classmethod
    def of(cls, max_open: int | None, max_age: str | None, max_rate: str | None) -> Limits:
        """The limits of options. Raises UsageError for none at all, or one that cannot be read."""
        if max_open is None and max_age is None and max_rate is None:
            raise UsageError("give at least one of --max-open, --max-age and --max-rate")
        return cls(max_open, _seconds(max_age), _share(max_rate))


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    length = duration(text)
    if not isinstance(length, timedelta):
        raise UsageError(f"--max-age {text!r} is no length of time: write it like 90s, 15m, 2h or 7d")
    return length.total_seconds()


def _share(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return share_of(text)
    except ValueError as error:
        raise UsageError(f"--max-rate {error}") from error


def alarm(connection: Connection, limits: Limits, source: str | None = None) -> dict[str, Any]:
    """What is measured, its limits, and the level: 0, 1 from 80% of a limit on, 2 beyond one."""
    by_source = groups.open_by_source(connection)
    measured: dict[str, float | None] = {
        "open": by_source.get(source, 0) if source else sum(by_source.values()),
        "age_seconds": _oldest(connection, source) if limits.age_seconds is not None else None,
        "rate": _rate(connection, source) if limits.rate is not None else None,
    }
    levels = [_level(measured[name], getattr(limits, name)) for name in measured]
    return {
        "level": max(levels),
        "status": LEVELS[max(levels)],
        "source": source,
        **measured,
        "limits": {name: getattr(limits, name) for name in measured},
    }


def _level(value: float | None, limit: float | None) -> int:
    if value is None or limit is None or not value:
        return 0
    return 2 if value > limit else 1 if value >= WARNING_FROM * limit else 0


def _oldest(connection: Connection, source: str | None) -> float:
    first = dead_letters.oldest_open(connection, source)
    if first is None:
        return 0.0
    return max((database.now(connection) - timestamps.from_text(first)).total_seconds(), 0.0)


def _rate(connection: Connection, source: str | None) -> float:
    since = timestamps.to_text(database.now(connection) - WINDOW)
    sums = [func.coalesce(func.sum(batches.c[name]), 0) for name in ("rejected", "received")]
    statement = select(*sums).where(batches.c.processed_at >= since, batches.c.kind == "file")
    if source:
        statement = statement.where(batches.c.source == source)
    rejected, received = connection.execute(statement).one()
    return float(rejected) / float(received) if received else 0.0

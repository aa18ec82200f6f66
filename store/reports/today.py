"""What came in lately, as a sum that adds up; each source beside its own past; and how much came in each hour."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from store import database, timestamps
from store.database.schema import batches
from store.reports import freshness
from store.tables import load_runs, staging, watermarks

HOURS = 24
HOUR = len("2025-01-15T12")
PAST_DAYS = 30  # what a source's share of rejected records is held against
AT_STAGE = ("staged", "rejected", "skipped")
AT_LOAD = ("inserted", "updated", "duplicates", "superseded")
SILENT_AFTER = 3  # times its own rhythm


def today(connection: Connection, idle_after: timedelta | None = None) -> dict[str, Any]:
    """The last 24 hours, each source, the last run of the loader, and what is staged."""
    now = database.now(connection)
    since = timestamps.to_text(now - timedelta(hours=HOURS))
    runs = load_runs.recent(connection, 1)
    return {
        "at": timestamps.to_iso(timestamps.to_text(now)),
        "since": timestamps.to_iso(since),
        "sum": day(connection, since),
        "hours": hours(connection, now),
        "sources": sources(connection, idle_after),
        "pending": staging.count(connection),
        "last_run": runs[0] if runs else None,
    }


def day(connection: Connection, since: str) -> dict[str, Any]:
    """received = staged + rejected + skipped; staged = at load + pending, of the batches processed since then."""
    names = ("received", *AT_STAGE, *AT_LOAD)
    sums = [func.coalesce(func.sum(batches.c[name]), 0) for name in names]
    own = batches.c.processed_at >= since
    row = connection.execute(select(func.count(), *sums).where(own)).one()
    found: dict[str, Any] = {name: int(number) for name, number in zip(("batches", *names), row, strict=True)}
    found["pending"] = found["staged"] - sum(found[name] for name in AT_LOAD)
    again = select(func.coalesce(func.sum(batches.c.received), 0)).where(own, batches.c.kind == "replay")
    found["sent_back"] = int(connection.execute(again).scalar_one())
    adds_up = found["received"] == sum(found[name] for name in AT_STAGE)
    return {**found, "adds_up": adds_up and found["pending"] >= 0}


def hours(connection: Connection, now: datetime) -> list[dict[str, Any]]:
    """Records received and rejected in each of the last hours, oldest first; the first and the last are not whole."""
    begun = [timestamps.to_text(now - timedelta(hours=ago))[:HOUR] for ago in range(HOURS, -1, -1)]
    hour = func.substr(batches.c.processed_at, 1, HOUR)
    sums = [func.sum(batches.c[name]) for name in ("received", "rejected")]
    since = timestamps.to_text(now - timedelta(hours=HOURS))
    rows = connection.execute(select(hour, *sums).where(batches.c.processed_at >= since).group_by(hour))
    found = {at: (int(received), int(rejected)) for at, received, rejected in rows}
    return [
        {"hour": f"{at}:00:00Z", "received": received, "rejected": rejected}
        for at in begun
        for received, rejected in [found.get(at, (0, 0))]
    ]


def sources(connection: Connection, idle_after: timedelta | None) -> list[dict[str, Any]]:
    """Each source with a batch: its watermark, its silence, and its share of rejected records beside the past's."""
    now = database.now(connection)
    stored, rhythms = watermarks.stored(connection), freshness.rhythms(connection)
    idle, last = watermarks.idle_sources(connection, idle_after), watermarks.last_batches(connection)
    lately = _rejected(connection, now - timedelta(hours=HOURS), now)
    before = _rejected(connection, now - timedelta(days=PAST_DAYS), now - timedelta(hours=HOURS))
    found = []
    for name in sorted(last):
        silent = (now - timestamps.from_text(last[name])).total_seconds()
        rhythm = rhythms.get(name)
        found.append(
            {
                "source": name,
                "watermark": timestamps.to_iso(stored[name]) if name in stored else None,
                "last_batch_at": timestamps.to_iso(last[name]),
                "silent_seconds": max(silent, 0.0),
                "rhythm_seconds": rhythm,
                "is_silent": rhythm is not None and silent > SILENT_AFTER * rhythm,
                "is_idle": name in idle,
                **lately.get(name, {"received": 0, "rejected": 0}),
                "before": before.get(name, {"received": 0, "rejected": 0}),
            }
        )
    return found


def _rejected(connection: Connection, since: Any, until: Any) -> dict[str, dict[str, int]]:
    """source -> received and rejected records of its files, in batches processed between these times."""
    sums = [func.sum(batches.c[name]) for name in ("received", "rejected")]
    between = (
        batches.c.processed_at >= timestamps.to_text(since),
        batches.c.processed_at < timestamps.to_text(until),
        batches.c.kind != "replay",
    )
    rows = connection.execute(select(batches.c.source, *sums).where(*between).group_by(batches.c.source))
    return {
        source: {"received": int(received), "rejected": int(rejected)} for source, received, rejected in rows
    }

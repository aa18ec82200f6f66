"""What came in lately, as a sum that adds up; each source beside its own past; and how much came in each hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, func, select

from store import database, timestamps
from store.database.schema import batches
from store.reports import freshness
from store.tables import batches as inbox
from store.tables import load_runs, staging, watermarks

HOURS = 24
HOUR = len("2025-01-15T12")
PAST_DAYS = 30  # what a source's share of rejected records is held against
SILENT_AFTER = 3  # times its own rhythm


def today(
    connection: Connection, idle_after: timedelta | None = None, rhythms: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """The last 24 hours, each source, the last run of the loader, and what is staged.

    `rhythms`: see `rhythms_of_sources`; None: they are read too, which takes the longest.
    """
    now = database.now(connection)
    since = timestamps.to_text(now - timedelta(hours=HOURS))
    runs, own = load_runs.recent(connection, 1), _since(connection, since)
    return {
        "at": timestamps.to_iso(timestamps.to_text(now)),
        "since": timestamps.to_iso(since),
        "sum": day(connection, own),
        "hours": hours(connection, now, own),
        "sources": sources(connection, idle_after, own, rhythms),
        "pending": staging.count(connection),
        "last_run": runs[0] if runs else None,
    }


def _since(connection: Connection, since: str) -> list[ColumnElement[bool]]:
    """Batches that were processed since then: by their numbers too, so that only the latest are read."""
    own = batches.c.processed_at >= since
    first = connection.execute(select(func.min(batches.c.seq)).where(own)).scalar()
    return [own] if first is None else [batches.c.seq >= first, own]


def day(connection: Connection, own: Sequence[ColumnElement[bool]]) -> dict[str, Any]:
    """The sum of these batches, and how many of their records are letters that were sent back."""
    again = select(func.coalesce(func.sum(batches.c.received), 0)).where(*own, batches.c.kind == "replay")
    sent_back = int(connection.execute(again).scalar_one())
    return {**inbox.balance(connection, *own), "sent_back": sent_back}


def hours(connection: Connection, now: datetime, own: Sequence[ColumnElement[bool]]) -> list[dict[str, Any]]:
    """Records received, rejected and late in each of the last hours, oldest first; not all of the first and the last.

    Late are those that were flagged so, and those that were skipped or rejected for it.
    """
    begun = [timestamps.to_text(now - timedelta(hours=ago))[:HOUR] for ago in range(HOURS, -1, -1)]
    hour = func.substr(batches.c.processed_at, 1, HOUR)
    late = batches.c.late + batches.c.skipped
    sums = [func.sum(each) for each in (batches.c.received, batches.c.rejected, late)]
    rows = connection.execute(select(hour, *sums).where(*own).group_by(hour))
    found = {at: [int(number) for number in numbers] for at, *numbers in rows}
    for at, reasons in connection.execute(
        select(hour, batches.c.reasons).where(*own, batches.c.reasons.contains('"late"'))
    ):
        found[at][2] += orjson.loads(reasons).get("late", 0)
    return [
        {"hour": f"{at}:00:00Z", "received": received, "rejected": rejected, "late": late}
        for at in begun
        for received, rejected, late in [found.get(at, (0, 0, 0))]
    ]


def rhythms_of_sources(connection: Connection) -> dict[str, float]:
    """source -> its rhythm in seconds; it changes slowly."""
    return freshness.rhythms(connection, watermarks.last_batches(connection))


def sources(
    connection: Connection,
    idle_after: timedelta | None,
    own: Sequence[ColumnElement[bool]],
    rhythms: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Each source with a batch: its watermark, its silence, and its share of rejected records beside the past's."""
    now = database.now(connection)
    stored, last = watermarks.stored(connection), watermarks.last_batches(connection)
    rhythms = freshness.rhythms(connection, last) if rhythms is None else rhythms
    idle = watermarks.idle_sources(connection, idle_after)
    past, at = timestamps.to_text(now - timedelta(days=PAST_DAYS)), batches.c.processed_at
    lately = _rejected(connection, own)
    before = _rejected(connection, [at >= past, at < timestamps.to_text(now - timedelta(hours=HOURS))])
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


def _rejected(connection: Connection, own: Sequence[ColumnElement[bool]]) -> dict[str, dict[str, int]]:
    """source -> received and rejected records of its files, of these batches."""
    sums = [func.sum(batches.c[name]) for name in ("received", "rejected")]
    between = (*own, batches.c.kind != "replay")
    rows = connection.execute(select(batches.c.source, *sums).where(*between).group_by(batches.c.source))
    return {
        source: {"received": int(received), "rejected": int(rejected)} for source, received, rejected in rows
    }

"""The answers of the commands about time, as data for JSON: one function a command, each over a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from store import timestamps
from store.reports import freshness as rhythm
from store.reports import lateness as lag
from store.tables import watermarks
from store.tables.watermarks import Standing


def watermark(
    connection: Connection, max_future: timedelta, idle_after: timedelta | None = None
) -> dict[str, Any]:
    """The watermark of the pipeline, the sources that hold it back, and the watermark of each source."""
    now = timestamps.now()
    idle, last = watermarks.idle_sources(connection, idle_after), watermarks.last_batches(connection)
    standings = watermarks.standings(connection, max_future)
    values = {each.source: each.value for each in standings if each.value and not each.problem}
    counted = {name: value for name, value in values.items() if name not in idle} or values
    is_known = not any(each.problem for each in standings if each.source not in idle)
    pipeline = watermarks.pipeline(counted) if is_known else None
    return {
        "watermark": _iso(pipeline),
        "held_back_by": [name for name, value in counted.items() if value == pipeline],
        "idle_after_seconds": idle_after.total_seconds() if idle_after is not None else None,
        "sources": [
            {**_standing(each), "age_seconds": _age(each.value, now), "idle": each.source in idle,
             "last_batch_at": _iso(last.get(each.source))}
            for each in [*standings, *_unmoved(last, standings)]
        ],
    }  # fmt: skip


def _unmoved(last: Mapping[str, str], standings: Sequence[Standing]) -> list[Standing]:
    """Sources with batches of which no record is loaded yet."""
    known = {each.source for each in standings}
    return [Standing(name, *[None] * 8) for name in sorted(last) if name not in known]


def _standing(standing: Standing) -> dict[str, Any]:
    moved_by = f"load-{standing.lineage_id}" if standing.lineage_id is not None else None
    return {
        "source": standing.source,
        "watermark": _iso(standing.value),
        "moved_at": _iso(standing.moved_at),
        "run": standing.run,
        "record_key": standing.record_key,
        "lineage_id": moved_by,
        "why": standing.why,
        "by": standing.by,
        "problem": standing.problem,
    }


def _age(value: str | None, now: datetime) -> float | None:
    try:
        age = now - timestamps.from_text(value or "")
    except ValueError:  # nothing was loaded yet, or what is stored is corrupt: the report says so beside it
        return None
    return round(age.total_seconds(), 3)


def moves(connection: Connection, source: str | None, limit: int) -> list[dict[str, Any]]:
    """The latest moves of watermarks, newest first."""
    return [
        {
            "move": row["id"],
            "source": row["source"],
            "previous": _iso(row["previous"]),
            "watermark": _iso(row["value"]),
            "run": row["run_seq"],
            "record_key": row["record_key"],
            "why": row["why"],
            "by": row["by"],
            "at": _iso(row["at"]),
        }
        for row in watermarks.history(connection, source, limit)
    ]


def repair(connection: Connection, max_future: timedelta) -> dict[str, Any]:
    """Restores the corrupt watermarks: the value of each before and after."""
    changed = watermarks.repair(connection, max_future)
    return {
        "repaired": [
            {"source": source, "was": _iso(was), "watermark": _iso(value)} for source, was, value in changed
        ]
    }


def freshness(connection: Connection, idle_after: timedelta | None = None) -> dict[str, Any]:
    """The newest record of each source, its age, its flagged records and its rhythm."""
    idle = watermarks.idle_sources(connection, idle_after)
    sources = []
    for each in rhythm.of_sources(connection, timestamps.now()):
        row = asdict(each) | {"newest": _iso(each.newest), "last_batch_at": _iso(each.last_batch_at)}
        row["age_seconds"] = None if each.age_seconds is None else round(each.age_seconds, 3)
        sources.append({**row, "idle": each.source in idle})
    return {"late": [row["source"] for row in sources if row["late"]], "sources": sources}


def lateness(
    connection: Connection, sources: Sequence[str], allowed: Sequence[timedelta]
) -> dict[str, list[dict[str, Any]]]:
    """The records of each source by arrival lag, and how many would be late for each allowed lateness."""
    return {
        "sources": [
            {
                "source": each.source,
                "records": each.records,
                "lags": [{"lag": name, "records": number} for name, number in each.lags.items()],
                "late": [
                    {"allowed_seconds": span.total_seconds(), "records": each.late.get(span, 0)}
                    for span in allowed
                ],
                "not_loaded": each.not_loaded,
            }
            for each in lag.of_sources(connection, sources, allowed)
        ]
    }


def _iso(stored: Any) -> str | None:
    return None if stored is None else timestamps.to_iso(stored)

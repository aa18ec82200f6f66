"""Receipts: what each enqueue, batch and load took in and gave out, all in one shape.

What does not happen in a step is null there: a load rejects nothing, a batch moves no watermark.
"""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection, select

from store import database, timestamps
from store.database.schema import batches
from store.tables import batches as inbox
from store.tables import enqueues, load_runs

Receipt = dict[str, Any]


def recent(connection: Connection, limit: int) -> dict[str, list[Receipt]]:
    """The latest receipts of each kind, newest first."""
    rows = connection.execute(select(batches).order_by(batches.c.seq.desc()).limit(limit)).mappings()
    return {
        "runs": [_of_run(row) for row in load_runs.recent(connection, limit)],
        "batches": [_of_batch(database.as_dict(row)) for row in rows],
        "enqueues": [_of_enqueue(row) for row in enqueues.recent(connection, limit)],
    }


def _of_run(row: dict[str, Any]) -> Receipt:
    seconds = _decoded(row["stage_seconds"])
    wrote = row["inserted"] + row["updated"]
    return {
        "kind": "load",
        "id": row["seq"],
        "status": row["status"],
        "source": None,
        "file": None,
        "finished_at": _iso(None if row["status"] == "running" else row["finished_at"]),
        "records_in": wrote + row["superseded"],
        "records_out": wrote,
        "outcomes": {name: row[name] for name in ("inserted", "updated", "superseded")},
        "stages_run": list(seconds),
        "dedupe": None,
        "rejects": {},
        "late": None,
        "stale": None,
        "fresh": None,
        "watermark_before": _iso(row["watermark_before"]),
        "watermark_after": _iso(row["watermark_after"]),
        "seconds": round(row["seconds"], 6),
        "stage_seconds": seconds,
        "error": row["error"],
    }


def _of_batch(row: dict[str, Any]) -> Receipt:
    seconds, rejects = _decoded(row["seconds"]), _decoded(row["reasons"])
    names = ("staged", "duplicates", "superseded", "rejected", "skipped")
    return {
        "kind": row["kind"],
        "id": row["id"],
        "status": "succeeded",
        "source": row["source"],
        "file": row["file"],
        "finished_at": _iso(row["processed_at"]),
        "records_in": row["received"],
        "records_out": row["staged"],
        "outcomes": {name: row[name] for name in names},
        "stages_run": _decoded(row["stages_run"]),
        "dedupe": _dedupe(row["duplicates"], row["staged"] + row["superseded"]),
        "rejects": rejects,
        **inbox.by_time(row, rejects),
        "watermark_before": _iso(row["watermark_before"]),
        "watermark_after": _iso(row["watermark_before"]),
        "seconds": round(sum(seconds.values()), 6),
        "stage_seconds": seconds,
        "error": None,
    }


def _of_enqueue(row: dict[str, Any]) -> Receipt:
    waited = row["waited_seconds"]
    seconds = {"send": round(row["seconds"] - waited, 6), "wait": round(waited, 6)}
    return {
        "kind": f"enqueue {row['kind']}",
        "id": row["seq"],
        "status": "succeeded",
        "source": row["source"],
        "file": row["file"],
        "finished_at": _iso(row["finished_at"]),
        "records_in": row["records"],
        "records_out": row["records"],
        "outcomes": {name: row[name] for name in ("batches", "sent_batches", "known_batches")},
        "stages_run": list(seconds),
        "dedupe": _dedupe(
            row["known_batches"], row["sent_batches"]
        ),  # of batches: known ones are not sent again
        "rejects": {},
        "late": None,
        "stale": None,
        "fresh": None,
        "watermark_before": None,
        "watermark_after": None,
        "seconds": round(row["seconds"], 6),
        "stage_seconds": seconds,
        "error": None,
    }


def _dedupe(hits: int, misses: int) -> dict[str, float]:
    return {"hits": hits, "misses": misses, "hit_rate": hits / (hits + misses) if hits + misses else 0.0}


def _decoded(text: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(text)
    return found


def _iso(stored: str | None) -> str | None:
    return timestamps.to_iso(stored) if stored else None

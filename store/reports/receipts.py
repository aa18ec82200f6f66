"""Receipts: what each delivery, batch and run took in and gave out, all with the same keys.

A key that a kind of receipt does not need is null there: a run rejects nothing, a batch moves no watermark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from sqlalchemy import Connection

from store import timestamps
from store.tables import batches as inbox
from store.tables import deliveries, load_runs

Receipt = dict[str, Any]

KEYS = (
    "kind", "id", "status", "source", "file", "first_line", "last_line", "fingerprint",
    "holder", "started_at", "finished_at", "duration_seconds",
    "records_in", "records_out", "outcomes", "conflicts", "dedupe", "rejects", "late", "stale", "fresh",
    "ambiguous", "shifted",
    "watermark_before", "watermark_after", "chunks", "stages_run", "seconds", "stage_seconds", "error",
)  # fmt: skip
BATCH_OUTCOMES = ("staged", "rejected", "skipped", *load_runs.OUTCOMES)
DELIVERY_OUTCOMES = ("batches", "sent_batches", "known_batches")


def recent(connection: Connection, limit: int) -> dict[str, list[Receipt]]:
    """The latest receipts of each kind, newest first."""
    kinds: dict[str, Callable[[Connection, int], list[Receipt]]] = {
        "runs": runs,
        "batches": batches,
        "deliveries": sent,
    }
    return {name: receipts(connection, limit) for name, receipts in kinds.items()}


def runs(connection: Connection, limit: int, before: int | None = None) -> list[Receipt]:
    """The loader's latest runs, or those before one, newest first."""
    return [_of_run(row) for row in load_runs.recent(connection, limit, before)]


def batches(connection: Connection, limit: int, before: int | None = None) -> list[Receipt]:
    """The latest batches, or those before one, newest first."""
    return [_of_batch(row) for row in inbox.recent(connection, limit, before)]


def sent(connection: Connection, limit: int, before: int | None = None) -> list[Receipt]:
    """The latest deliveries, or those before one, newest first."""
    return [_of_delivery(row) for row in deliveries.recent(connection, limit, before)]


def _of_run(row: Mapping[str, Any]) -> Receipt:
    finished = None if row["status"] == "running" else row["finished_at"]
    ended = timestamps.from_text(finished) if finished else timestamps.now()
    seconds = orjson.loads(row["stage_seconds"])
    written = row["inserted"] + row["updated"]
    return _receipt(
        kind="load",
        id=row["seq"],
        status=row["status"],
        holder=row["holder"],
        started_at=row["started_at"],
        finished_at=finished,
        duration_seconds=round((ended - timestamps.from_text(row["started_at"])).total_seconds(), 6),
        records_in=sum(row[name] for name in load_runs.OUTCOMES),
        records_out=written,
        outcomes={name: row[name] for name in load_runs.OUTCOMES},
        conflicts=orjson.loads(row["conflicts"]),
        dedupe=_dedupe(row["duplicates"], written + row["superseded"]),
        rejects={},
        watermark_before=row["watermark_before"],
        watermark_after=row["watermark_after"],
        chunks=row["chunks"],
        stages_run=list(seconds),
        seconds=round(row["seconds"], 6),
        stage_seconds=seconds,
        error=row["error"],
    )


def _of_batch(row: Mapping[str, Any]) -> Receipt:
    seconds = round(sum(row["seconds"].values()), 6)
    return _receipt(
        kind=row["kind"],
        id=row["id"],
        status="succeeded",
        source=row["source"],
        file=row["file"],
        first_line=row["first_line"],
        last_line=row["last_line"],
        fingerprint=row["fingerprint"],
        finished_at=row["processed_at"],
        duration_seconds=seconds,
        records_in=row["received"],
        records_out=row["staged"],
        outcomes={name: row[name] for name in BATCH_OUTCOMES},
        conflicts=row["conflicts"],
        rejects=row["reasons"],
        **inbox.by_time(row, row["reasons"]),
        ambiguous=row["ambiguous"],
        shifted=row["shifted"],
        watermark_before=row["watermark_before"],
        watermark_after=row["watermark_before"],
        stages_run=row["stages_run"],
        seconds=seconds,
        stage_seconds=row["seconds"],
    )


def _of_delivery(row: Mapping[str, Any]) -> Receipt:
    counts = {name: row[name] or 0 for name in ("records", *DELIVERY_OUTCOMES)}
    waited, took = row["waited_seconds"] or 0.0, row["seconds"] or 0.0
    seconds = {"send": round(took - waited, 6), "wait": round(waited, 6)}
    return _receipt(
        kind=f"delivery of a {row['kind']}",
        id=row["seq"],
        status=_status_of_delivery(row),
        source=row["source"],
        file=row["file"],
        fingerprint=row["fingerprint"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        duration_seconds=round(took, 6),
        records_in=counts["records"],
        records_out=counts["records"],
        outcomes={name: counts[name] for name in DELIVERY_OUTCOMES},
        # Of batches: a known batch is not sent again.
        dedupe=_dedupe(counts["known_batches"], counts["sent_batches"]),
        rejects={},
        stages_run=list(seconds),
        seconds=round(took, 6),
        stage_seconds=seconds,
        error=row["error"],
    )


def _status_of_delivery(row: Mapping[str, Any]) -> str:
    if not row["finished_at"]:
        return "unfinished"
    return "sent in part" if row["error"] else "succeeded"


def _receipt(**given: Any) -> Receipt:
    """Every key in the same order, null where it is not given, with timestamps as ISO 8601."""
    times = ("started_at", "finished_at", "watermark_before", "watermark_after")
    found = {name: given.pop(name, None) for name in KEYS}
    if given:
        raise TypeError(f"not keys of a receipt: {', '.join(given)}")
    return found | {name: timestamps.to_iso(found[name]) for name in times if found[name]}


def _dedupe(hits: int, misses: int) -> dict[str, float]:
    return {"hits": hits, "misses": misses, "hit_rate": hits / (hits + misses) if hits + misses else 0.0}

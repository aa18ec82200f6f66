"""The totals of everything so far, as one dictionary, for `store report`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from store.checks import conservation
from store.dead_letters import groups
from store.tables import lineage, load_runs, staging, target, watermarks


def report(connection: Connection, idle_after: timedelta | None = None) -> dict[str, Any]:
    """Every count. `input_records` = staged + rejected + skipped."""
    totals = conservation.totals(connection)
    loads = load_runs.totals(connection)
    stored = watermarks.stored(connection)
    hits = loads["duplicates"]
    misses = sum(loads.values()) - hits
    steps = lineage.count_by_step(connection)
    return {
        "input_records": totals["received"],
        "staged": totals["staged"],
        "rejected": totals["rejected"],
        "skipped": totals["skipped"],
        "late": totals["late"],
        "stale": totals["stale"],
        "ambiguous": totals["ambiguous"],
        "shifted": totals["shifted"],
        "fresh": totals["fresh"],
        "loaded": sum(loads.values()),
        "inserted": loads["inserted"],
        "updated": loads["updated"],
        "duplicates": loads["duplicates"],
        "superseded": loads["superseded"],
        "conflicts": totals["conflicts"],
        "pending": staging.count(connection),
        "target_rows": target.count(connection),
        "deleted_rows": target.count_deleted(connection),
        "dead_letters": groups.count_open(connection),
        "replayed": steps["replay"],
        "lineage_entries": sum(steps.values()),
        "watermark": watermarks.pipeline(stored, watermarks.idle_sources(connection, idle_after)),
        "watermarks": stored,
        "reasons": groups.open_by_reason(connection),
        "by_source": by_source(connection),
        "dedupe": {
            "hits": hits,
            "misses": misses,
            "hit_rate": hits / (hits + misses) if hits + misses else 0.0,
        },
    }


def by_source(connection: Connection) -> dict[str, dict[str, Any]]:
    """source -> its counters, rows in the target, open dead letters and watermark."""
    rows, letters = target.counts_by_source(connection), groups.open_by_source(connection)
    stored = watermarks.stored(connection)
    return {
        source: {
            **counters,
            "target_rows": rows.get(source, 0),
            "dead_letters": letters.get(source, 0),
            "watermark": stored.get(source),
        }
        for source, counters in conservation.totals_by_source(connection).items()
    }

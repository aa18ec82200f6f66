"""What `store report`, `batches`, `runs` and `check` print for people.

The data comes from `store.reports`. Text from records is printed without markup and without control characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from store.cli.render.elements import (
    EMPTY,
    Kind,
    Listing,
    file_and_lines,
    moment,
    second,
    span,
    table,
)
from store.text import printable

MAX_PAYLOAD = 4096
COUNTERS = ("received", "staged", "rejected", "skipped", "duplicates", "superseded")
COUNTER_COLUMNS: Mapping[str, Kind] = dict.fromkeys(COUNTERS, "number")
TOTALS = ("input_records", "staged", "rejected", "skipped", "loaded", "duplicates", "superseded",
          "conflicts", "pending", "target_rows", "dead_letters", "lineage_entries")  # fmt: skip
NO_RUNS = "The loader has not run yet. `worker up --burst` processes what is queued and loads it."


def report(found: dict[str, Any]) -> list[Any]:
    """The totals, the open dead letters by reason, and a row for each source."""
    if not found["input_records"]:
        return [EMPTY]
    things: list[Any] = [_totals(found)]
    if found["reasons"]:
        columns: dict[str, Kind] = {"reason": "text", "number": "number"}
        things.append(table("Open dead letters", columns, found["reasons"].items()))
    things.append(_by_source(found["by_source"]))
    things.append(f"\nwatermark: {moment(found['watermark']) or 'none yet: nothing is loaded'}")
    return things


def _totals(found: dict[str, Any]) -> Listing:
    times: tuple[str, ...] = (
        ("late", "stale", "fresh") if found["stale"] else ("late",) if found["late"] else ()
    )
    times += tuple(name for name in ("ambiguous", "shifted") if found[name])
    notes = {
        "input_records": ", ".join(f"{found[name]:,} {name}" for name in times),
        "duplicates": f"{found['dedupe']['hit_rate']:.1%} of loaded records",
        "conflicts": "equal time and sequence, other content: `store conflicts`"
        if found["conflicts"]
        else "",
        "rejected": f"{found['dead_letters']:,} dead letters open, {found['replayed']:,} sent back",
        "loaded": f"{found['inserted']:,} inserted, {found['updated']:,} updated, "
        f"{found['duplicates']:,} duplicates, {found['superseded']:,} superseded",
        "target_rows": f"{found['deleted_rows']:,} deleted" if found["deleted_rows"] else "",
        "pending": "`worker load` loads them" if found["pending"] else "",
    }
    columns: dict[str, Kind] = {"records": "text", "number": "number", "": "text"}
    rows = ([name.replace("_", " "), found[name], notes.get(name, "")] for name in TOTALS)
    return table("Totals", columns, rows)


def _by_source(found: dict[str, dict[str, Any]]) -> Listing:
    columns: dict[str, Kind] = {
        "source": "text",
        "watermark": "fixed",
        **COUNTER_COLUMNS,
        "in target": "number",
    }
    rows = (
        [name, moment(each["watermark"]), *(each[counter] for counter in COUNTERS), each["target_rows"]]
        for name, each in found.items()
    )
    return table("Sources", columns, rows)


def batches(found: list[dict[str, Any]]) -> list[Any]:
    """The receipts of batches, a row each."""
    if not found:
        return [EMPTY]
    columns: dict[str, Kind] = {"batch": "fixed", "source": "text", "file:lines": "text", **COUNTER_COLUMNS,
                                "processed": "fixed"}  # fmt: skip
    rows = (
        [
            each["id"][:8],
            each["source"],
            file_and_lines(each["file"], f"{each['first_line']}-{each['last_line']}"),
            each["records_in"],
            *(each["outcomes"][counter] for counter in COUNTERS[1:]),
            second(each["finished_at"]),
        ]
        for each in found
    )
    return [table("Batches, newest first", columns, rows)]


def runs(found: list[dict[str, Any]]) -> list[Any]:
    """The receipts of the loader's runs, a row each, and the errors of those that failed."""
    if not found:
        return [NO_RUNS]
    columns: dict[str, Kind] = {"run": "number", "status": "fixed", "started": "fixed", "duration": "number",
                                "rows": "number", "inserted": "number", "updated": "number",
                                "duplicates": "number", "superseded": "number", "watermark after": "fixed"}  # fmt: skip
    rows = (
        [
            each["id"],
            each["status"],
            second(each["started_at"]),
            span(each["duration_seconds"]),
            each["records_in"],
            *each["outcomes"].values(),
            moment(each["watermark_after"]),
        ]
        for each in found
    )
    errors = [printable(f"run {each['id']}: {each['error']}") for each in found if each["error"]]
    return [table("Loader runs, newest first", columns, rows), *errors]


def check(found: dict[str, Any]) -> list[Any]:
    """The laws, a line each, and the violations of each."""
    lines = []
    for law in found["laws"]:
        word = "unchecked" if law["unchecked"] else "ok" if law["holds"] else "VIOLATED"
        note = law["unchecked"] or law["waiting"]
        lines.append(f"{word:9} {law['law']}" + (f": {note}" if note else ""))
        lines += [printable(f"          {violation}") for violation in law["violations"]]
    return lines

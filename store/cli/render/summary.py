"""What the command shows, for people: tables and trees of the data that `store.reports.answers` gives.

Nothing that came out of a record is ever read as markup or reaches the terminal as control characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from store.cli.render.elements import (
    MOST_IN_CELL,
    Kind,
    cell,
    frame,
    moment,
    place,
    second,
    short,
    span,
    table,
)
from store.payload import to_bytes
from store.terminal import shown

MOST_IN_PAYLOAD = 4096
COUNTERS = ("received", "staged", "duplicates", "superseded", "rejected", "skipped")
COUNTER_COLUMNS: Mapping[str, Kind] = dict.fromkeys(COUNTERS, "number")

EMPTY = (
    "Nothing has been processed yet. Send a file with `producer enqueue FILE`, then run `worker up --burst`."
)
NO_RUNS = "The loader has not run yet. `worker up --burst` processes what is queued and loads it."


def report(found: dict[str, Any]) -> list[Any]:
    """The receipt."""
    if not found["input_records"]:
        return [EMPTY]
    dedupe = found["dedupe"]
    times = ("late", "stale", "fresh") if found["stale"] else ("late",) if found["late"] else ()
    notes = {
        "input_records": ", ".join(f"{found[name]:,} {name}" for name in times),
        "duplicates": f"{dedupe['hit_rate']:.1%} of valid records",
        "rejected": f"{found['dead_letters']:,} dead letters open, {found['replayed']:,} sent back",
        "loaded": f"{found['inserted']:,} inserted, {found['updated']:,} updated, "
        f"{found['superseded_at_load']:,} superseded",
        "pending": "`worker load` loads them" if found["pending"] else "",
    }
    names = ("input_records", "staged", "duplicates", "superseded", "rejected", "skipped", "loaded",
             "pending", "target_rows", "dead_letters", "lineage_entries")  # fmt: skip
    totals = frame("Receipt")
    totals.add_column("records")
    totals.add_column("number", justify="right", no_wrap=True)
    totals.add_column("")
    for name in names:
        totals.add_row(cell(name.replace("_", " ")), cell(found[name]), cell(notes.get(name, "")))
    things: list[Any] = [totals]
    if found["reasons"]:
        things.append(
            table("Open dead letters", {"reason": "text", "number": "number"}, found["reasons"].items())
        )
    things.append(_by_source(found["by_source"]))
    things.append(f"\nwatermark: {moment(found['watermark']) or 'none yet: nothing is loaded'}")
    return things


def _by_source(found: dict[str, dict[str, Any]]) -> Table:
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
    """Batch receipts."""
    if not found:
        return [EMPTY]
    columns: dict[str, Kind] = {"batch": "fixed", "source": "text", "file:lines": "text", **COUNTER_COLUMNS,
                                "processed": "fixed"}  # fmt: skip
    rows = (
        [
            each["batch"][:8],
            each["source"],
            place(each["file"], f"{each['first_line']}-{each['last_line']}"),
            *(each[name] for name in COUNTERS),
            second(each["processed_at"]),
        ]
        for each in found
    )
    return [table("Batches, newest first", columns, rows)]


def runs(found: list[dict[str, Any]]) -> list[Any]:
    """The loader's runs, and what the failed ones said."""
    if not found:
        return [NO_RUNS]
    counts = ("rows", "inserted", "updated", "superseded")
    columns: dict[str, Kind] = {"run": "number", "status": "fixed", "started": "fixed", "duration": "number",
                                **dict.fromkeys(counts, "number"), "watermark after": "fixed"}  # fmt: skip
    rows = (
        [
            each["run"],
            each["status"],
            second(each["started_at"]),
            span(each["duration_seconds"]),
            *(each[name] for name in counts),
            moment(each["watermark_after"]),
        ]
        for each in found
    )
    errors = [shown(f"run {each['run']}: {each['error']}") for each in found if each["error"]]
    return [table("Loader runs, newest first", columns, rows), *errors]


def dead_letters(found: list[dict[str, Any]], matching: int, status: str) -> list[Any]:
    """Dead letters, a line each."""
    if not found:
        return [
            f"No {'' if status == 'all' else status + ' '}dead letters that match: `store report` counts them."
        ]
    columns: dict[str, Kind] = {"id": "fixed", "source": "text", "reason": "text", "error": "text",
                                "file:line": "text", "payload": "text", "times": "number"}  # fmt: skip
    rows = (
        [
            each["id"][:8],
            each["source"],
            each["reason"] + (" (resolved)" if each["status"] == "resolved" else ""),
            first_error(each),
            place(each["file"], each["line"]),
            payload(each, MOST_IN_CELL),
            each["occurrences"],
        ]
        for each in found
    )
    things: list[Any] = [table("Dead letters", columns, rows)]
    if matching > len(found):
        things.append(f"\n{len(found):,} of {matching:,} shown: --limit {matching} shows all.")
    things.append("\nOne in full: `store dead-letters --id ID`. After a fix: `producer replay`.")
    return things


def dead_letter(found: dict[str, Any]) -> list[Any]:
    """One dead letter in full."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column("name", no_wrap=True)
    made.add_column("value", overflow="fold")
    rows: dict[str, str] = {
        "id": found["id"],
        "status": found["status"]
        + (f" since {second(found['resolved_at'])}" if found["resolved_at"] else ""),
        "source": found["source"],
        "file:line": f"{found['file']}:{found['line']}",
        "key": found["record_key"] or "",
        "seen": f"{found['occurrences']:,} times, {second(found['first_seen_at'])} to "
        f"{second(found['last_seen_at'])}",
        "replays": f"{found['replays']:,}",
        "payload": f"{found['size']:,} bytes, {found['format']}",
    }
    for error in found["errors"]:
        rows[f"error {len(rows) - 7}"] = error_text(error)
    for name, value in rows.items():
        made.add_row(Text(name, style="bold"), Text(shown(value)))
    more = f"store lineage --file {found['file']} --line {found['line']}"
    return [made, "", Text(payload(found, MOST_IN_PAYLOAD)), "", shown(f"What became of it: `{more}`")]


def first_error(letter: dict[str, Any]) -> str:
    """What is wrong, in the words of the record's first error."""
    return error_text(letter["errors"][0]) if letter["errors"] else ""


def error_text(error: dict[str, str]) -> str:
    return f"{error['field']}: {error['message']}" if error.get("field") else error.get("message", "")


def payload(letter: dict[str, Any], most: int) -> str:
    """A payload's head, made harmless."""
    head = to_bytes(letter["payload"][: 4 * most], letter["encoding"])  # 4 characters of base64 are 3 bytes
    return short(head.decode("utf-8", "backslashreplace"), most)


def check(found: dict[str, Any]) -> list[Any]:
    """The two laws."""
    lines = []
    for law in found["laws"]:
        word = "unchecked" if law["unchecked"] else "ok" if law["holds"] else "VIOLATED"
        lines.append(f"{word:9} {law['law']}" + (f": {law['unchecked']}" if law["unchecked"] else ""))
        lines += [shown(f"          {violation}") for violation in law["violations"]]
    return lines

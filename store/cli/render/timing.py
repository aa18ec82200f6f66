"""What `store watermark`, `freshness` and `lateness` print: tables of the data of `store.reports.timing`."""

from __future__ import annotations

from typing import Any

from store.cli.render.elements import EMPTY, Kind, moment, second, span, table
from store.terminal import counted
from store.text import printable

NOTHING = "No watermark yet: nothing is loaded. `worker up --burst` processes what is queued and loads it."
BAR = 40


def watermark(found: dict[str, Any]) -> list[Any]:
    """The watermark of each source with its age and last move, then that of the pipeline."""
    if not found["sources"]:
        return [NOTHING]
    rows = (
        [
            each["source"],
            moment(each["watermark"]) or "none yet",
            span(each["age_seconds"]),
            second(each["moved_at"]),
            f"run {each['run']}" if each["run"] is not None else each["by"] or each["why"],
            each["record_key"],
            _state(each),
        ]
        for each in found["sources"]
    )
    columns: dict[str, Kind] = {"source": "text", "watermark": "fixed", "age": "number", "moved": "fixed",
                                "by": "text", "record": "text", "state": "fixed"}  # fmt: skip
    return [table("Watermarks", columns, rows), "", printable(_pipeline(found)), *_notes(found)]


def _state(each: dict[str, Any]) -> str:
    state = "CORRUPT" if each["problem"] else "valid" if each["watermark"] else "nothing loaded"
    return f"{state}, idle" if each["idle"] else state


def _pipeline(found: dict[str, Any]) -> str:
    if found["watermark"] is None:
        corrupt = any(each["problem"] for each in found["sources"])
        return f"pipeline: {'unknown until the corrupt watermarks are repaired' if corrupt else 'none yet'}"
    pipeline = f"pipeline: {moment(found['watermark'])}"
    if len(found["sources"]) == 1:
        return pipeline
    idle = "; every source is idle" if all(each["idle"] for each in found["sources"]) else ""
    return f"{pipeline}, held back by {', '.join(found['held_back_by'])}{idle}"


def _notes(found: dict[str, Any]) -> list[str]:
    """Watermarks that somebody moved, idle sources, and problems."""
    notes = []
    for each in found["sources"]:
        if each["by"]:
            notes.append(f"{each['source']} was moved by hand ({each['by']}): {each['why']}")
        if each["idle"]:
            last = second(each["last_batch_at"])
            batch = f"its last batch came at {last}" if last else "it has sent no batch"
            notes.append(f"{each['source']} is idle: {batch}; it does not hold the pipeline back")
        if each["problem"]:
            notes.append(each["problem"])
    return [printable(note) for note in notes]


def moves(found: list[dict[str, Any]]) -> list[Any]:
    """Moves of watermarks, a row each."""
    if not found:
        return [NOTHING]
    columns: dict[str, Kind] = {"move": "number", "source": "text", "from": "fixed", "to": "fixed", "at": "fixed",
                                "by": "text", "why": "text"}  # fmt: skip
    rows = (
        [
            each["move"],
            each["source"],
            moment(each["previous"]),
            moment(each["watermark"]),
            second(each["at"]),
            f"run {each['run']}" if each["run"] is not None else each["by"],
            f"record {each['record_key']}" if each["record_key"] else each["why"],
        ]
        for each in found
    )
    return [table("Moves, newest first", columns, rows, names=2)]


def moved(found: dict[str, Any]) -> list[Any]:
    """One move that somebody made."""
    was = moment(found["previous"]) or "none"
    return [
        printable(f"{found['source']}: moved from {was} to {moment(found['watermark'])} by {found['by']}.")
    ]


def repaired(found: dict[str, Any]) -> list[Any]:
    """What a repair changed."""
    if not found["repaired"]:
        return ["Every watermark is valid: nothing to repair."]
    return [
        printable(
            f"{each['source']}: was {moment(each['was']) or 'missing'}, is {moment(each['watermark']) or 'none'}"
        )
        for each in found["repaired"]
    ]


def freshness(found: dict[str, Any]) -> list[Any]:
    """The newest record of each source, and whether the source is late."""
    if not found["sources"]:
        return [EMPTY]
    columns: dict[str, Kind] = {"source": "text", "newest record": "fixed", "age": "number", "fresh": "number",
                                "stale": "number", "rhythm": "number", "state": "fixed"}  # fmt: skip
    rows = (
        [
            each["source"],
            moment(each["newest"]),
            span(each["age_seconds"]),
            each["fresh"],
            each["stale"],
            span(each["rhythm_seconds"]),
            _timeliness(each),
        ]
        for each in found["sources"]
    )
    late = [
        printable(
            f"{each['source']} is late: its newest record is {span(each['age_seconds'])} old, "
            f"and its rhythm is {span(each['rhythm_seconds'])}"
        )
        for each in found["sources"]
        if each["late"]
    ]
    return [table("Freshness", columns, rows), *(["", *late] if late else [])]


def _timeliness(each: dict[str, Any]) -> str:
    if each["newest"] is None:
        state = "nothing loaded"
    elif each["rhythm_seconds"] is None:
        state = "no rhythm yet"
    else:
        state = "late" if each["late"] else "on time"
    return f"{state}, idle" if each["idle"] else state


def lateness(found: dict[str, Any]) -> list[Any]:
    """The arrival lags of each source as bars, and how many records would be late."""
    if not any(each["records"] for each in found["sources"]):
        return ["No record has been staged yet. `worker up --burst` processes what is queued and loads it."]
    things: list[Any] = [_lags(each) for each in found["sources"]]
    spans = [duration(late["allowed_seconds"]) for late in found["sources"][0]["late"]]
    columns: dict[str, Kind] = {
        "source": "text",
        "records": "number",
        **{f"allowed {name}": "number" for name in spans},
    }
    rows = (
        [each["source"], each["records"], *(late["records"] for late in each["late"])]
        for each in found["sources"]
    )
    things.append(table("Records that would be late, by allowed lateness", columns, rows))
    not_loaded = [
        printable(
            f"{each['source']}: {counted(each['not_loaded'], 'late record')} rejected or skipped, not counted above"
        )
        for each in found["sources"]
        if each["not_loaded"]
    ]
    return [*things, *(["", *not_loaded] if not_loaded else [])]


def _lags(found: dict[str, Any]) -> Any:
    """A bar for each lag, from the smallest to the greatest that occurs."""
    most = max(each["records"] for each in found["lags"])
    occurring = [number for number, each in enumerate(found["lags"]) if each["records"]]
    lags = found["lags"][occurring[0] : occurring[-1] + 1] if occurring else []
    rows = (
        [lag_name(each["lag"]), each["records"], "█" * -(-each["records"] * BAR // most)] for each in lags
    )
    columns: dict[str, Kind] = {"lag": "fixed", "records": "number", "": "fixed"}
    return table(f"Arrival lag of {found['source']}", columns, rows)


def lag_name(name: str) -> str:
    """A bar's name: `up to 10m`, `more`, or `ahead of the clock`."""
    return {"ahead": "ahead of the clock", "more": "more"}.get(name, f"up to {name}")


def duration(seconds: float) -> str:
    """`0`, `90s`, `15m`, `1h`, `7d`: as users type it."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s" if seconds else "0"

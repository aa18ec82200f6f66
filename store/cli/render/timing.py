"""What the commands about time show, for people: tables of the data that `store.reports.timing` gives."""

from __future__ import annotations

from typing import Any

from store.cli.render.elements import Kind, moment, second, span, table
from store.terminal import counted, shown

NOTHING = "No watermark yet: nothing is loaded. `worker up --burst` processes what is queued and loads it."
BAR = 40


def watermark(found: dict[str, Any]) -> list[Any]:
    """Each source's watermark, its age and its last move; then the pipeline's."""
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
    return [table("Watermarks", columns, rows), "", shown(_pipeline(found)), *_notes(found)]


def _state(each: dict[str, Any]) -> str:
    state = "CORRUPT" if each["problem"] else "holds" if each["watermark"] else "nothing loaded"
    return f"{state}, idle" if each["idle"] else state


def _pipeline(found: dict[str, Any]) -> str:
    if found["watermark"] is None:
        corrupt = any(each["problem"] for each in found["sources"])
        return f"The pipeline's: {'unknown until they are repaired' if corrupt else 'none yet'}"
    said = f"The pipeline's: {moment(found['watermark'])}"
    if len(found["sources"]) == 1:
        return said
    why = ", all of them idle" if all(each["idle"] for each in found["sources"]) else ""
    return f"{said}, held back by {', '.join(found['held_back_by'])}{why}"


def _notes(found: dict[str, Any]) -> list[str]:
    """What is wrong, who moved what by hand, and which sources are idle since when."""
    notes = []
    for each in found["sources"]:
        if each["by"]:
            notes.append(f"{each['source']} was moved by hand ({each['by']}): {each['why']}")
        if each["idle"]:
            since = second(each["last_batch_at"]) or "ever"
            notes.append(
                f"{each['source']} is idle: no batch since {since}; it does not hold the pipeline back"
            )
        if each["problem"]:
            notes.append(each["problem"])
    return [shown(note) for note in notes]


def moves(found: list[dict[str, Any]]) -> list[Any]:
    """Moves of watermarks, a line each."""
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
    return [table("Moves, newest first", columns, rows)]


def moved(found: dict[str, Any]) -> list[Any]:
    """One move by hand."""
    was = moment(found["previous"]) or "nowhere"
    return [shown(f"{found['source']}: moved from {was} to {moment(found['watermark'])} by {found['by']}.")]


def repaired(found: dict[str, Any]) -> list[Any]:
    """What a repair changed."""
    if not found["repaired"]:
        return ["Every watermark holds: nothing to repair."]
    return [
        shown(
            f"{each['source']}: was {moment(each['was']) or 'gone'}, is {moment(each['watermark']) or 'none'}"
        )
        for each in found["repaired"]
    ]


def freshness(found: dict[str, Any]) -> list[Any]:
    """Each source's newest record, and whether that is late."""
    if not found["sources"]:
        return ["Nothing has been processed yet. `worker up --burst` processes what is queued and loads it."]
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
        shown(
            f"{each['source']} is late: nothing newer for {span(each['age_seconds'])}, "
            f"where its runs are {span(each['rhythm_seconds'])} apart"
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
    """Each source's arrival lags as bars, and how many records would be late."""
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
    things.append(table("Would be late, by allowed lateness", columns, rows))
    turned_away = [
        shown(
            f"{each['source']}: {counted(each['turned_away'], 'late record')} more turned away, not counted above"
        )
        for each in found["sources"]
        if each["turned_away"]
    ]
    return [*things, *(["", *turned_away] if turned_away else [])]


def _lags(found: dict[str, Any]) -> Any:
    """A bar for each lag, from the least to the greatest that there is."""
    most = max(each["records"] for each in found["lags"])
    there = [place for place, each in enumerate(found["lags"]) if each["records"]]
    shown_lags = found["lags"][there[0] : there[-1] + 1] if there else []
    rows = (
        [lag_name(each["lag"]), each["records"], "█" * -(-each["records"] * BAR // most)]
        for each in shown_lags
    )
    columns: dict[str, Kind] = {"lag": "fixed", "records": "number", "": "fixed"}
    return table(f"Arrival lag of {shown(found['source'])}", columns, rows)


def lag_name(name: str) -> str:
    """A bar's name: `up to 10m`, `more`, or `ahead of the clock`."""
    return {"ahead": "ahead of the clock", "more": "more"}.get(name, f"up to {name}")


def duration(seconds: float) -> str:
    """`0`, `90s`, `15m`, `1h`, `7d`: as it is typed."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s" if seconds else "0"

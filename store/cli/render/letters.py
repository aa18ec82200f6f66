"""What `store letters` prints for people: groups, letters, one letter, actions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from store.cli.render.elements import Kind, file_and_lines, second, span, table
from store.database.letters import STATES
from store.payload import to_bytes
from store.text import MAX_CELL, printable, shortened

DONE = {
    "discard": "discarded",
    "park": "parked",
    "unpark": "open again",
    "undo": "as they were before",
    "replay": "sent back",
    "prune": "deleted",
}


def groups(found: list[dict[str, Any]], status: str, more: str | None, replaying: int) -> list[Any]:
    """Groups of dead letters, a row each; and the command that shows the next ones."""
    sent_back = [
        f"{replaying:,} being replayed: `store letters actions`, and `producer replay --resume` after an interruption."
    ]
    if not found:
        which = "" if status == "all" else status + " "
        return [
            f"No {which}dead letters that match: `store report` counts them.",
            *sent_back[: bool(replaying)],
        ]
    columns: dict[str, Kind] = {"group": "fixed", "letters": "number", "source": "text", "reason": "text",
                                "field, rule, shape": "text", "began with": "text", "last seen": "fixed"}  # fmt: skip
    rows = (
        [
            each["id"][:8],
            each["letters"],
            each["source"],
            each["reason"],
            "; ".join(map(fault_text, each["faults"])),
            file_and_lines(each["file"], each["line"]),
            second(each["last_seen_at"]),
        ]
        for each in found
    )
    things: list[Any] = [table("Dead letters by group", columns, rows)]
    things.append("\nOne group: `store letters list --group ID`. What would fix it: `producer suggest ID`.")
    if more:
        things.append(f"{len(found):,} groups shown; the next: {more}")
    return things


GROUP_COLUMNS = (
    "id", "source", "reason", "letters", *STATES, "pruned", "occurrences", "first_seen_at", "last_seen_at", "file",
    "line", "sample",
)  # fmt: skip


def groups_csv(found: list[dict[str, Any]]) -> Iterator[Sequence[object]]:
    """Groups of dead letters as rows, the names of the columns first."""
    yield [*GROUP_COLUMNS, "faults"]
    for each in found:
        yield [*(each[name] for name in GROUP_COLUMNS), "; ".join(map(fault_text, each["faults"]))]


def fault_text(fault: dict[str, str]) -> str:
    """A fault as groups have it, without the value."""
    return " ".join(part for part in (fault.get("field"), fault.get("rule"), fault.get("shape")) if part)


def listed(found: list[dict[str, Any]], matching: int | None, status: str, more: str | None) -> list[Any]:
    """Dead letters, a row each; how many match, where that is known; and the command that shows the next ones."""
    if not found:
        which = "" if status == "all" else status + " "
        return [f"No {which}dead letters that match: `store report` counts them."]
    columns: dict[str, Kind] = {"id": "fixed", "source": "text", "reason": "text", "error": "text",
                                "file:line": "text", "payload": "text", "times": "number"}  # fmt: skip
    rows = (
        [
            each["id"][:8],
            each["source"],
            each["reason"] + ("" if each["status"] == "open" else f" ({each['status']})"),
            loaded_since(each) + first_error(each),
            file_and_lines(each["file"], each["line"]),
            payload(each, MAX_CELL),
            each["occurrences"],
        ]
        for each in found
    )
    things: list[Any] = [table("Dead letters", columns, rows)]
    things.append("\nOne in full: `store letters show ID`. After a fix: `producer replay`.")
    if more:
        shown = f"{len(found):,} shown" if matching is None else f"{len(found):,} of {matching:,} shown"
        things.append(f"{shown}; the next: {more}")
    return things


def actions(found: list[dict[str, Any]]) -> list[Any]:
    """Actions, a row each."""
    if not found:
        return [
            "No action over dead letters yet: `producer replay`, `store letters discard` and `park` make one."
        ]
    columns: dict[str, Kind] = {"action": "number", "verb": "fixed", "letters": "number", "status": "fixed",
                                "proof": "text", "outcomes": "text", "why": "text", "by": "text",
                                "started": "fixed"}  # fmt: skip
    rows = (
        [
            each["seq"],
            each["verb"],
            each["letters"],
            each["status"],
            proved(each["proof"]),
            ", ".join(f"{number:,} {name}" for name, number in sorted(each["outcomes"].items())),
            each["why"],
            each["by"],
            second(each["started_at"]),
        ]
        for each in found
    )
    stopped = [
        f"\nAction {each['seq']} has stopped itself: {each['stopped_itself']}."
        for each in found
        if each["stopped_itself"]
    ]
    return [table("Actions over dead letters, newest first", columns, rows), *stopped]


def proved(proof: dict[str, Any] | None) -> str:
    """What a replay was found to do before it was sent."""
    if proof is None:
        return ""
    accepted = proof["would_load"] + proof["superseded"] + proof["skipped"]
    return f"{accepted:,} of {proof['letters']:,} pass"


def acted(found: dict[str, Any]) -> list[Any]:
    """What an action did."""
    if not found["letters"]:
        return ["No letters match that are in a state for it: nothing was done."]
    letters = "1 letter is" if found["letters"] == 1 else f"{found['letters']:,} letters are"
    undo = f"; `store letters undo {found['seq']}` undoes it" if found["verb"] in ("discard", "park") else ""
    until = f" until {second(found['unpark_at'])}" if found["unpark_at"] else ""
    return [f"{letters} {DONE[found['verb']]}{until} (action {found['seq']}){undo}."]


def to_be_pruned(found: dict[str, int]) -> str:
    """How many letters of which state are old enough."""
    states = ", ".join(f"{number:,} {status}" for status, number in sorted(found.items()))
    number = sum(found.values())
    return f"{number:,} {'letter' if number == 1 else 'letters'} ({states}) would be deleted for good"


def pruned(found: dict[str, Any]) -> list[Any]:
    """What a prune did."""
    return (
        acted(found)
        if found["letters"]
        else ["No resolved or discarded letters are that old: nothing was done."]
    )


def alarm(found: dict[str, Any]) -> list[Any]:
    """One line for a monitoring system."""
    limits = found["limits"]
    parts = [_measured(f"{found['open']:,} open", limits["open"], "{:,}")]
    if found["age_seconds"] is not None:
        parts.append(
            _measured(f"the oldest {span(found['age_seconds'])}", limits["age_seconds"], "{:,.0f} s")
        )
    if found["rate"] is not None:
        parts.append(_measured(f"{found['rate']:.1%} rejected in 24 h", limits["rate"], "{:.1%}"))
    of = f" of source {found['source']}" if found["source"] else ""
    return [printable(f"{found['status']} dead letters{of}: {', '.join(parts)}")]


def _measured(value: str, limit: float | None, form: str) -> str:
    return value if limit is None else f"{value} (at most {form.format(limit)})"


def loaded_since(letter: dict[str, Any]) -> str:
    """That its key or line was loaded since, and from where."""
    loaded = letter["loaded_since"]
    return f"loaded since, from {loaded['file']}:{loaded['line']}; " if loaded else ""


def errors_text(letter: dict[str, Any]) -> str:
    """All errors of the record."""
    return "; ".join(map(error_text, letter["errors"]))


def first_error(letter: dict[str, Any]) -> str:
    """The first error of the record."""
    return error_text(letter["errors"][0]) if letter["errors"] else ""


def error_text(error: dict[str, str]) -> str:
    """A fault with its field."""
    return f"{error['field']}: {error['message']}" if error.get("field") else error.get("message", "")


def payload(letter: dict[str, Any], most: int) -> str:
    """The first `most` characters of a payload, printable."""
    head = to_bytes(letter["payload"][: 4 * most], letter["encoding"])  # 4 characters of base64 are 3 bytes
    return shortened(head.decode("utf-8", "backslashreplace"), most)

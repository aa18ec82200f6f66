"""Lineage for people: trees of entries, and the reasons of a key in sentences.

Whatever came out of a record is made harmless on its way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.text import Text
from rich.tree import Tree

from store import timestamps
from store.cli.render.elements import ISO_TIME, moment, second, short, table
from store.terminal import shown

EMPTY = (
    "Nothing has been processed yet. Send a file with `producer enqueue FILE`, then run `worker up --burst`."
)
MOST_NAMED = 5
MOST_IN_SENTENCE = 2000

Facts = dict[str, Any]


def lineage(found: list[Facts]) -> list[Any]:
    """One tree for every line that the records came from; each entry under the one it follows."""
    known = {entry["id"]: entry for entry in found}
    trees: dict[tuple[str, str, int], Tree] = {}
    branches: dict[str, Tree] = {}
    waiting = sorted(found, key=lambda entry: entry["at"])
    while waiting:
        left = []
        for entry in waiting:
            parent = entry["parent_id"]
            if parent in known and parent not in branches:
                left.append(entry)
                continue
            place = (entry["source"], entry["file"], entry["line"])
            if parent not in branches and place not in trees:
                trees[place] = Tree(
                    Text(short(f"{place[1]}:{place[2]}", 200) + f"  source {short(place[0])}")
                )
            branches[entry["id"]] = (branches.get(parent) or trees[place]).add(
                _step(entry, known.get(parent))
            )
        if len(left) == len(waiting):
            break  # parents in a circle, which only tampering makes
        waiting = left
    return list(trees.values())


def _step(entry: Facts, above: Facts | None) -> Text:
    by = f"run {entry['run']}" if entry["run"] is not None else f"batch {entry['batch'][:8]}"
    detail = ISO_TIME.sub(lambda found: moment(timestamps.to_iso(found[0])), short(entry["detail"]))
    key = f" of key {short(entry['key'])}" if entry["key"] is not None and entry["step"] != "load" else ""
    begins = entry["from"]
    if begins == "file" and above and (above["file"], above["line"]) != (entry["file"], entry["line"]):
        begins = short(f"{entry['file']}:{entry['line']}", 200)  # it stands under another line's entry
    said = f"{entry['step']}{key}: {begins} → {entry['to']}, {detail} ({by}, {second(entry['at'])})"
    return Text(shown(said))


def steps(found: dict[str, int]) -> list[Any]:
    """Lineage entries by step."""
    if not any(found.values()):
        return [EMPTY]
    return [
        table(
            "Lineage entries",
            {"step": "text", "number": "number"},
            [*found.items(), ("all", sum(found.values()))],
        )
    ]


def explanation(found: Facts) -> list[Any]:
    """Each source's account of a key, and what `golden` takes."""
    lines = []
    for headline, story in sentences(found):
        lines += [
            short(headline, MOST_IN_SENTENCE),
            *(f"  {short(said, MOST_IN_SENTENCE)}" for said in story),
        ]
    return lines


def sentences(found: Facts) -> list[tuple[str, list[str]]]:
    """The facts as (headline, sentences) of each source, and of `golden` where there are several."""
    said = [(_headline(facts, found["key"]), list(_story(facts))) for facts in found["sources"]]
    if found["golden"] and len(found["sources"]) > 1:
        said.append((_golden(found["golden"]), []))
    return said


def _headline(facts: Facts, key: str) -> str:
    holds = facts["holds"]
    if not holds:
        return f"Of key {key} and source {facts['source']} the target holds nothing."
    values = ", ".join(f"{name} {value}" for name, value in holds["values"].items() if value is not None)
    of = f"the record of {moment(holds['ts'])}"
    return f"Of key {key} and source {facts['source']} the target holds {of}" + (
        f": {values}." if values else "."
    )


def _story(facts: Facts) -> Iterator[str]:
    holds, replaced = facts["holds"], facts["replaced"]
    if holds and "file" in holds:
        yield f"It came from {_at(holds)}, and batch {holds['batch'][:8]} staged it at {second(holds['staged_at'])}."
        if holds["sent_back"]:
            yield f"It was sent back{_edited(holds['sent_back'])}."
        yield f"Run {holds['run']} {holds['outcome']} it: {_because(holds, replaced)}."
    elif holds:
        yield f"Where it came from is not known: {holds['id']} is not in lineage. `store check --lineage` says more."
    for older in replaced[1:]:
        yield f"Before that it held {_version(older)}, which newer ones replaced."
    for lost in facts["lost_at_load"]:
        yield f"{_capital(_version(lost))} lost at load, in run {lost['run']}: {_why_lost(lost, holds)}."
    for lost in facts["lost_at_stage"]:
        to = f"{_version(lost['by'])}, which the target held" if lost["by"] else "what the target held"
        yield f"The record of {_at(lost)} lost at stage, to {to} already."
    for waiting in facts["pending"]:
        yield f"{_capital(_version(waiting))} is staged and waits for the loader: `worker load`."
    yield from _not_staged(facts)
    for letter in facts["rejected"]:
        where = f"The record of {_places(letter['at'])}" if letter["at"] else "A record"
        yield f"{where} was rejected: {'; then '.join(letter['reasons'])}. {_fate(letter)}"


def _not_staged(facts: Facts) -> Iterator[str]:
    duplicates, skipped = facts["duplicates"], facts["skipped"]
    if duplicates:
        times = "once" if len(duplicates) == 1 else f"{len(duplicates):,} times"
        yield f"The same came again {times}, and changed nothing: {_places(duplicates)}."
    if skipped:
        yield f"Late, and so skipped: {_places(skipped)}."


def _because(holds: Facts, replaced: list[Facts]) -> str:
    if holds["outcome"] == "inserted" or not replaced:
        return "the target held nothing of this key"
    if holds["ts"] == replaced[0]["ts"]:
        return (
            f"its time is that of {_version(replaced[0])}, and of equal times the greater content hash stays"
        )
    return f"it is newer than {_version(replaced[0])}, which the target held"


def _why_lost(lost: Facts, holds: Facts | None) -> str:
    if holds and lost["ts"] == holds["ts"]:
        return "its time is the same, and of equal times the greater content hash stays"
    return "it is older"


def _fate(letter: Facts) -> str:
    if letter["status"] is None:
        return "Its dead letter is gone."
    tried = "" if not letter["replays"] else f", sent back {_times(letter['replays'])}"
    return f"Dead letter {letter['dead_letter'][:8]} is {letter['status']}{tried}."


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def _edited(sent_back: Facts) -> str:
    edited = ", edited," if sent_back["edited"] else ""
    return f"{edited} after it had been rejected" + (
        f": {sent_back['reasons']}" if sent_back["reasons"] else ""
    )


def _version(version: Facts) -> str:
    return f"the record of {moment(version['ts'])} from {_at(version)}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _at(place: Facts) -> str:
    return f"{place['file']}:{place['line']}"


def _places(places: Iterable[Facts]) -> str:
    named = [_at(place) for place in places]
    more = len(named) - MOST_NAMED
    return ", ".join(named[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _golden(found: Facts) -> str:
    others = found["others"]
    if not others:
        return f"`golden` has the row of {found['source']}, the only source with one in the target."
    second = others[0]
    theirs = "has none" if second["priority"] is None else f"has {second['priority']}"
    why = {
        "priority": f"its priority is {found['priority']}, and {second['source']} {theirs}",
        "newest": f"of one priority the newest, and that of {second['source']} is of {moment(second['ts'])}",
        "content hash": f"priority and time are those of {second['source']}, so the greater content hash decides",
    }
    return f"`golden` takes the row of {found['source']}: {why[found['because']]}."

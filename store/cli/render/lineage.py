"""What `store lineage` and `explain` print: trees of entries, and the history of a key in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from store import timestamps
from store.cli.render.elements import EMPTY, ISO_TIME, moment, second, table
from store.text import shortened

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

MOST_NAMED = 5
MAX_FILE = 200
MAX_SENTENCE = 2000

Facts = dict[str, Any]


def lineage(found: list[Facts]) -> list[Any]:
    """One tree for each line that the records came from; each entry stands under its parent."""
    from rich.tree import Tree

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
            line = (entry["source"], entry["file"], entry["line"])
            if parent not in branches and line not in trees:
                trees[line] = Tree(_root(entry))
            above = branches.get(parent) or trees[line]
            branches[entry["id"]] = above.add(_step(entry, known.get(parent)))
        if len(left) == len(waiting):
            break  # the parents form a circle: somebody changed the table by hand
        waiting = left
    return list(trees.values())


def _root(entry: Facts) -> Text:
    from rich.text import Text

    return Text(f"{_file_and_line(entry)}  source {shortened(entry['source'])}")


def _step(entry: Facts, parent: Facts | None) -> Text:
    from rich.text import Text

    by = f"run {entry['run']}" if entry["run"] is not None else f"batch {entry['batch'][:8]}"
    detail = ISO_TIME.sub(lambda found: moment(timestamps.to_iso(found[0])), shortened(entry["detail"]))
    key = f" of key {shortened(entry['key'])}" if entry["key"] is not None and entry["step"] != "load" else ""
    origin = entry["from"]
    if origin == "file" and parent and (parent["file"], parent["line"]) != (entry["file"], entry["line"]):
        origin = _file_and_line(entry)  # the tree's root names the line of the parent
    return Text(
        shortened(
            f"{entry['step']}{key}: {origin} → {entry['to']}, {detail} ({by}, {second(entry['at'])})",
            MAX_SENTENCE,
        )
    )


def _file_and_line(entry: Facts) -> str:
    return shortened(f"{entry['file']}:{entry['line']}", MAX_FILE)


def steps(found: dict[str, int]) -> list[Any]:
    """Lineage entries by step."""
    if not any(found.values()):
        return [EMPTY]
    rows = [*found.items(), ("all", sum(found.values()))]
    return [table("Lineage entries", {"step": "text", "number": "number"}, rows)]


def explanation(found: Facts) -> list[Any]:
    """The history of a key in each source, and the row that `golden` shows."""
    lines = []
    for headline, story in sentences(found):
        lines += [
            shortened(headline, MAX_SENTENCE),
            *(f"  {shortened(sentence, MAX_SENTENCE)}" for sentence in story),
        ]
    return lines


def sentences(found: Facts) -> list[tuple[str, list[str]]]:
    """The facts as (headline, sentences) of each source, and of `golden` where there are several sources."""
    written = [(_headline(facts, found["key"]), list(_story(facts))) for facts in found["sources"]]
    if found["golden"] and len(found["sources"]) > 1:
        written.append((_golden(found["golden"]), []))
    return written


def _headline(facts: Facts, key: str) -> str:
    holds = facts["holds"]
    if not holds:
        return f"Key {key} of source {facts['source']}: the target holds no row."
    values = ", ".join(f"{name} {value}" for name, value in holds["values"].items() if value is not None)
    if holds["deleted"]:
        return f"Key {key} of source {facts['source']}: deleted by the record of {moment(holds['ts'])}."
    record = f"the record of {moment(holds['ts'])}" + (f": {values}" if values else "")
    return f"Key {key} of source {facts['source']}: the target holds {record}."


def _story(facts: Facts) -> Iterator[str]:
    holds, replaced = facts["holds"], facts["replaced"]
    if holds and "file" in holds:
        yield f"It came from {_at(holds)}, and batch {holds['batch'][:8]} staged it at {second(holds['staged_at'])}."
        if holds["replayed"]:
            yield f"It was replayed{_edited(holds['replayed'])}."
        yield f"Run {holds['run']} {holds['outcome']} it: {_why_loaded(holds, replaced)}."
    elif holds:
        yield f"Its origin is unknown: lineage has no {holds['id']}. `store check --lineage` shows what is missing."
    for older in replaced[1:]:
        yield f"Before that, the target held {_version(older)}; {_why_replaced(older)}."
    for older in facts["superseded"]:
        by = f" by {_version(older['by'])}" if older["by"] else ""
        yield f"{_capital(_version(older))} was superseded{by}, in run {older['run']}: {_why_superseded(older)}."
    for waiting in facts["pending"]:
        yield f"{_capital(_version(waiting))} is staged and waits for the loader: `worker load`."
    yield from _not_staged(facts)
    for letter in facts["rejected"]:
        record = f"The record of {_lines(letter['at'])}" if letter["at"] else "A record"
        yield f"{record} was rejected: {'; then '.join(letter['reasons'])}. {_state(letter)}"


def _not_staged(facts: Facts) -> Iterator[str]:
    duplicates, skipped = facts["duplicates"], facts["skipped"]
    if duplicates:
        yield f"The same content came again {_times(len(duplicates))} and changed nothing: {_lines(duplicates)}."
    if skipped:
        yield f"Skipped because late: {_lines(skipped)}."


def _why_loaded(holds: Facts, replaced: list[Facts]) -> str:
    if holds["outcome"] == "inserted" or not replaced:
        return "the target had no row of this key"
    if replaced[0]["conflict"]:
        return f"it conflicts with {_version(replaced[0])}: {_decided(replaced[0]['conflict'])}"
    if holds["ts"] == replaced[0]["ts"]:
        return f"it has the time of {_version(replaced[0])}, and its sequence is greater"
    return f"it is newer than {_version(replaced[0])} that the target held"


def _why_superseded(older: Facts) -> str:
    if older["conflict"]:
        return f"they conflict: {_decided(older['conflict'])}"
    if older["by"] and older["ts"] == older["by"]["ts"]:
        return "its time is the same, and its sequence is not greater"
    return "it is older"


def _why_replaced(older: Facts) -> str:
    conflict = older["conflict"]
    if not conflict:
        return "a newer record replaced it"
    return (
        f"the record of {_at(conflict['winner'])} replaced it, with which it conflicts: {_decided(conflict)}"
    )


def _decided(conflict: Facts) -> str:
    deliveries = f"{conflict['winner']['delivery']} is later than {conflict['loser']['delivery']}"
    why = {
        "later delivery": f"delivery {deliveries}",
        "later line": "in one file the later line wins",
        "later repeat": "the content that won came again in a later delivery",
        "content hash": "of this source the greater content hash wins",
    }
    return f"time and sequence are equal, the content is not, and {why[conflict['decided_by']]}"


def _state(letter: Facts) -> str:
    if letter["status"] is None:
        return "Its dead letter does not exist any more."
    replayed = "" if not letter["replays"] else f", replayed {_times(letter['replays'])}"
    return f"Dead letter {letter['dead_letter'][:8]} is {letter['status']}{replayed}."


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def _edited(replay: Facts) -> str:
    edited = ", edited," if replay["edited"] else ""
    return f"{edited} after a rejection" + (f": {replay['reasons']}" if replay["reasons"] else "")


def _version(version: Facts) -> str:
    return f"the record of {moment(version['ts'])} from {_at(version)}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _at(record: Facts) -> str:
    return f"{record['file']}:{record['line']}"


def _lines(records: Iterable[Facts]) -> str:
    named = [_at(record) for record in records]
    more = len(named) - MOST_NAMED
    return ", ".join(named[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _golden(found: Facts) -> str:
    others = found["others"]
    if not others:
        return f"`golden` shows the row of {found['source']}, the only source with a row in the target."
    second = others[0]
    priority = "none" if second["priority"] is None else second["priority"]
    why = {
        "priority": f"its priority is {found['priority']}, that of {second['source']} is {priority}",
        "newest": f"it is newer than that of {second['source']} ({moment(second['ts'])}), with equal priority",
        "sequence": f"priority and time equal those of {second['source']}, and its sequence is greater",
        "content hash": f"priority, time and sequence equal those of {second['source']}, and its content hash is "
        "greater",
    }
    return f"`golden` shows the row of {found['source']}: {why[found['because']]}."

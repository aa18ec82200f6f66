"""`producer suggest`: what would fix the letters of a group, tried before it is shown; or of the largest groups."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from sqlalchemy import Connection

from store import database
from store.cli.command import show
from store.cli.render.progress import Bar
from store.database import install
from store.dead_letters import groups
from store.dead_letters.edits import Edit
from store.dead_letters.matching import group_id
from store.errors import UsageError
from store.settings import StoreSettings
from store.tables import watermarks
from store.terminal import counted
from store.text import printable, shortened
from worker.contract import load_contract
from worker.dead_letters.suggest.always import Always
from worker.dead_letters.suggest.suggestions import Found, Suggestion, suggest
from worker.dead_letters.suggest.trial import Context, text_of
from worker.settings import WorkerSettings

SHORT = 8  # digits of an id
MOST_OF_VALUE = 60


def suggest_for(
    group: str | None, source: str | None, limit: int, *, for_always: bool, as_json: bool
) -> None:
    """Shows what would fix a group, or the largest groups."""
    if for_always and group is None:
        raise UsageError("--always is for one group: give its id, as `producer suggest` shows it")
    worker = WorkerSettings.load()
    contract = load_contract(worker)
    engine = install.prepare(StoreSettings.load())
    try:
        with database.reading(engine) as connection:
            reached = watermarks.read_all(connection, worker.max_future_skew).sound
            context = Context(connection, contract, worker, reached)
            if group is None:
                chosen = groups.select_groups(connection, source=source, limit=limit)
                show(overview(context, chosen), as_json, overview_lines)
                return
            [row] = groups.select_groups(connection, status=None, ids=[group_id(connection, group)])
            with progress(row["open"]) as on_letters:
                found = suggest(
                    Context(connection, contract, worker, reached, on_letters), row, for_always=for_always
                )
            show(to_json(found, connection), as_json, group_lines)
    finally:
        engine.dispose()


@contextmanager
def progress(letters: int) -> Iterator[Callable[[int], None]]:
    """A bar of the letters that were judged; one letter is judged by several candidates."""
    done = 0
    with Bar(f"trying fixes on {letters:,} letters", None, unit="judged") as bar:

        def advance(number: int) -> None:
            nonlocal done
            done += number
            bar.update(done, done)

        yield advance


def overview(context: Context, chosen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best suggestion of each group, tried on some of its letters."""
    with Bar("trying fixes", len(chosen), unit="groups") as bar:
        found = []
        for number, row in enumerate(chosen, 1):
            found.append(to_json(suggest(context, row, whole=False), context.connection))
            bar.update(number, number)
    return found


def to_json(found: Found, connection: Connection) -> dict[str, Any]:
    """What was found for a group, as data."""
    row = found.group
    id = short_id(connection, row["id"])
    return {
        "group": row["id"],
        "source": row["source"],
        "reason": row["reason"],
        "faults": row["faults"],
        "letters": found.letters,
        "tried_on": found.tried,
        "suggestions": [suggestion_json(each, id, row["source"]) for each in found.suggestions],
        "ambiguous": found.ambiguous,
        "notes": found.notes,
    }


def suggestion_json(suggestion: Suggestion, group: str, source: str) -> dict[str, Any]:
    """One edit, and what would become of the letters under it."""
    trial, proof = suggestion.trial, suggestion.trial.proof
    edit = trial.candidate.edit.to_text()
    return {
        "name": trial.candidate.name,
        "edit": orjson.Fragment(edit) if edit else None,
        "letters": proof.letters,
        "would_accept": proof.would_accept,
        "would_load": proof.would_load,
        "superseded": proof.superseded,
        "skipped": proof.skipped,
        "rejected": proof.rejected,
        "refused": proof.refused,
        "is_whole_group": trial.whole is not None,
        "evidence": trial.evidence,
        "still": [
            {"letters": each.letters, "reason": each.reason, "faults": each.faults, "sample": each.sample}
            for each in proof.failures
        ],
        "sample": suggestion.change,
        "always": always_json(suggestion.always, source),
        "command": command(trial.candidate.edit, group),
    }


def always_json(found: Always | None, source: str) -> dict[str, Any] | None:
    """The edit as the mapping of its source."""
    if found is None:
        return None
    lines = found.lines(source) if found.keys else None
    return {"lines": lines, "why_not": found.why_not, "notes": found.notes}


def short_id(connection: Connection, id: str) -> str:
    """The beginning of a group's id that no other group has."""
    for digits in range(SHORT, len(id)):
        if len(groups.ids_that_begin(connection, id[:digits])) == 1:
            return id[:digits]
    return id


def command(edit: Edit, group: str) -> str:
    """The replay of a group with this edit, as it is typed."""
    words = ["producer", "replay", "--group", group]
    for option, pairs in (("--rename", edit.rename), ("--cast", edit.cast)):
        words += [word for name, value in pairs.items() for word in (option, f"{name}={value}")]
    for name in edit.drop:
        words += ["--drop", name]
    for option, values in (("--default", edit.default), ("--set", edit.set)):
        words += [word for name, value in values.items() for word in (option, f"{name}={text_of(value)}")]
    return shlex.join(words)


def group_lines(found: dict[str, Any]) -> list[Any]:
    """What would fix a group, for people."""
    faults = "; ".join(fault_text(each) for each in found["faults"])
    lines = [
        f"{counted(found['letters'], 'open letter')} of source {found['source']}: {found['reason']}, {faults}"
    ]
    if not found["letters"]:
        return [*lines, "Nothing to fix."]
    for each in found["suggestions"]:
        lines += ["", *suggestion_lines(each)]
    for each in found["ambiguous"]:
        lines += [
            "",
            f"ambiguous ({each['readings']}): {each['field']} {each['why']}.",
            "  Nothing is chosen. Ask the supplier.",
        ]
    for note in found["notes"]:
        lines += ["", f"No edit for {note}."]
    if not found["suggestions"] and not found["ambiguous"]:
        lines += ["", f"None of the usual edits would load one of the {found['tried_on']:,} letters tried.",
                  f"See them: store letters list --group {found['group'][:SHORT]}"]  # fmt: skip
    if not found["suggestions"]:
        for each in found["faults"]:
            if each.get("rule") == "missing":
                typed = f"producer replay --group {found['group'][:SHORT]} --default {each['field']}=VALUE"
                lines.append(f"If one value is right for all of them: {typed}")
    return [printable(line) for line in lines]


def suggestion_lines(each: dict[str, Any]) -> list[str]:
    """One edit for people."""
    lines = [f"{each['name']}: {outcome(each)}"]
    change = each["sample"]
    for name in sorted({*(change or {}).get("before", {}), *(change or {}).get("after", {})}):
        before, after = (change[side].get(name) for side in ("before", "after"))
        lines.append(f"  {name}: {value_text(before)} -> {value_text(after)}")
    if each["evidence"]:
        lines.append(f"  {each['evidence']}")
    for failure in each["still"][:3]:
        lines.append(
            f"  {failure['letters']:,} still: {'; '.join(fault_text(fault) for fault in failure['faults'])}"
        )
    lines.append(f"  {each['command']}")
    if always := each["always"]:
        if always["lines"] is None:
            return [*lines, "", f"Not for sluice.toml: {always['why_not']}."]
        lines += [
            "",
            "The same for every later file, in sluice.toml:",
            *(f"  {line}" for line in always["lines"]),
        ]
        lines += [f"  ({note})" for note in always["notes"]]
    return lines


def outcome(each: dict[str, Any]) -> str:
    """How many letters an edit would load."""
    text = f"{each['would_load']:,} of {each['letters']:,} would load"
    if each["superseded"]:
        text += f", {each['superseded']:,} are superseded by the target"
    return text + (f", {each['skipped']:,} would be skipped as late" if each["skipped"] else "")


def value_text(value: Any) -> str:
    """A value as JSON, shortened."""
    return "nothing" if value is None else shortened(text_of(value), MOST_OF_VALUE)


def fault_text(fault: dict[str, Any]) -> str:
    """A fault as groups have it."""
    found = [fault.get("field"), fault.get("rule"), fault.get("shape")]
    return " ".join(part for part in found if part) or "the whole record"


def overview_lines(found: list[dict[str, Any]]) -> list[Any]:
    """A line for each group, for people."""
    from store.cli.render.elements import table

    if not found:
        return ["No open dead letters: nothing to fix."]
    rows = [
        (
            each["group"][:SHORT],
            each["letters"],
            each["source"],
            "; ".join(fault_text(fault) for fault in each["faults"]),
            best_text(each),
        )
        for each in found
    ]
    columns: Any = {
        "group": "fixed",
        "letters": "number",
        "source": "text",
        "faults": "text",
        "what would fix it": "text",
    }
    return [
        table("Dead letters and their fixes", columns, rows),
        "\nTried on up to 200 letters of each group. On all of one, with the command: `producer suggest GROUP`.",
    ]


def best_text(found: dict[str, Any]) -> str:
    """The best suggestion in a few words."""
    if found["suggestions"]:
        best = found["suggestions"][0]
        return f"{best['name']}: {best['would_load']:,} of {best['letters']:,}"
    return "ambiguous" if found["ambiguous"] else "no usual edit"

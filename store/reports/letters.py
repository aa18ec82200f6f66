"""The answers about dead letters, as data for JSON: groups, letters, one letter, actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import entry_points
from typing import Any

import orjson
from sqlalchemy import Connection, select

from store import database, timestamps
from store.database.letters import OUTCOMES
from store.database.letters import dead_letters as letters_table
from store.database.schema import POSITION_BITS, batches
from store.dead_letters import actions, paging, pruning, superseded
from store.dead_letters.actions import Action
from store.dead_letters.filters import Filter
from store.dead_letters.superseded import Loaded
from store.dead_letters.terms import Terms
from store.errors import SluiceError, UsageError
from store.tables import dead_letters
from store.tables.dead_letters import DeadLetter

TIMES = ("first_seen_at", "last_seen_at", "resolved_at", "started_at", "finished_at", "unpark_at", "at")


def grouped(
    connection: Connection,
    which: Filter,
    limit: int | None,
    after: str | None = None,
    *,
    newest_first: bool = False,
) -> dict[str, Any]:
    """Groups that have such letters; `letters` counts them. `next`: where the next page begins; null: there is none."""
    page = paging.groups_page(connection, which, limit, after, newest_first=newest_first)
    return {"groups": [_with_iso(each) for each in page.groups], "next": page.next}


def find(connection: Connection, prefix: str) -> DeadLetter:
    """One dead letter by its id or the first digits of its id. Raises SluiceError."""
    ids = dead_letters.ids_that_begin(connection, prefix)
    if not ids and (at := pruning.pruned_at(connection, prefix)):
        raise SluiceError(
            f"the letter {prefix!r} was pruned at {timestamps.to_iso(at)}: `store lineage` has its file and line"
        )
    if not ids:
        raise SluiceError(f"no dead letter's id begins with {prefix!r}: `store letters list` lists them")
    if len(ids) > 1:
        raise UsageError(f"several ids begin with --id {prefix!r} ({', '.join(ids)}): give more digits")
    (found,) = dead_letters.select_letters(connection, status=None, ids=ids)
    return found


def history_json(connection: Connection, history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The changes of a letter's state, each with the reason and the name that its action gives."""
    return [_event(connection, each) for each in history]


def _event(connection: Connection, event: dict[str, Any]) -> dict[str, Any]:
    """An event, with the reason and the name that its action gives, or the record that closed the letter."""
    found = {name: value for name, value in event.items() if name not in ("seq", "letter_id", "record_id")}
    record = event["record_id"]
    arrived = event["verb"] == "arrive"
    found["superseded_by"] = None if record is None or arrived else f"stage-{record}"
    found["accepted"] = _accepted(connection, record) if record is not None and arrived else None
    found["errors"] = orjson.loads(event["errors"]) if event["errors"] else None
    action = actions.find(connection, event["action_seq"]) if event["action_seq"] else None
    return _with_iso(found | {"why": action.why if action else None, "by": action.by if action else None})


def _accepted(connection: Connection, stage_id: int) -> dict[str, Any]:
    """The record with the payload of a letter that was accepted: `store lineage --id` has its line."""
    columns = (batches.c.file, batches.c.id.label("batch"), batches.c.delivery_seq.label("delivery"))
    statement = select(*columns).where(batches.c.seq == stage_id >> POSITION_BITS)
    batch = connection.execute(statement).mappings().one()
    position = stage_id & ((1 << POSITION_BITS) - 1)
    return {"id": f"stage-{stage_id}", "position": position, **database.as_dict(batch)}


def acted(connection: Connection, limit: int, before: int | None = None) -> list[dict[str, Any]]:
    """The latest actions, or those before one, newest first, with what became of their letters."""
    return [action_report(each) for each in actions.recent(connection, limit, before)]


def refresh_mirrors() -> None:
    """What others hold of the open letters, such as the Redis DLQ: the entry points of `sluice.mirrors`."""
    for entry in sorted(entry_points(group="sluice.mirrors"), key=lambda each: each.name):
        entry.load()()


def action_report(action: Action) -> dict[str, Any]:
    """One action, with what became of its letters."""
    shown = {name: value for name, value in asdict(action).items() if name not in ("token", *OUTCOMES)}
    edit = orjson.Fragment(action.edit) if action.edit else None  # the digits of its numbers as they are
    stopped = Terms.of(action).why_stopped
    return _with_iso(shown | {"edit": edit, "outcomes": action.outcomes, "stopped_itself": stopped})


def letters_json(connection: Connection, found: Sequence[DeadLetter]) -> list[dict[str, Any]]:
    """Letters, each with the record of its key or line that was loaded since."""
    loaded = _loaded_since(connection, found)
    return [letter_json(each, loaded.get(each.id)) for each in found]


def letter_json(letter: DeadLetter, loaded: dict[str, Any] | None) -> dict[str, Any]:
    """A letter, and the record of its key or line that was loaded since."""
    return {**_with_iso(letter._asdict()), "loaded_since": loaded}


def loaded_since(connection: Connection, letter: DeadLetter) -> dict[str, Any] | None:
    """The record of a letter's key or line that was loaded since."""
    return _loaded_since(connection, [letter]).get(letter.id)


def _loaded_since(connection: Connection, found: Sequence[DeadLetter]) -> dict[str, dict[str, Any]]:
    ids = database.member_of(connection, letters_table.c.id, [each.id for each in found])
    return {id: loaded_json(each) for id, each in superseded.find(connection, [ids]).items()}


def loaded_json(loaded: Loaded) -> dict[str, Any]:
    """A record that was loaded since a letter was rejected."""
    return {**loaded._asdict(), "id": f"stage-{loaded.id}", "ts": timestamps.to_iso(loaded.ts)}


def _with_iso(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: timestamps.to_iso(value) if name in TIMES and value is not None else value
        for name, value in row.items()
    }

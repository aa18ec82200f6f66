"""All of one dead letter: `view` collects the facts, which a command and a page show.

letter --(its mapping)--> payload with each fault beside its field --> attempts and what they changed --> the chain
to the target --> what the target holds now, and what a replay would do
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import Connection

from store import paths, timestamps
from store.dead_letters import states
from store.dead_letters.raw import leaves
from store.dead_letters.raw.leaves import Payload
from store.dead_letters.raw.origins import Origins, origins_of, path_of
from store.paths import Path
from store.reports import letters
from store.reports.one_letter import chain, faults, target
from store.reports.one_letter.attempts import Attempt, attempts_of
from store.reports.one_letter.chain import Chain
from store.reports.one_letter.faults import Fault
from store.reports.one_letter.target import Held, Outlook
from store.tables.dead_letters import DeadLetter

MOST_FIELDS = 500


@dataclass(frozen=True)
class Field:
    """A raw field of the payload, or one that should be there."""

    path: Path
    value: str | None  # JSON as the payload writes it; None: it is not there
    faults: list[Fault]

    @property
    def name(self) -> str:
        """Its path as one text, as an edit names it behind `raw.`."""
        return paths.joined(self.path)


@dataclass(frozen=True)
class LetterView:
    """One dead letter, with all that is known of it. Texts are as they came: make them safe for where they go."""

    letter: DeadLetter
    text: str  # the payload as it came, as far as it is stored; bytes that are no UTF-8 as `\\xe9`
    stored_bytes: int
    is_cut: bool  # only the beginning of the payload is stored
    why_no_fields: str  # why the payload is not taken apart; empty: it is
    fields: list[Field]  # in the order of the payload; those that are not there, and have a fault, at the end
    fields_left_out: int  # beyond MOST_FIELDS, those without faults
    faults: list[Fault]  # all, in their order
    faults_without_field: list[Fault]  # of the whole record, or of a field that no raw one alone makes
    attempts: list[Attempt]
    history: list[dict[str, Any]]  # every change of its state: see `store letters show --json`
    chain: Chain
    key: str | None  # as the record gives it; None: it gives none that can be read
    held: Held | None  # the target's row of this key
    outlook: Outlook | None  # what a replay would do; None: it is in no state for one
    loaded_since: dict[str, Any] | None  # a record of its key, or of its line, that was loaded since

    def to_json(self) -> dict[str, Any]:
        """For `--json`: see docs/dead-letters.md."""
        return {
            **letters.letter_json(self.letter, self.loaded_since),
            "is_cut": self.is_cut,
            "why_no_fields": self.why_no_fields or None,
            "fields": [
                {
                    "path": each.name,
                    "value": each.value,
                    "faults": [self.faults.index(one) for one in each.faults],
                }
                for each in self.fields
            ],
            "fields_left_out": self.fields_left_out,
            "faults": [{**asdict(each), "path": each.raw} for each in self.faults],
            "attempts": [_attempt_json(each) for each in self.attempts],
            "history": self.history,
            "chain": asdict(self.chain),
            "key": self.key,
            "target": asdict(self.held) if self.held else None,
            "replay": asdict(self.outlook) if self.outlook else None,
        }


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    changes = [{"path": each.name, "before": each.before, "after": each.after} for each in attempt.changes]
    edit = orjson.Fragment(attempt.edit) if attempt.edit else None  # the digits of its numbers as they are
    times = {
        name: timestamps.to_iso(at) if (at := getattr(attempt, name)) else None for name in ("at", "ended_at")
    }
    return {**asdict(attempt), **times, "edit": edit, "changes": changes}


def view(connection: Connection, prefix: str) -> LetterView:
    """The letter whose id begins so. Raises SluiceError for none, or one that was pruned; UsageError for several."""
    letter = letters.find(connection, prefix)
    came, origins = (
        leaves.of_letter(letter),
        origins_of(connection, [letter.group_id]).get(letter.group_id, {}),
    )
    found = faults.beside(letter.errors, origins, came)
    events = states.history(connection, letter.id)
    attempts = attempts_of(connection, letter.id, events, came)
    outlook = target.outlook(connection, letter)
    keys = list(dict.fromkeys(_keys(letter, origins, came, attempts, outlook)))
    key = keys[0] if keys else None
    shown, left_out = _fields(came, found)
    records = chain.accepted_records(connection, letter.id, events)
    return LetterView(
        letter,
        letter.raw.decode("utf-8", "backslashreplace"),
        len(letter.raw),
        letter.payload_digest is not None,
        came.why_not,
        shown,
        left_out,
        found,
        [each for each in found if each.path is None],
        attempts,
        letters.history_json(connection, events),
        chain.chain_of(connection, letter.id, letter.source, records, keys),
        key,
        target.held(connection, letter, key, outlook.ts if outlook else None, origins, came),
        outlook,
        letters.loaded_since(connection, letter),
    )


def _keys(
    letter: DeadLetter, origins: Origins, came: Payload, attempts: list[Attempt], outlook: Outlook | None
) -> Iterator[str]:
    """The keys that its record may have: those of its latest payloads first."""
    path = path_of(origins, "key") if "key" in origins else None
    for each in reversed(attempts):
        if each.payload is not None and (key := _key(leaves.of_text(each.payload), path)):
            yield key
    for found in (outlook.key if outlook else None, letter.record_key, _key(came, path)):
        if found:
            yield found


def _key(of: Payload, path: Path | None) -> str | None:
    """The key that a payload has at a path; a number as it is written."""
    text = of.value(path) if path else None
    if text is None or text[:1] in '{["tfn':
        text = json.loads(text) if text and text[0] == '"' else None
    return text or None


def _fields(came: Payload, found: list[Fault]) -> tuple[list[Field], int]:
    """The payload's fields with their faults, those that are to be shown, and how many are not."""
    at: dict[Path, list[Fault]] = {}
    for fault in found:
        if fault.path is not None:
            at.setdefault(fault.path, []).append(fault)
    above = {path for path in at if path not in came.fields}
    fields = []
    for path, value in came.fields.items():
        objects = [path[:length] for length in range(1, len(path)) if path[:length] in above]
        for each in objects:  # a fault of a whole object stands before its fields
            fields.append(Field(each, came.value(each), at[each]))
            above.discard(each)
        fields.append(Field(path, value, at.get(path, [])))
    fields += [Field(path, None, at[path]) for path in at if path in above]
    shown = [each for number, each in enumerate(fields) if number < MOST_FIELDS or each.faults]
    return shown, len(fields) - len(shown)

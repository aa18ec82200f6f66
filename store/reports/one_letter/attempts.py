"""The attempts of a letter: each time that an action sent it back, with its edit and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, select

from store.database.letters import action_payloads
from store.dead_letters import actions
from store.dead_letters.raw import leaves
from store.dead_letters.raw.leaves import Change, Payload

MOST_DIFFERENCES = 100


@dataclass(frozen=True)
class Attempt:
    """One time that the letter was sent back."""

    number: int  # from 1
    action: int
    at: str  # when the action took it
    by: str
    why: str
    edit: str | None  # JSON: see `Edit`; None: sent as it came
    payload: str | None  # as it was sent, where that was edited and is known
    changes: list[Change]  # against the payload as it came
    why_no_changes: str  # why the difference is not known
    changes_left_out: int
    ended_at: str | None  # None: it is on its way
    outcome: str  # accept, reject again, or how it was given back; sending
    errors: list[dict[str, str]] = field(default_factory=list)  # of this attempt


def attempts_of(
    connection: Connection, letter: str, history: Sequence[dict[str, Any]], came: Payload
) -> list[Attempt]:
    """The attempts in a letter's history, oldest first."""
    found: list[Attempt] = []
    for position, event in enumerate(history):
        if event["verb"] == "claim":
            ended = next(
                (each for each in history[position + 1 :] if each["action_seq"] == event["action_seq"]), None
            )
            found.append(_attempt(connection, len(found) + 1, letter, event, ended, came))
    return found


def _attempt(
    connection: Connection,
    number: int,
    letter: str,
    claimed: dict[str, Any],
    ended: dict[str, Any] | None,
    came: Payload,
) -> Attempt:
    action = actions.find(connection, claimed["action_seq"])
    sent = ended["payload"] if ended else None
    if sent is None and action.edit:
        sent = _given(connection, action.seq, letter)
    changed, why = _changes(came, sent, is_edited=action.edit is not None)
    return Attempt(
        number,
        action.seq,
        claimed["at"],
        action.by,
        action.why,
        action.edit,
        sent,
        changed[:MOST_DIFFERENCES],
        why,
        max(0, len(changed) - MOST_DIFFERENCES),
        ended["at"] if ended else None,
        ended["verb"] if ended else "sending",
        orjson.loads(ended["errors"]) if ended and ended["errors"] else [],
    )


def _given(connection: Connection, action: int, letter: str) -> str | None:
    """The payload that a file gave the letter, stored with the action."""
    stored = action_payloads.c
    found: str | None = connection.execute(
        select(stored.payload).where(stored.action_seq == action, stored.letter_id == letter)
    ).scalar()
    return found


def _changes(came: Payload, sent: str | None, *, is_edited: bool) -> tuple[list[Change], str]:
    if sent is None:
        return [], "the edited payload is known when its batch is processed" if is_edited else ""
    after = leaves.of_text(sent)
    if came.why_not or after.why_not:
        return [], came.why_not or after.why_not
    return leaves.changes(came, after), ""

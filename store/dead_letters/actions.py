"""Actions: replay, discard, park, unpark and undo, over a set of letters that is fixed when the action is made.

    begin --> running --(each letter has an outcome)--> finished
                     `--(stop)--> stopped: the letters that were not sent are open again

A letter is in at most one action at a time. A replay registers each batch before it is sent: a worker takes letters
from no other batch, so that a message of a stranger cannot close a letter.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, and_, delete, func, literal, select, update

from store import database, timestamps
from store.database.letters import (
    DISCARDED,
    OPEN,
    OUTCOMES,
    PARKED,
    STATES,
    action_letters,
    actions,
    dead_letters,
    letter_events,
)
from store.dead_letters import states
from store.errors import UsageError

TAKES = {"replay": (OPEN,), "discard": (OPEN, PARKED), "park": (OPEN,), "unpark": (PARKED,)}
UNDONE = {"discard": DISCARDED, "park": PARKED}  # verb -> the state that it leaves
DO = {"replay": states.claim, "discard": states.discard, "park": states.park, "unpark": states.unpark}

_mine = action_letters.c
_letter = dead_letters.c
# Letters that can be sent in one batch stand together; of one file, in the order of its lines.
ORDER = (_letter.source, _letter.format, _letter.header, _letter.file, _letter.line, _letter.id)
COLUMNS = ["action_seq", "letter_id", "position", "before"]  # that are given when it is made
POSITION = func.row_number().over(order_by=ORDER) - 1


@dataclass(frozen=True, slots=True)
class Action:
    """One decision over many letters."""

    seq: int
    token: str  # 32 hex digits
    verb: str
    status: str
    filter: dict[str, Any]
    edit: str | None  # JSON: see `Edit`
    proof: dict[str, Any] | None  # of a replay: `digest`, and what would become of how many
    terms: dict[str, Any] | None  # of a replay: see `Terms`
    why: str
    by: str
    letters: int
    resolved: int  # of a replay, as are the next three: so many of its letters have this outcome
    rejected: int
    refused: int
    withdrawn: int
    started_at: str
    finished_at: str | None
    unpark_at: str | None  # of a park: when its letters are opened again; None: by hand

    @property
    def outcomes(self) -> dict[str, int]:
        """outcome -> letters; `waiting` are those without one. Of a prune nothing: it keeps no list of its letters."""
        if self.verb == "prune":
            return {}
        if self.verb != "replay":
            return {"done": self.letters}
        found = {name: int(getattr(self, name)) for name in sorted(OUTCOMES)}
        found["waiting"] = self.letters - sum(found.values())
        return {name: number for name, number in found.items() if number}


class Registration(NamedTuple):
    """The batch that a letter is sent back in."""

    batch: str | None  # None: none yet, or it was lost
    is_held: bool  # whether the action still sends the letter back


class Order(NamedTuple):
    """What is asked for."""

    verb: str
    filter: dict[str, Any]
    why: str
    by: str
    edit: str | None = None
    proof: dict[str, Any] | None = None
    terms: dict[str, Any] | None = None


def begin(connection: Connection, order: Order, chosen: Sequence[ColumnElement[bool]]) -> Action | None:
    """An action over the chosen letters that are in a state that it takes; None where there is none.

    All but a replay are finished at once.
    """
    at = timestamps.now_text()
    action = insert(connection, order, at)
    allowed = _letter.status.in_(TAKES[order.verb])
    rows = select(literal(action), _letter.id, POSITION, _letter.status).where(*chosen, allowed)
    return _begun(connection, order.verb, action, at, rows)


def note(connection: Connection, order: Order, letters: int, action: int | None = None) -> int:
    """An action that keeps no list of its letters, or so many more of one; its number."""
    at = timestamps.now_text()
    number = action or insert(connection, order, at)
    more = {"letters": actions.c.letters + letters, "status": "finished", "finished_at": at}
    connection.execute(update(actions).where(actions.c.seq == number).values(more))
    return number


def undo(connection: Connection, seq: int, order: Order) -> Action | None:
    """Gives the letters of a discard or park the state they had, where they have not moved on since.

    Raises UsageError for an action that is unknown or cannot be undone.
    """
    undone = find(connection, seq)
    if undone.verb not in UNDONE:
        reasons = {
            "replay": "what was loaded cannot be taken back: send a correction",
            "unpark": "`store letters park` parks them again",
            "prune": "what was deleted is gone",
        }
        raise UsageError(f"action {seq} is a {undone.verb}: {reasons.get(undone.verb, 'repeat the action')}")
    at = timestamps.now_text()
    action = insert(connection, order, at)
    event = letter_events.c
    last_move = (
        select(event.action_seq)
        .where(event.letter_id == _letter.id, event.before != event.after)
        .order_by(event.seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = (
        select(literal(action), dead_letters.c.id, POSITION, dead_letters.c.status)
        .join(action_letters, _mine.letter_id == dead_letters.c.id)
        .where(_mine.action_seq == seq, _letter.status == UNDONE[undone.verb], last_move == seq)
    )
    return _begun(connection, "undo", action, at, rows, undone)


def insert(connection: Connection, order: Order, at: str) -> int:
    """The row of an action, without letters; its number."""
    values = {
        "token": os.urandom(16).hex(),
        "verb": order.verb,
        "status": "running",
        "filter": orjson.dumps(order.filter).decode(),
        "edit": order.edit,
        "proof": json_text(order.proof),
        "terms": json_text(order.terms),
        "why": order.why,
        "by": order.by,
        "letters": 0,
        "started_at": at,
    }
    return int(connection.execute(actions.insert().values(values).returning(actions.c.seq)).scalar_one())


def _begun(
    connection: Connection, verb: str, action: int, at: str, rows: Any, undone: Action | None = None
) -> Action | None:
    connection.execute(action_letters.insert().from_select(COLUMNS, rows))
    number = connection.execute(
        select(func.count()).select_from(action_letters).where(_mine.action_seq == action)
    ).scalar_one()
    if filled(connection, action, number) is None:
        return None
    if undone:
        _undo_letters(connection, undone, action, at)
    else:
        DO[verb](connection, letters_of(action), action, at)
    if verb != "replay":
        connection.execute(update(action_letters).where(_mine.action_seq == action).values(outcome="done"))
        _finish(connection, action, "finished", at)
    return find(connection, action)


def filled(connection: Connection, action: int, letters: int) -> Action | None:
    """The action with so many letters; none where it has none."""
    if not letters:
        connection.execute(delete(actions).where(actions.c.seq == action))
        return None
    connection.execute(update(actions).where(actions.c.seq == action).values(letters=letters))
    return find(connection, action)


def _undo_letters(connection: Connection, undone: Action, action: int, at: str) -> None:
    for state in STATES:
        had = select(_mine.letter_id).where(_mine.action_seq == undone.seq, _mine.before == state)
        chosen = and_(letters_of(action), dead_letters.c.id.in_(had))
        states.undo(connection, chosen, UNDONE[undone.verb], state, action, at)


def letters_of(action: int) -> ColumnElement[bool]:
    """The letters of an action."""
    return dead_letters.c.id.in_(select(_mine.letter_id).where(_mine.action_seq == action))


def find(connection: Connection, seq: int) -> Action:
    """An action by its number. Raises UsageError for an unknown one."""
    row = connection.execute(select(actions).where(actions.c.seq == seq)).mappings().one_or_none()
    if row is None:
        raise UsageError(f"there is no action {seq}: `store letters actions` lists them")
    return _action(row)


def all_but_prunes(connection: Connection) -> Iterator[Action]:
    """The actions that keep a list of their letters, oldest first."""
    rows = select(actions).where(actions.c.verb != "prune").order_by(actions.c.seq)
    return (_action(row) for row in connection.execute(rows).mappings())


def number_of(connection: Connection, token: str) -> int | None:
    """The number of the action with this token; None where there is none."""
    return connection.execute(select(actions.c.seq).where(actions.c.token == token)).scalar()


def recent(connection: Connection, limit: int, before: int | None = None) -> list[Action]:
    """The latest actions, or those before one, newest first."""
    statement = select(actions).order_by(actions.c.seq.desc()).limit(limit)
    if before is not None:
        statement = statement.where(actions.c.seq < before)
    return [_action(row) for row in connection.execute(statement).mappings()]


def last(connection: Connection) -> int:
    """The number of the latest action; 0 where there is none."""
    return connection.execute(select(func.max(actions.c.seq))).scalar() or 0


def _action(row: Any) -> Action:
    values = database.as_dict(row)
    for name in ("filter", "proof", "terms"):
        values[name] = orjson.loads(values[name]) if values[name] else None
    return Action(**values)


def json_text(value: dict[str, Any] | None) -> str | None:
    """As a column has it."""
    return None if value is None else orjson.dumps(value).decode()


# --- what a replay does with its letters ---


def withdraw_unsent(connection: Connection, action: int) -> int:
    """The letters that no batch is registered for are open again; how many."""
    ids = select(_mine.letter_id).where(
        _mine.action_seq == action, _mine.outcome.is_(None), _mine.batch_id.is_(None)
    )
    number = states.withdraw(connection, _letter.id.in_(ids), action, timestamps.now_text(), "withdrawn")
    note_outcomes(connection, action, _mine.batch_id.is_(None), "withdrawn")
    return number


def note_outcomes(connection: Connection, action: int, chosen: ColumnElement[bool], outcome: str) -> int:
    """Gives the chosen letters of a replay this outcome, where they have none, and counts them; how many."""
    which = and_(_mine.action_seq == action, chosen, _mine.outcome.is_(None))
    number = connection.execute(update(action_letters).where(which).values(outcome=outcome)).rowcount
    counter = actions.c[outcome]
    connection.execute(update(actions).where(actions.c.seq == action).values({outcome: counter + number}))
    return number


def register(connection: Connection, action: int, batch: str, letters: Sequence[str]) -> None:
    """These letters are sent in this batch, and in no other."""
    chosen = database.member_of(connection, _mine.letter_id, letters)
    connection.execute(
        update(action_letters).where(_mine.action_seq == action, chosen).values(batch_id=batch)
    )


def registrations(connection: Connection, action: int, letters: Sequence[str]) -> dict[str, Registration]:
    """letter -> the batch that was registered for it last, of those that were ever in the action."""
    chosen = database.member_of(connection, _mine.letter_id, letters)
    rows = connection.execute(
        select(_mine.letter_id, _mine.batch_id, _letter.action_seq)
        .join(dead_letters, _letter.id == _mine.letter_id)
        .where(chosen, _mine.action_seq == action)
    )
    return {id: Registration(batch, holder == action) for id, batch, holder in rows}


def give_back(connection: Connection, action: int, letters: Sequence[str], outcome: str) -> int:
    """Letters that cannot be sent (`refused`), or are not to be (`withdrawn`), are open again; how many."""
    at = timestamps.now_text()
    chosen = database.member_of(connection, dead_letters.c.id, letters)
    number = states.withdraw(connection, chosen, action, at, outcome)
    mine = database.member_of(connection, _mine.letter_id, letters)
    note_outcomes(connection, action, mine, outcome)
    finish_if_done(connection, action, at)
    return number


def end_attempts(
    connection: Connection,
    action: int,
    attempts: Sequence[states.Attempt],
    batch: int,
    at: str,
    max_replays: int,
) -> bool:
    """What a batch has done to its letters; whether the action held all of them."""
    held = states.end_replay(connection, action, attempts, batch, at, max_replays)
    noted = 0
    for outcome, ids in (
        ("rejected", [each.id for each in attempts if each.row]),
        ("resolved", [each.id for each in attempts if not each.row]),
    ):
        if ids:
            mine = database.member_of(connection, _mine.letter_id, ids)
            noted += note_outcomes(connection, action, mine, outcome)
    finish_if_done(connection, action, at)
    return held == noted == len(attempts)


def finish_if_done(connection: Connection, action: int, at: str) -> None:
    """A replay each of whose letters has an outcome is finished."""
    waits = actions.c.letters > sum((actions.c[name] for name in OUTCOMES), literal(0))
    _finish(connection, action, "finished", at, ~waits)


def stop(connection: Connection, action: int) -> None:
    """No more of an action's letters are sent."""
    _finish(connection, action, "stopped", timestamps.now_text())


def _finish(connection: Connection, action: int, status: str, at: str, *where: ColumnElement[bool]) -> None:
    running = and_(actions.c.seq == action, actions.c.status == "running", *where)
    connection.execute(update(actions).where(running).values(status=status, finished_at=at))

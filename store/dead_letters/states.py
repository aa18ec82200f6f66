"""The life of a dead letter: one verb a transition, each with its event and the counts of its group.

    rejected -> open             open -- claim --> replaying
    replaying -- accept --> resolved             replaying -- reject again --> open, or parked after too many replays
    replaying -- withdraw --> open               resolved -- reject (a later record) --> open
    open -- park --> parked -- unpark --> open   open, parked -- discard --> discarded -- undo --> open, parked
    open, parked -- arrive (the same payload is accepted: see `superseded`) --> resolved

The original payload and its first errors never change: what an attempt sent and what was wrong with it stand in
its event. Each verb is part of its caller's transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, func, literal, or_, select, update

from store import database
from store.database.letters import (
    DISCARDED,
    OPEN,
    PARKED,
    REPLAYING,
    RESOLVED,
    dead_letters,
    letter_events,
)
from store.dead_letters import groups
from store.dead_letters.groups import Moves
from store.tables.dead_letters import Rejected


class Attempt(NamedTuple):
    """One letter's part in a batch of letters that were sent back."""

    id: str
    payload: str | None  # as it was sent, where that was edited
    row: Rejected | None  # what was wrong with it; None: it was accepted


# Rejected once more, in a file: the latest version counts, and reopens a resolved letter. One that is not later was
# resolved with the others: the same delivery in other batches changes nothing.
IS_LATER = dead_letters.c.version < bindparam("seen_version")
REOPENS = and_(IS_LATER, dead_letters.c.status == RESOLVED)
AGAIN = (
    update(dead_letters)
    .where(dead_letters.c.id == bindparam("letter"))
    .values(
        occurrences=dead_letters.c.occurrences + 1,
        batch_seq=bindparam("seen_in"),
        event_id=bindparam("seen_event"),
        last_seen_at=bindparam("seen_at"),
        version=case((IS_LATER, bindparam("seen_version")), else_=dead_letters.c.version),
        status=case((REOPENS, OPEN), else_=dead_letters.c.status),
        resolved_at=case((REOPENS, None), else_=dead_letters.c.resolved_at),
        # What the mirror has is out of date.
        published_at=case(
            (or_(REOPENS, dead_letters.c.status == OPEN), None), else_=dead_letters.c.published_at
        ),
    )
)
AFTER_REPLAY = (
    update(dead_letters)
    .where(dead_letters.c.id == bindparam("letter"))
    .values(
        status=bindparam("after"),
        action_seq=None,
        replays=dead_letters.c.replays + 1,
        occurrences=dead_letters.c.occurrences + 1,
        batch_seq=bindparam("seen_in"),
        event_id=bindparam("seen_event"),
        last_seen_at=bindparam("seen_at"),
        published_at=case((bindparam("after") == OPEN, None), else_=dead_letters.c.published_at),
    )
)


class _Known(NamedTuple):
    group: str
    status: str
    version: int


def reject(connection: Connection, rejected: Sequence[Rejected]) -> list[Rejected]:
    """Adds rejections; the same payload again raises `occurrences`, and reopens a resolved letter if it is a later one.

    Returns those that were seen for the first time, and once: what the table holds of them.

    The known ones are told apart first: for an upsert SQLite would keep a copy of every page it touches, row
    by row, and rejecting would cost several times what it does.
    """
    if not rejected:
        return []
    new: dict[str, Rejected] = {}
    again: list[Rejected] = []
    known = _known(connection, [row.id for row in rejected])
    for row in rejected:
        if row.id in known or row.id in new:
            again.append(row)
        else:
            new[row.id] = row
    names = [name for name in Rejected._fields if name not in ("seen_at", "fingerprint")]
    chosen = itemgetter(*(Rejected._fields.index(name) for name in names))
    columns = [*names, "first_seen_at", "last_seen_at", "status", "occurrences", "replays"]
    # In the order of ids, which end each index: saves 20 µs a record.
    ordered = [new[id] for id in sorted(new)]
    rows = [(*chosen(row), row.seen_at, row.seen_at, OPEN, 1, 0) for row in ordered]
    database.insert_tuples(connection, dead_letters, columns, rows)
    groups.add_new(connection, new.values())
    if again:
        _reject_known(connection, again, known, new)
    repeated = {row.id for row in again}
    return [row for row in new.values() if row.id not in repeated]


def _reject_known(
    connection: Connection,
    again: Sequence[Rejected],
    known: Mapping[str, _Known],
    new: Mapping[str, Rejected],
) -> None:
    connection.execute(
        AGAIN, [{"letter": row.id, "seen_version": row.version, **_seen(row)} for row in again]
    )
    moves: Moves = Counter()
    events = []
    reopened: set[str] = set()
    for row in again:
        before = known.get(row.id)
        if before is None:
            continue
        is_reopened = row.id not in reopened and before.status == RESOLVED and row.version > before.version
        if is_reopened:
            reopened.add(row.id)
            moves[before.group, RESOLVED, OPEN] += 1
        if is_reopened or row.group_id != before.group:  # another contract has other objections
            status = OPEN if row.id in reopened else before.status
            events.append(
                _event(
                    row.id,
                    row.seen_at,
                    "reject",
                    before.status,
                    status,
                    None,
                    row.batch_seq,
                    row.errors,
                    None,
                )
            )
    groups.move(connection, moves)
    group_of = {id: each.group for id, each in known.items()} | {id: row.group_id for id, row in new.items()}
    groups.see_again(connection, _by_group((group_of[row.id], row.seen_at) for row in again))
    _add_events(connection, events)


def _by_group(seen: Iterable[tuple[str, str]]) -> dict[str, tuple[int, str]]:
    """group -> (how many, the latest time), of (group, time)."""
    times: dict[str, list[str]] = {}
    for group, at in seen:
        times.setdefault(group, []).append(at)
    return {group: (len(each), max(each)) for group, each in times.items()}


def _known(connection: Connection, ids: Sequence[str]) -> dict[str, _Known]:
    """Those of the ids that have a letter."""
    columns = (dead_letters.c.id, dead_letters.c.group_id, dead_letters.c.status, dead_letters.c.version)
    rows = database.with_member_of(connection, select(*columns), dead_letters.c.id, ids)
    return {id: _Known(*rest) for id, *rest in connection.execute(rows)}


def _seen(row: Rejected) -> dict[str, Any]:
    return {"seen_in": row.batch_seq, "seen_event": row.event_id, "seen_at": row.seen_at}


def claim(connection: Connection, chosen: ColumnElement[bool], action: int, at: str) -> int:
    """Open letters that an action sends back; how many."""
    return _move(connection, chosen, (OPEN,), REPLAYING, verb="claim", action=action, at=at)


def claim_open(connection: Connection, ids: Sequence[str], action: int, at: str) -> list[str]:
    """As `claim`, of letters with these ids: those that are open, which it returns in the order of their ids.

    What the letters are is read once, where `claim` asks twice: saves a seventh of beginning a replay.
    """
    these = database.member_of(connection, dead_letters.c.id, ids)
    # The state as an expression: SQLite would begin with all open letters, by their index.
    is_open = dead_letters.c.status.concat("") == OPEN
    found = select(dead_letters.c.id, dead_letters.c.group_id).where(these, is_open)
    held = sorted((id, group) for id, group in connection.execute(found))
    values = map(literal, (at, "claim", OPEN, REPLAYING, action))
    event = select(dead_letters.c.id, *values).where(these, is_open)
    connection.execute(letter_events.insert().from_select(MOVE_COLUMNS, event))
    claimed = update(dead_letters).where(these, is_open)
    connection.execute(claimed.values(status=REPLAYING, action_seq=action, **_off_the_mirror(at)))
    groups.move(connection, Counter((group, OPEN, REPLAYING) for _, group in held))
    return [id for id, _ in held]


def withdraw(connection: Connection, chosen: ColumnElement[bool], action: int, at: str, verb: str) -> int:
    """Letters of an action that were not sent, or are not on their way any more, are open again; how many."""
    mine = and_(chosen, dead_letters.c.action_seq == action)
    return _move(connection, mine, (REPLAYING,), OPEN, verb=verb, action=action, at=at)


def park(connection: Connection, chosen: ColumnElement[bool], action: int, at: str) -> None:
    """Open letters that are to wait, off the Redis DLQ."""
    _move(connection, chosen, (OPEN,), PARKED, verb="park", action=action, at=at)


def unpark(connection: Connection, chosen: ColumnElement[bool], action: int, at: str) -> None:
    """Parked letters are open again."""
    _move(connection, chosen, (PARKED,), OPEN, verb="unpark", action=action, at=at)


def discard(connection: Connection, chosen: ColumnElement[bool], action: int, at: str) -> None:
    """Letters that nobody wants."""
    _move(connection, chosen, (OPEN, PARKED), DISCARDED, verb="discard", action=action, at=at)


def undo(
    connection: Connection, chosen: ColumnElement[bool], before: str, after: str, action: int, at: str
) -> None:
    """Letters that a discard or park moved are what they were."""
    _move(connection, chosen, (before,), after, verb="undo", action=action, at=at)


def end_replay(
    connection: Connection,
    action: int,
    attempts: Sequence[Attempt],
    batch: int,
    at: str,
    max_replays: int,
) -> int:
    """What a batch of letters sent back has done to them; how many of them the action still held."""
    ids = [each.id for each in attempts]
    held = _replaying(connection, action, ids)
    accepted = [each.id for each in attempts if each.row is None]
    again: list[dict[str, Any]] = []
    moves: Moves = Counter()
    events = []
    for each in attempts:
        if each.id not in held:
            continue
        group, replays = held[each.id]
        after, errors = RESOLVED, None
        if each.row:
            after, errors = (PARKED if replays + 1 >= max_replays else OPEN), each.row.errors
            again.append({"letter": each.id, "after": after, **_seen(each.row)})
        moves[group, REPLAYING, after] += 1
        verb = "reject again" if each.row else "accept"
        events.append(_event(each.id, at, verb, REPLAYING, after, action, batch, errors, each.payload))
    resolve = update(dead_letters).where(database.member_of(connection, dead_letters.c.id, accepted))
    connection.execute(
        resolve.values(
            status=RESOLVED,
            action_seq=None,
            resolved_at=at,
            replays=dead_letters.c.replays + 1,
            **_off_the_mirror(at),
        )
    )
    if again:
        connection.execute(AFTER_REPLAY, again)
    groups.move(connection, moves)
    groups.see_again(connection, _by_group((held[each["letter"]][0], each["seen_at"]) for each in again))
    _add_events(connection, events)
    return len(held)


def _replaying(connection: Connection, action: int, ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """id -> (group, replays) of the letters that this action is sending back."""
    condition = database.member_of(connection, dead_letters.c.id, ids)
    rows = connection.execute(
        select(dead_letters.c.id, dead_letters.c.group_id, dead_letters.c.replays).where(
            condition, dead_letters.c.status == REPLAYING, dead_letters.c.action_seq == action
        )
    )
    return {id: (group, replays) for id, group, replays in rows}


def _off_the_mirror(at: str) -> dict[str, Any]:
    """A letter that is not open is removed from the Redis DLQ, even where nobody noted that it is there."""
    return {"published_at": func.coalesce(dead_letters.c.published_at, at)}


def _move(
    connection: Connection,
    chosen: ColumnElement[bool],
    before: Iterable[str],
    after: str,
    *,
    verb: str,
    action: int,
    at: str,
) -> int:
    """The chosen letters that are in one of the states `before` are `after`; how many."""
    # The state as an expression: SQLite would begin with all letters that are in it, and not with the chosen ones.
    status = dead_letters.c.status.concat("")
    condition = and_(chosen, or_(*(status == state for state in before)))
    columns = (dead_letters.c.group_id, dead_letters.c.status)
    counted = connection.execute(select(*columns, func.count()).where(condition).group_by(*columns))
    moves: Moves = Counter({(group, status, after): number for group, status, number in counted})
    event = select(
        dead_letters.c.id, literal(at), literal(verb), dead_letters.c.status, literal(after), literal(action)
    ).where(condition)
    connection.execute(letter_events.insert().from_select(MOVE_COLUMNS, event))
    mirrored = {"published_at": None} if after == OPEN else _off_the_mirror(at)
    holder = action if after == REPLAYING else None
    connection.execute(
        update(dead_letters).where(condition).values(status=after, action_seq=holder, **mirrored)
    )
    groups.move(connection, moves)
    return moves.total()


MOVE_COLUMNS = ["letter_id", "at", "verb", "before", "after", "action_seq"]
EVENT_COLUMNS = (
    "letter_id", "at", "verb", "before", "after", "action_seq", "batch_seq", "errors", "payload",
)  # fmt: skip


def _event(*values: Any) -> tuple[Any, ...]:
    return values


def _add_events(connection: Connection, events: Sequence[tuple[Any, ...]]) -> None:
    database.insert_tuples(connection, letter_events, EVENT_COLUMNS, events)


def history(connection: Connection, id: str) -> list[dict[str, Any]]:
    """What happened to a letter after it was first rejected, oldest first."""
    statement = select(letter_events).where(letter_events.c.letter_id == id).order_by(letter_events.c.seq)
    return [database.as_dict(row) for row in connection.execute(statement).mappings()]

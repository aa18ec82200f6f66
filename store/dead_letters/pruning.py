"""Prunes letters: resolved and discarded ones of which nothing has changed for long are deleted, and counted.

What is left of each says so: its group counts it, lineage keeps its entries, and the account of its delivery its state.
Open, parked and replaying letters are never touched, nor one that the Redis DLQ may still have.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, func, literal, select

from store import database, timestamps
from store.database.letters import (
    DISCARDED,
    PRUNED,
    RESOLVED,
    action_payloads,
    dead_letters,
    letter_events,
    pruned_letters,
)
from store.database.letters import actions as actions_table
from store.dead_letters import actions, groups
from store.dead_letters.actions import Action, Order
from store.errors import UsageError
from store.settings import duration
from store.tables.dead_letters import begins

AT_ONCE = 5000  # letters of one transaction: workers write in between

_letter, _event = dead_letters.c, letter_events.c


def time_of(connection: Connection, older_than: str) -> str:
    """The time before which letters are that old, by the database's clock. Raises UsageError."""
    try:
        length = duration(older_than)
        if not isinstance(length, timedelta):
            raise ValueError("no number with a unit")
        return timestamps.to_text(database.now(connection) - length)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--older-than {older_than!r} is no length of time: write it like 90d, 12h or 30m"
        ) from error


def count(connection: Connection, before: str) -> dict[str, int]:
    """state -> letters that would be pruned: nothing of them has changed since that time."""
    statement = select(_letter.status, func.count()).where(_old(before)).group_by(_letter.status)
    return {status: number for status, number in connection.execute(statement)}


def prune_all(engine: Engine, before: str, order: Order) -> Action | None:
    """Prunes them, `AT_ONCE` in a transaction, and notes it as an action; None where there was none."""
    action: int | None = None
    while True:
        with database.transaction(engine) as connection:
            number = _prune(connection, before, timestamps.now_text())
            if number:
                action = actions.note(connection, order, number, action)
        if number < AT_ONCE:
            break
    if action is None:
        return None
    with database.reading(engine) as connection:
        return actions.find(connection, action)


def _prune(connection: Connection, before: str, at: str) -> int:
    """Prunes some of these letters; how many. None is left where these are fewer than `AT_ONCE`."""
    some = select(_letter.id).where(_old(before)).limit(AT_ONCE)
    ids = list(connection.execute(some).scalars())
    chosen = database.member_of(connection, _letter.id, ids)
    counted = connection.execute(
        select(_letter.group_id, _letter.status, func.count())
        .where(chosen)
        .group_by(_letter.group_id, _letter.status)
    )
    groups.move(connection, Counter({(group, status, PRUNED): number for group, status, number in counted}))
    _remember(connection, chosen, at)
    for table in (letter_events, action_payloads):
        connection.execute(delete(table).where(database.member_of(connection, table.c.letter_id, ids)))
    connection.execute(delete(dead_letters).where(chosen))
    return len(ids)


def _old(before: str) -> ColumnElement[bool]:
    changed = select(literal(1)).where(_event.letter_id == _letter.id, _event.at >= before).exists()
    return and_(
        _letter.status.in_((RESOLVED, DISCARDED)),
        _letter.first_seen_at < before,  # as those seen last before it are: an index has it
        _letter.last_seen_at < before,
        _letter.published_at.is_(None),
        ~changed,
    )


def _remember(connection: Connection, chosen: ColumnElement[bool], at: str) -> None:
    discarded = (
        select(actions_table.c.why)
        .join(letter_events, _event.action_seq == actions_table.c.seq)
        .where(_event.letter_id == _letter.id, _event.verb == "discard", _letter.status == DISCARDED)
        .order_by(_event.seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = select(
        _letter.id, _letter.group_id, _letter.status, discarded, literal(1), _letter.occurrences, literal(at)
    ).where(chosen)
    names = [column.name for column in pruned_letters.columns]
    statement = database.insert(connection, pruned_letters)
    new, old = statement.excluded, pruned_letters.c
    connection.execute(
        statement.from_select(names, rows).on_conflict_do_update(
            index_elements=["id", "group_id"],
            set_={
                "status": new.status,
                "why": new.why,
                "times": old.times + new.times,
                "occurrences": old.occurrences + new.occurrences,
                "pruned_at": new.pruned_at,
            },
        )
    )


def pruned_at(connection: Connection, prefix: str) -> str | None:
    """When a letter whose id begins so was pruned; None where none was."""
    matching = begins(pruned_letters.c.id, prefix)
    return connection.execute(select(func.max(pruned_letters.c.pruned_at)).where(matching)).scalar()

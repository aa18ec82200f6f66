"""Letters that are parked until a time: the loader opens them again when it has come, by the database's clock."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, select, update

from store import database, timestamps
from store.database.letters import PARKED, action_letters, dead_letters, letter_events
from store.database.letters import actions as actions_table
from store.dead_letters import actions
from store.dead_letters.actions import Action, Order
from store.errors import UsageError

SLUICE = "sluice"  # who opens them


def time_of(connection: Connection, text: str) -> str:
    """`--until` as it is stored. Raises UsageError for no time, and for one that has passed."""
    try:
        at = timestamps.to_text(timestamps.from_iso(text))
    except ValueError as error:
        raise UsageError(
            f"--until {text!r} is not an ISO 8601 time: write it like 2025-01-15T12:00:00Z"
        ) from error
    now = timestamps.to_text(database.now(connection))
    if at <= now:
        raise UsageError(f"--until {text} has passed (it is {now}): give a time to come")
    return at


def open_at(connection: Connection, action: int, at: str) -> None:
    """The letters of a park are to be opened at this time."""
    connection.execute(update(actions_table).where(actions_table.c.seq == action).values(unpark_at=at))


def open_due(engine: Engine) -> list[Action]:
    """Opens the letters whose time has come, each park by an action of its own."""
    with database.reading(engine) as connection:
        if not _due(connection):
            return []
    with database.transaction(engine) as connection:
        opened = [_open(connection, seq) for seq in _due(connection)]
    return [action for action in opened if action]


def _due(connection: Connection) -> list[int]:
    park = actions_table.c
    now = timestamps.to_text(database.now(connection))
    return list(
        connection.execute(select(park.seq).where(park.unpark_at <= now).order_by(park.seq)).scalars()
    )


def _open(connection: Connection, seq: int) -> Action | None:
    """The letters that are parked by this action; those that another one has parked since are not."""
    event = letter_events.c
    parked_by = (
        select(event.action_seq)
        .where(event.letter_id == dead_letters.c.id, event.after == PARKED, event.verb != "undo")
        .order_by(event.seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    mine = select(action_letters.c.letter_id).where(action_letters.c.action_seq == seq)
    order = Order("unpark", {"action": seq}, f"the time of action {seq} has come", SLUICE)
    opened = actions.begin(connection, order, [dead_letters.c.id.in_(mine), parked_by == seq])
    connection.execute(update(actions_table).where(actions_table.c.seq == seq).values(unpark_at=None))
    return opened

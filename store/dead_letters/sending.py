"""A replay on its way: the letters that are not sent yet, and the lease of the command that sends them.

    begin --> the lease is held --(all is sent)--> no lease
                    `--(interrupted, killed)--> a lease that ran out: another command may go on

Without a lease, a letter whose batch is neither processed nor on its way is lost: the sweep opens it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Literal, NamedTuple

import orjson
from sqlalchemy import Connection, Text, and_, cast, delete, func, literal, not_, select, update

from store import database, timestamps
from store.database.letters import OPEN, action_letters, dead_letters
from store.database.letters import actions as actions_table
from store.database.schema import locks
from store.dead_letters import actions, states
from store.dead_letters.actions import Action, Order
from store.errors import LockHeld, LockLost, SluiceError, UsageError
from store.payload import Encoding, to_bytes
from store.tables import leases

LEASE_SECONDS = 60.0
# After so long without a command that sends it, an interrupted replay is not waited for any more.
RESUMABLE_SECONDS = 600.0
CLAIMED_AT_ONCE = 4_000  # their rows stand together, and fit into the cache of pages


class Outgoing(NamedTuple):
    """What is sent of a letter: half of its columns take half of the time to read."""

    id: str
    source: str
    reason: str
    payload: str
    encoding: Encoding
    size: int
    payload_digest: str | None
    format: Literal["json", "csv"]
    header: dict[str, Any] | None
    file: str
    line: int
    event_id: int

    @property
    def raw(self) -> bytes:
        """The payload's bytes."""
        return to_bytes(self.payload, self.encoding)


COLUMNS = [dead_letters.c[name] for name in Outgoing._fields]
HEADER = Outgoing._fields.index("header")

_mine = action_letters.c
_letter = dead_letters.c


# --- the lease ---


def lease_of(action: int) -> str:
    """The name of its lease."""
    return f"replay {action}"


def take(connection: Connection, action: int, holder: str) -> None:
    """This command sends the action's letters. Raises UsageError where another one does."""
    try:
        leases.acquire(connection, lease_of(action), holder, LEASE_SECONDS)
    except LockHeld:
        name = leases.holder_of(connection, lease_of(action))
        raise UsageError(
            f"action {action} is being sent by another command ({name}): wait for its end, or "
            f"`producer replay --stop {action}`"
        ) from None


def hold(connection: Connection, action: int, holder: str) -> None:
    """Extends the lease. Raises SluiceError where another command has it."""
    try:
        leases.renew(connection, lease_of(action), holder, LEASE_SECONDS)
    except LockLost:
        raise SluiceError(
            f"action {action} is not sent on by this command: it was silent for too long, and another took over or "
            "its letters are open again; `store letters actions` shows what became of them"
        ) from None


def release(connection: Connection, action: int, holder: str, *, is_sent: bool) -> None:
    """This command sends no more; where it has not sent all, the lease is one that ran out."""
    if is_sent:
        leases.forget(connection, lease_of(action), holder)
        return
    leases.release(connection, lease_of(action), holder)


def sender(connection: Connection, action: int) -> str | None:
    """The command that sends the action's letters now."""
    return leases.holder_of(connection, lease_of(action))


# --- the letters ---


def begin(connection: Connection, order: Order, pages: Iterable[Sequence[str]]) -> Action | None:
    """A replay of the letters with these ids, in their order, that are open; None where none is.

    Page by page, in one transaction: the letters of a page stand together in the table and its indexes.
    """
    at = timestamps.now_text()
    action = actions.insert(connection, order, at)
    first = taken = 0
    for ids in pages:
        position = {id: each for each, id in enumerate(ids, first)}
        first += len(ids)
        ordered = sorted(ids)
        for at_once in range(0, len(ordered), CLAIMED_AT_ONCE):
            some = ordered[at_once : at_once + CLAIMED_AT_ONCE]
            held = states.claim_open(connection, some, action, at)
            rows = [(action, id, position[id], OPEN) for id in held]
            database.insert_tuples(connection, action_letters, actions.COLUMNS, rows)
            taken += len(held)
    return actions.filled(connection, action, taken)


def unsent(connection: Connection, action: int, after: int, page: int) -> list[tuple[int, Outgoing]]:
    """(position, letter) of those that no batch is registered for, from the position `after` on."""
    statement = (
        select(_mine.position, *COLUMNS)
        .join(action_letters, _mine.letter_id == _letter.id)
        .where(_mine.action_seq == action, _letter.action_seq == action, _mine.position > after)
        .where(_mine.outcome.is_(None), _mine.batch_id.is_(None))
        .order_by(_mine.position)
        .limit(page)
    )
    return [(position, outgoing(row)) for position, *row in connection.execute(statement).all()]


def outgoing(values: list[Any]) -> Outgoing:
    """A letter from the values of these `COLUMNS`."""
    if values[HEADER]:
        values[HEADER] = orjson.loads(values[HEADER])
    return Outgoing._make(values)


def register(connection: Connection, action: int, batch: str, letters: Sequence[str]) -> bool:
    """These letters are sent in this batch; whether all of them were still to be sent: if not, none is registered."""
    chosen = database.member_of(connection, _mine.letter_id, letters)
    unsent = and_(_mine.action_seq == action, _mine.outcome.is_(None), _mine.batch_id.is_(None), chosen)
    done = connection.execute(update(action_letters).where(unsent).values(batch_id=batch))
    if done.rowcount == len(letters):
        return True
    forget_batches(connection, action, [batch])
    return False


def still_unsent(connection: Connection, action: int, letters: Sequence[str]) -> set[str]:
    """Those of the letters that are to be sent, and that no batch is registered for."""
    statement = (
        select(_mine.letter_id)  # without an outcome: the action holds the letter
        .where(_mine.action_seq == action, _mine.outcome.is_(None), _mine.batch_id.is_(None))
        .where(database.member_of(connection, _mine.letter_id, letters))
    )
    return set(connection.execute(statement).scalars().all())


def count_unsent(connection: Connection, action: int) -> int:
    """How many letters no batch is registered for."""
    statement = select(func.count()).where(_mine.action_seq == action)
    return connection.execute(statement.where(_mine.outcome.is_(None), _mine.batch_id.is_(None))).scalar_one()


class Totals(NamedTuple):
    """What all commands that have sent letters of an action, or those of one source, have sent."""

    letters: int
    batches: int  # a part of one that was cut is one


def totals(connection: Connection, action: int, source: str | None = None) -> Totals:
    """What was sent so far; of batches that are lost, nothing."""
    is_lost = func.coalesce(_mine.outcome, "") == "withdrawn"
    statement = select(func.count(), func.count(_mine.batch_id.distinct())).where(
        _mine.action_seq == action, _mine.batch_id.is_not(None), not_(is_lost)
    )
    if source is not None:
        statement = statement.join(dead_letters, _mine.letter_id == _letter.id).where(
            _letter.source == source
        )
    letters, batches = connection.execute(statement.select_from(action_letters)).one()
    return Totals(letters, batches)


def on_their_way(connection: Connection, action: int) -> dict[str, int]:
    """batch -> its letters without an outcome."""
    statement = select(_mine.batch_id, func.count()).where(
        _mine.action_seq == action, _mine.outcome.is_(None)
    )
    rows = connection.execute(statement.where(_mine.batch_id.is_not(None)).group_by(_mine.batch_id))
    return {batch: number for batch, number in rows}


def registered_batches(connection: Connection, action: int) -> list[str]:
    """The batches that hold letters without an outcome."""
    statement = select(_mine.batch_id).where(_mine.action_seq == action, _mine.outcome.is_(None))
    return list(connection.execute(statement.where(_mine.batch_id.is_not(None)).distinct()).scalars())


def forget_batches(connection: Connection, action: int, batches: Sequence[str]) -> None:
    """These batches are lost: their letters are to be sent in others."""
    chosen = database.member_of(connection, _mine.batch_id, batches)
    lost = and_(_mine.action_seq == action, _mine.outcome.is_(None), chosen)
    connection.execute(update(action_letters).where(lost).values(batch_id=None))


def unattended(connection: Connection) -> dict[int, bool]:
    """Replays with letters on their way that no command sends: action -> whether it was interrupted, and given up.

    One that was interrupted lately is not among them: it may be resumed.
    """
    rows = connection.execute(
        select(actions_table.c.seq, locks.c.expires_at)
        .outerjoin(locks, locks.c.name == literal("replay ") + cast(actions_table.c.seq, Text))
        .where(actions_table.c.verb == "replay", actions_table.c.status != "finished")
    )
    limit = timestamps.to_text(database.now(connection) - timedelta(seconds=RESUMABLE_SECONDS))
    return {seq: ended is not None for seq, ended in rows if ended is None or ended < limit}


def give_up(connection: Connection, action: int) -> int:
    """The letters that an interrupted replay did not send are open again; how many."""
    if not unattended(connection).get(action):  # somebody has resumed it meanwhile
        return 0
    number = actions.withdraw_unsent(connection, action)
    actions.stop(connection, action)
    connection.execute(delete(locks).where(locks.c.name == lease_of(action)))
    return number


def open_lost(connection: Connection, action: int, batches: Sequence[str]) -> int:
    """The letters of batches that are neither processed nor on their way are open again; how many."""
    if action not in unattended(connection):
        return 0
    lost = and_(
        _mine.action_seq == action,
        _mine.outcome.is_(None),
        database.member_of(connection, _mine.batch_id, batches),
    )
    at = timestamps.now_text()
    chosen = _letter.id.in_(select(_mine.letter_id).where(lost))
    number = states.withdraw(connection, chosen, action, at, "lost")
    actions.note_outcomes(connection, action, lost, "withdrawn")
    actions.finish_if_done(connection, action, at)
    return number

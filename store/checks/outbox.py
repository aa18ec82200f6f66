"""Which letters the Redis DLQ should have, by the table: for the check of it, which `store` itself cannot do.

A letter whose `published_at` is null and that is open waits to be published; one that is not open and has a
`published_at` waits to be removed. Both are at work as long as somebody works, and are no violation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, case, func, or_, select, update

from store import database, timestamps
from store.database.letters import UNPUBLISHED, UNREMOVED, dead_letters, letter_events
from store.tables.dead_letters import COLUMNS, DeadLetter, letter_of

IDS_AT_ONCE = 500
OPEN = dead_letters.c.status == "open"
PATIENCE = timedelta(seconds=60)  # a loader that works publishes what a worker could not well within this


class Standing(NamedTuple):
    """How a letter stands to the DLQ; equal ones in two looks tell that nobody has touched it."""

    is_open: bool
    published_at: str | None
    event_id: int
    occurrences: int
    changed_at: str | None  # when it was rejected last, or left the open ones

    @property
    def waits(self) -> bool:
        """Whether the DLQ is still to be told of it."""
        return self.is_open == (self.published_at is None)

    def waits_too_long(self, now: str) -> bool:
        return self.waits and self.changed_at is not None and self.changed_at < now


LEFT_AT = (
    select(func.max(letter_events.c.at))
    .where(letter_events.c.letter_id == dead_letters.c.id, letter_events.c.before != letter_events.c.after)
    .scalar_subquery()
)
STANDING: list[ColumnElement[Any]] = [
    OPEN.label("is_open"),
    dead_letters.c.published_at,
    dead_letters.c.event_id,
    dead_letters.c.occurrences,
    case((OPEN, dead_letters.c.last_seen_at), else_=LEFT_AT).label("changed_at"),
]


def long_ago() -> str:
    """What changed before this moment should be on the DLQ by now."""
    return timestamps.to_text(timestamps.now() - PATIENCE)


def standings(connection: Connection, ids: Sequence[str]) -> dict[str, Standing]:
    """id -> how it stands; without those that are unknown."""
    found: dict[str, Standing] = {}
    ours = [id for id in ids if id.isascii()]  # a stranger's may be no text at all
    for start in range(0, len(ours), IDS_AT_ONCE):
        chosen = database.member_of(connection, dead_letters.c.id, ours[start : start + IDS_AT_ONCE])
        for id, is_open, *others in connection.execute(select(dead_letters.c.id, *STANDING).where(chosen)):
            found[id] = Standing(bool(is_open), *others)
    return found


def to_be_removed(connection: Connection) -> Iterator[dict[str, Standing]]:
    """id -> how it stands, of the letters that are not open any more and that the DLQ may still have; some at once."""
    statement = select(dead_letters.c.id, *STANDING).where(UNREMOVED)
    rows = connection.execute(statement.execution_options(yield_per=IDS_AT_ONCE))
    for page in rows.partitions():
        yield {id: Standing(bool(is_open), *others) for id, is_open, *others in page}


def open_letters(
    connection: Connection, characters: int, ids: Sequence[str] | None = None
) -> Iterator[list[tuple[DeadLetter, Standing]]]:
    """All open letters, or those of `ids`, some at once; of their payloads no more than so many characters."""
    columns: list[ColumnElement[Any]] = [*COLUMNS]
    columns[COLUMNS.index(dead_letters.c.payload)] = func.substr(dead_letters.c.payload, 1, characters).label(
        "payload"
    )
    statement = select(dead_letters.c.published_at, *columns).where(OPEN).order_by(dead_letters.c.id)
    if ids is not None:
        ours = [id for id in ids if id.isascii()]
        statement = statement.where(database.member_of(connection, dead_letters.c.id, ours))
    statement, after = statement.limit(IDS_AT_ONCE), ""
    while rows := connection.execute(statement.where(dead_letters.c.id > after)).mappings().all():
        yield [_with_standing(dict(row)) for row in rows]
        after = rows[-1]["id"]


def _with_standing(row: dict[str, Any]) -> tuple[DeadLetter, Standing]:
    published_at = row.pop("published_at")
    letter = letter_of(row)
    return letter, Standing(True, published_at, letter.event_id, letter.occurrences, letter.last_seen_at)


def waiting(connection: Connection) -> int:
    """How many letters wait to be published or removed."""
    statement = select(func.count()).select_from(dead_letters).where(or_(UNPUBLISHED, UNREMOVED))
    return connection.execute(statement).scalar_one()


def publish_again(connection: Connection, ids: Sequence[str]) -> None:
    """Lets these letters, if they are open, be published again."""
    for start in range(0, len(ids), IDS_AT_ONCE):
        chosen = database.member_of(connection, dead_letters.c.id, ids[start : start + IDS_AT_ONCE])
        connection.execute(update(dead_letters).where(chosen, OPEN).values(published_at=None))

"""Letters that are closed because the same payload was accepted later, by the normal way.

Order is that of versions, not of processing: a record closes what was rejected before it in the order of deliveries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select, update

from store import database
from store.database.letters import OPEN, PARKED, RESOLVED, dead_letters, letter_events
from store.dead_letters import groups

ARRIVED = (
    update(dead_letters)
    .where(dead_letters.c.id == bindparam("letter"))
    .values(
        status=RESOLVED,
        version=bindparam("accepted_version"),  # an earlier record that is rejected later does not reopen it
        resolved_at=bindparam("at"),
        published_at=func.coalesce(dead_letters.c.published_at, bindparam("at")),
    )
)


class Arrival(NamedTuple):
    """An accepted record whose payload may be that of a letter."""

    version: int  # of its delivery, and its number there
    record_id: int


def arrive(connection: Connection, accepted: Mapping[str, Arrival], batch: int, at: str) -> int:
    """Resolves open and parked letters whose payload a later record has, by the id of the letter.

    The letters of an action are left to it. Returns how many it resolved.
    """
    columns = (dead_letters.c.id, dead_letters.c.group_id, dead_letters.c.status, dead_letters.c.version)
    known = database.with_member_of(connection, select(*columns), dead_letters.c.id, accepted)
    found = [
        row
        for row in connection.execute(known)
        if row.status in (OPEN, PARKED) and row.version < accepted[row.id].version
    ]
    if not found:
        return 0
    values = [{"letter": row.id, "accepted_version": accepted[row.id].version, "at": at} for row in found]
    connection.execute(ARRIVED, values)
    groups.move(connection, Counter((row.group_id, row.status, RESOLVED) for row in found))
    names = ("letter_id", "at", "verb", "before", "after", "batch_seq", "record_id")
    events = [
        (row.id, at, "arrive", row.status, RESOLVED, batch, accepted[row.id].record_id) for row in found
    ]
    database.insert_tuples(connection, letter_events, names, events)
    return len(found)

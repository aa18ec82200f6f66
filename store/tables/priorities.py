"""Priorities: whose row of a key the view `golden` shows. 1 is the best; a source without one comes last."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select

from store.database.schema import source_priorities
from store.errors import ConfigError

LAST = 2**31 - 1  # what the view gives to a source without a priority


def stored(connection: Connection) -> dict[str, int]:
    """source -> priority."""
    statement = select(source_priorities).order_by(source_priorities.c.source)
    return {source: priority for source, priority in connection.execute(statement)}


def replace(connection: Connection, priorities: Mapping[str, int]) -> bool:
    """Makes these the priorities, and no others; whether that changed anything.

    Raises ConfigError naming the source whose priority is not 1 or greater.
    """
    for source, priority in priorities.items():
        if not 1 <= priority < LAST:
            raise ConfigError(f"[sources.{source}] priority = {priority}: 1 is the best, then 2, 3 and on")
    if stored(connection) == dict(priorities):
        return False
    connection.execute(source_priorities.delete())
    rows = [{"source": source, "priority": priority} for source, priority in priorities.items()]
    if rows:
        connection.execute(source_priorities.insert(), rows)
    return True

"""`target`: a last-writer-wins register per (source, key): the greatest version stays."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from store.database.records import record_tables


def count(connection: Connection) -> int:
    """Rows in the target."""
    return connection.execute(select(func.count()).select_from(record_tables().target)).scalar_one()


def count_deleted(connection: Connection) -> int:
    """Rows that their sources have deleted: tombstones."""
    target = record_tables().target
    return connection.execute(select(func.count()).select_from(target).where(target.c.deleted)).scalar_one()


def newest(connection: Connection, source: str) -> str | None:
    """The greatest event time the target holds of a source."""
    target = record_tables().target
    return connection.execute(select(func.max(target.c.ts)).where(target.c.source == source)).scalar()


def counts_by_source(connection: Connection) -> dict[str, int]:
    """Rows in the target per source."""
    target = record_tables().target
    rows = connection.execute(select(target.c.source, func.count()).group_by(target.c.source))
    return {source: number for source, number in rows}

"""`target`: a last-writer-wins register per (source, key): the greatest version stays."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from store.database.records import record_tables
from store.database.schema import past_lineage


def count(connection: Connection) -> int:
    """Rows in the target."""
    return connection.execute(select(func.count()).select_from(record_tables().target)).scalar_one()


def count_deleted(connection: Connection) -> int:
    """Rows that their sources have deleted: tombstones."""
    target = record_tables().target
    return connection.execute(select(func.count()).select_from(target).where(target.c.deleted)).scalar_one()


def newest(connection: Connection, source: str, until: str) -> str | None:
    """The greatest event time loaded of a source that is not after `until`, be it of a record that lost since."""
    tables = (record_tables().target, past_lineage)
    found = [
        connection.execute(
            select(func.max(each.c.ts)).where(each.c.source == source, each.c.ts <= until)
        ).scalar()
        for each in tables
    ]
    return max((ts for ts in found if ts is not None), default=None)


def counts_by_source(connection: Connection) -> dict[str, int]:
    """Rows in the target per source."""
    target = record_tables().target
    rows = connection.execute(select(target.c.source, func.count()).group_by(target.c.source))
    return {source: number for source, number in rows}

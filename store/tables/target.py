"""`target`: a last-writer-wins register per (source, key): the greatest version stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, func, select

from store.database.records import CARRIED, ContractColumn, record_tables
from store.database.schema import past_lineage

NOT_FIELDS = frozenset(
    {"source", "key", "ts", "sequence", "deleted", "content_hash", "extra", *CARRIED}
)  # of a row


def fields_of(row: Mapping[str, Any], columns: Sequence[ContractColumn]) -> dict[str, Any]:
    """The fields of a row beside its key and time, those beyond the contract too; a decimal with all of its digits."""
    values = {str(name): value for name, value in row.items() if name not in NOT_FIELDS}
    for column in columns:
        digits = values.pop(f"{column.name}_exact", None) if column.kind == "decimal" else None
        if digits is not None:
            values[column.name] = digits
        if column.kind == "json" and isinstance(values.get(column.name), str):
            values[column.name] = orjson.loads(values[column.name])
    return values | (orjson.loads(row["extra"]) if row["extra"] else {})


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

"""`staging`: records that are valid and not yet loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select, tuple_

from store import database
from store.schema import PLACE_BITS, RecordTables, record_tables

FIXED_COLUMNS = ("source", "key", "ts", "content_hash", "extra", "id", "line", "flags", "parent_id")

LATE, STALE = 1, 2  # bits of `flags`

Bound = tuple[str, str, bytes]


def contents(connection: Connection, source: str, keys: Sequence[str]) -> dict[tuple[str, bytes], int]:
    """(key, content hash) -> id of what is staged for these keys."""
    staging = record_tables().staging
    statement = select(staging.c.key, staging.c.content_hash, staging.c.id).where(
        staging.c.source == source, database.member_of(connection, staging.c.key, keys)
    )
    return {(key, content): id for key, content, id in connection.execute(statement)}


def add(connection: Connection, names: Sequence[str], rows: list[tuple[Any, ...]]) -> None:
    """Stages rows of FIXED_COLUMNS followed by the contract columns `names`; in key order, for the index."""
    rows.sort(key=_place_in_index)
    database.insert_tuples(connection, record_tables().staging, (*FIXED_COLUMNS, *names), rows)


def _place_in_index(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row[1], row[3]


def count(connection: Connection) -> int:
    """Rows that wait to be loaded."""
    return connection.execute(select(func.count()).select_from(record_tables().staging)).scalar_one()


def holds_batches(connection: Connection, numbers: Sequence[int]) -> bool:
    """Whether any record of these batches still waits to be loaded."""
    staging = record_tables().staging
    wanted = [str(number) for number in numbers]
    batch = func.cast(staging.c.id.op(">>")(PLACE_BITS), staging.c.key.type)
    statement = select(staging.c.id).where(database.member_of(connection, batch, wanted)).limit(1)
    return connection.execute(statement).first() is not None


def bound(connection: Connection, size: int) -> Bound | None:
    """The last row, in index order, of a chunk of at most `size`; None where nothing is staged."""
    staging = record_tables().staging
    order = (staging.c.source, staging.c.key, staging.c.content_hash)
    statement = select(*order).order_by(*order)
    row = connection.execute(statement.offset(size - 1).limit(1)).first()
    if row is None:
        backwards = [column.desc() for column in order]
        row = connection.execute(select(*order).order_by(*backwards).limit(1)).first()
    return None if row is None else (row[0], row[1], row[2])


def within(tables: RecordTables, last: Bound) -> Any:
    """The condition that a staged row belongs to the chunk that ends with `last`."""
    staging = tables.staging
    return tuple_(staging.c.source, staging.c.key, staging.c.content_hash) <= tuple_(*last)


def clear(connection: Connection, last: Bound) -> int:
    """Removes a chunk that has been merged; how many rows it was."""
    tables = record_tables()
    return connection.execute(tables.staging.delete().where(within(tables, last))).rowcount

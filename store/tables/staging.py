"""`staging`: records that are valid and not yet loaded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, select, true

from store import database
from store.database.records import Partition, record_tables
from store.database.schema import SHIFT, batch_of, staged_id

# The price of a row is mostly that of binding its values: these are enough where the others have
# their defaults.
PLAIN_COLUMNS = ("id", "source", "key", "ts", "content_hash", "line")

LATE, STALE, AMBIGUOUS, SHIFTED = 1, 2, 4, 8  # bits of `flags`


def add(connection: Connection, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """Stages rows of these columns: PLAIN_COLUMNS, the contract's, and what else they have."""
    database.insert_tuples(connection, record_tables().staging, columns, rows)


def count(connection: Connection) -> int:
    """Rows that wait to be loaded."""
    return connection.execute(select(func.count()).select_from(record_tables().staging)).scalar_one()


def holds(connection: Connection, rows: int) -> bool:
    """Whether at least so many rows wait to be loaded; looks at no more of them."""
    first = select(record_tables().staging.c.id).limit(rows).subquery()
    return connection.execute(select(func.count()).select_from(first)).scalar_one() >= rows


def holds_batches(connection: Connection, numbers: Sequence[int]) -> bool:
    """Whether any record of these batches still waits to be loaded."""
    staging = record_tables().staging
    wanted = [str(number) for number in numbers]
    batch = func.cast(staging.c.id.op(">>")(SHIFT), staging.c.key.type)
    statement = select(staging.c.id).where(database.member_of(connection, batch, wanted)).limit(1)
    return connection.execute(statement).first() is not None


def sources(connection: Connection, among: Collection[str]) -> list[str]:
    """Those of a few sources of which a record waits to be loaded."""
    of = record_tables().staging.c.source
    return [
        source
        for source in sorted(among)
        if connection.execute(select(of).where(of == source).limit(1)).first()
    ]


def _other_than(sources: Collection[str], staging: Table) -> ColumnElement[bool]:
    """Rows of all sources but these few; nothing to ask of a row where there are none."""
    return staging.c.source.not_in(sorted(sources)) if sources else true()


def span(connection: Connection, partition: Partition | None = None) -> tuple[int, int] | None:
    """The least and the greatest id of what is staged, in one partition or in all; None where nothing is."""
    ids = record_tables((), partition).staging.c.id
    # Of one statement SQLite finds one of them alone in the index.
    least, greatest = (select(found(ids)).scalar_subquery() for found in (func.min, func.max))
    first, last = connection.execute(select(least, greatest)).one()
    return None if first is None else (first, last)


def bound(
    connection: Connection,
    size: int,
    until: int | None = None,
    without: Collection[str] = (),
    partition: Partition | None = None,
) -> int | None:
    """The id of the last row of a chunk of at most `size`, none beyond `until`; None where there is no row."""
    staging = record_tables((), partition).staging
    ids = select(staging.c.id).where(_other_than(without, staging))
    if until is not None:
        ids = ids.where(staging.c.id <= until)
    found: int | None = connection.execute(ids.order_by(staging.c.id).offset(size - 1).limit(1)).scalar()
    if found is None:
        found = connection.execute(ids.order_by(staging.c.id.desc()).limit(1)).scalar()
    return found


def rows_by_batch(
    connection: Connection, last: int, without: Collection[str] = (), partition: Partition | None = None
) -> dict[int, int]:
    """number of a batch -> its rows with an id up to `last`; counts ranges of ids, and sorts nothing."""
    staging = record_tables((), partition).staging
    ids = staging.c.id
    found: dict[int, int] = {}
    begin = 0
    while True:
        left = select(func.min(ids)).where(ids >= begin, ids <= last, _other_than(without, staging))
        first = connection.execute(left).scalar()
        if first is None:
            return found
        number = batch_of(first)
        begin = staged_id(number + 1, 0)
        rows = select(func.count()).where(ids >= first, ids < begin, ids <= last)
        found[number] = connection.execute(rows).scalar_one()


def of_chunk(
    connection: Connection,
    last: int,
    numbers: Collection[int],
    without: Collection[str] = (),
    *,
    rows: Table,
    batch: ColumnElement[int] | None = None,
) -> ColumnElement[bool]:
    """The rows of a chunk, of `rows`, which is staging or a partition of it: of these batches, up to its last id.

    `batch` is a column with the number of a row's batch, where a join has one.

    One with a lower number that is committed after they were counted is not one of them.
    """
    chosen = (rows.c.id <= last) & _other_than(without, rows) if without else rows.c.id <= last
    if database.backend_of(connection).commits_in_order:
        return chosen
    number = rows.c.id.op(">>")(SHIFT) if batch is None else batch
    return chosen & database.member_of(connection, number, list(numbers))


def clear(connection: Connection, rows: Table, chosen: ColumnElement[bool]) -> int:
    """Removes the rows of a chunk that has been merged, see `of_chunk`; how many."""
    return connection.execute(rows.delete().where(chosen)).rowcount

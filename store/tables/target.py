"""`target`: a last-writer-wins register per (source, key): the greatest (ts, content hash) stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, func, literal, select, tuple_

from store import database
from store.database.schema import CARRIED, RecordTables, record_tables


def current(connection: Connection, source: str, keys: Sequence[str]) -> dict[str, tuple[str, bytes, int]]:
    """key -> (ts, content hash, lineage id) of what the target holds for these keys."""
    names = ("key", "ts", "content_hash", "lineage_id")
    rows = database.rows_of_keys(connection, record_tables().target, names, source, keys)
    return {key: (ts, content, id) for key, ts, content, id in rows}


def merge(
    connection: Connection, tables: RecordTables, chunk: Table, run_seq: int, outcomes: Mapping[str, int]
) -> int:
    """Writes the chunk's best row per key where it beats what the target holds; how many it wrote."""
    written = 0
    if outcomes["inserted"]:
        # Unlike an upsert, and what may fail alone, this needs no copy of each page it changes.
        new_keys = target_rows(connection, tables, chunk, run_seq, 1).prefix_with(
            "OR ROLLBACK", dialect="sqlite"
        )
        written += connection.execute(new_keys).rowcount
    if outcomes["updated"]:
        statement = target_rows(connection, tables, chunk, run_seq, 2)
        target, new = tables.target, statement.excluded
        statement = statement.on_conflict_do_update(
            index_elements=["source", "key"],
            set_={name: new[name] for name in (*tables.data, *CARRIED) if name not in ("source", "key")},
            where=tuple_(new.ts, new.content_hash) > tuple_(target.c.ts, target.c.content_hash),
        )
        written += connection.execute(statement).rowcount
    return written


def target_rows(
    connection: Connection, tables: RecordTables, chunk: Table, run_seq: int, outcome: int
) -> Any:
    """The INSERT of the chunk's rows with this outcome."""
    given = {"run_seq": literal(run_seq), "outcome": literal(outcome)}
    carried = [given[name] if name in given else chunk.c[name] for name in CARRIED.values()]
    values = [*(chunk.c[name] for name in tables.data), *carried]
    # In the order of the target's key: SQLite then fills its pages one after another.
    rows = select(*values).where(chunk.c["_outcome"] == outcome).order_by(chunk.c["_place"])
    return database.insert(connection, tables.target).from_select([*tables.data, *CARRIED], rows)


def count(connection: Connection) -> int:
    """Rows in the target."""
    return connection.execute(select(func.count()).select_from(record_tables().target)).scalar_one()


def newest(connection: Connection, source: str) -> str | None:
    """The greatest event time the target holds of a source."""
    target = record_tables().target
    return connection.execute(select(func.max(target.c.ts)).where(target.c.source == source)).scalar()


def counts_by_source(connection: Connection) -> dict[str, int]:
    """Rows in the target per source."""
    target = record_tables().target
    rows = connection.execute(select(target.c.source, func.count()).group_by(target.c.source))
    return {source: number for source, number in rows}

"""Lineage: what was done to each record, by what, following what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Table, bindparam, func, literal, select, text

from store import database
from store.schema import lineage_events, record_lineage, record_tables

Step = Literal["reject", "skip", "stage", "load", "replay"]
OUTCOMES = {1: "inserted", 2: "updated", 3: "superseded"}
EVENT_COLUMNS = (
    "id",
    "step",
    "source",
    "record_key",
    "dead_letter_id",
    "detail",
    "batch_seq",
    "line",
    "parent_id",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision about one record, as the view `lineage` shows it."""

    id: str
    step: Step
    key: str | None
    source: str
    from_place: str
    to_place: str
    detail: str
    batch: str
    run: int | None
    file: str
    line: int
    at: str
    parent_id: str | None


ENTRY_COLUMNS = tuple(Entry.__dataclass_fields__)


def add_events(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    """Keeps `reject`, `skip` and `replay` entries: rows of EVENT_COLUMNS."""
    database.insert_tuples(connection, lineage_events, EVENT_COLUMNS, rows)


def record_loads(connection: Connection, chunk: Table, run_seq: int) -> dict[str, int]:
    """Writes what the merge does with each row of the chunk; the count of each outcome."""
    columns = ["source", "key", "id", "ts", "line", "run_seq", "outcome", "parent_id"]
    outcome = chunk.c["_outcome"]
    given = {"run_seq": literal(run_seq), "outcome": outcome}
    rows = select(*(given[name] if name in given else chunk.c[name] for name in columns))
    connection.execute(record_lineage.insert().from_select(columns, rows))
    counted = connection.execute(select(outcome, func.count()).group_by(outcome))
    found = {number: count for number, count in counted}
    return {name: found.get(number, 0) for number, name in OUTCOMES.items()}


def of_key(connection: Connection, key: str, source: str | None = None) -> list[Entry]:
    """Every entry of a record key, oldest first, and those that they follow, whatever their key."""
    if source:
        found = _entries(connection, "key = :key AND source = :source", {"key": key, "source": source})
    else:
        # Naming the sources lets the lookup use the primary key, which begins with them.
        found = _entries(connection, "key = :key AND source IN (SELECT source FROM batches)", {"key": key})
    return _with_ancestors(connection, found)


def _with_ancestors(connection: Connection, entries: list[Entry]) -> list[Entry]:
    """A record that could not be read has no key: its `reject` and `replay` are found by what followed."""
    known = {entry.id for entry in entries}
    for entry in list(entries):
        parent = entry.parent_id
        while parent and parent not in known:
            known.add(parent)
            # Only these three can be missing: a `load` has its `stage`'s key.
            steps = "id = :id AND step IN ('reject', 'skip', 'replay')"
            above = _entries(connection, steps, {"id": parent})
            entries += above
            parent = above[0].parent_id if above else None
    return sorted(entries, key=lambda entry: entry.at)


def of_line(connection: Connection, file: str, line: int) -> list[Entry]:
    """What became of one line of one file."""
    return _entries(connection, "file = :file AND line = :line", {"file": file, "line": line})


def _entries(connection: Connection, condition: str, parameters: dict[str, Any]) -> list[Entry]:
    # `condition` is one of the constants above; values are bound.
    columns = ", ".join(ENTRY_COLUMNS)
    statement = text(f"SELECT {columns} FROM lineage WHERE {condition} ORDER BY at, id")  # noqa: S608
    rows = connection.execute(statement.bindparams(*(bindparam(name) for name in parameters)), parameters)
    return [Entry(*row) for row in rows]


def count_by_step(connection: Connection) -> dict[str, int]:
    """How many entries each step has; a loaded record is one `stage` and one `load`."""
    loaded = connection.execute(select(func.count()).select_from(record_lineage)).scalar_one()
    staged = connection.execute(select(func.count()).select_from(record_tables().staging)).scalar_one()
    events = connection.execute(select(lineage_events.c.step, func.count()).group_by(lineage_events.c.step))
    return {"stage": loaded + staged, "load": loaded, "reject": 0, "skip": 0, "replay": 0} | {
        step: number for step, number in events
    }

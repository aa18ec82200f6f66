"""Lineage: what was done to each record, by what, following what; where it is looked up, see `lineage_walks`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Table, func, literal, select

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
    "repeats_id",
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
    repeats_id: (
        str | None
    )  # the `stage` of what a duplicate repeats, or of what a superseded one is beaten by

    @property
    def number(self) -> int:
        """What its id counts: a staged record, or an event."""
        return int(self.id.partition("-")[2])


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


def count_by_step(connection: Connection) -> dict[str, int]:
    """How many entries each step has; a loaded record is one `stage` and one `load`."""
    loaded = connection.execute(select(func.count()).select_from(record_lineage)).scalar_one()
    staged = connection.execute(select(func.count()).select_from(record_tables().staging)).scalar_one()
    events = connection.execute(select(lineage_events.c.step, func.count()).group_by(lineage_events.c.step))
    return {"stage": loaded + staged, "load": loaded, "reject": 0, "skip": 0, "replay": 0} | {
        step: number for step, number in events
    }

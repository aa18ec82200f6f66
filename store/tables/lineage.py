"""Lineage: what was done to each record, by what, following what; where it is looked up, see `lineage.trace`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, func, select

from store import database
from store.database.records import record_tables
from store.database.schema import lineage_events, record_lineage

Step = Literal["reject", "skip", "stage", "load", "replay"]
INSERTED, UPDATED, SUPERSEDED, DUPLICATE = 1, 2, 3, 4
OUTCOMES = {INSERTED: "inserted", UPDATED: "updated", SUPERSEDED: "superseded", DUPLICATE: "duplicate"}
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
    comes_from: str
    goes_to: str
    detail: str
    batch: str
    run: int | None
    file: str
    line: int
    at: str
    parent_id: str | None
    beaten_by: str | None  # `load`: the `stage` of what it repeats, or of what beat or replaced it

    @property
    def number(self) -> int:
        """What its id counts: a staged record, or an event."""
        return number_of(self.id)


def number_of(id: str) -> int:
    """The number in an entry's id, like `stage-1048576`."""
    return int(id.partition("-")[2])


ENTRY_COLUMNS = tuple(Entry.__dataclass_fields__)


def add_events(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    """Keeps `reject`, `skip` and `replay` entries: rows of EVENT_COLUMNS."""
    database.insert_tuples(connection, lineage_events, EVENT_COLUMNS, rows)


def count_by_step(connection: Connection) -> dict[str, int]:
    """How many entries each step has; a loaded record is one `stage` and one `load`."""
    loaded = connection.execute(select(func.count()).select_from(record_lineage)).scalar_one()
    staged = connection.execute(select(func.count()).select_from(record_tables().staging)).scalar_one()
    events = connection.execute(select(lineage_events.c.step, func.count()).group_by(lineage_events.c.step))
    return {"stage": loaded + staged, "load": loaded, "reject": 0, "skip": 0, "replay": 0} | {
        step: number for step, number in events
    }

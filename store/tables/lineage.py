"""Lineage: what was done to each record, by what, following what; where it is looked up, see `lineage_walks`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Table, and_, func, literal, select

from store import database
from store.database.schema import (
    CARRIED,
    RecordTables,
    lineage_events,
    past_lineage,
    record_lineage,
    record_tables,
)

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


def record_loads(
    connection: Connection, tables: RecordTables, chunk: Table, run_seq: int, outcomes: Mapping[str, int]
) -> None:
    """Keeps the lineage of what the merge of a chunk will leave behind.

    Those that lose are past at once, those they are about to replace in the target become so; what wins
    carries its own.
    """
    outcome = chunk.c["_outcome"]
    columns = [column.name for column in past_lineage.columns]
    if outcomes["superseded"]:
        given = {"run_seq": literal(run_seq), "outcome": outcome}
        lost = select(*(given[name] if name in given else chunk.c[name] for name in columns)).where(
            outcome == 3
        )
        connection.execute(past_lineage.insert().from_select(columns, lost.order_by(chunk.c["_place"])))
    if outcomes["updated"]:
        held, carried = tables.target, {name: theirs for theirs, name in CARRIED.items()}
        same_key = and_(held.c.source == chunk.c.source, held.c.key == chunk.c.key)
        old = select(*(held.c[carried.get(name, name)] for name in columns)).select_from(
            chunk.join(held, same_key)
        )
        replaced = old.where(outcome == 2).order_by(chunk.c["_place"])
        connection.execute(past_lineage.insert().from_select(columns, replaced))


def count_by_step(connection: Connection) -> dict[str, int]:
    """How many entries each step has; a loaded record is one `stage` and one `load`."""
    loaded = connection.execute(select(func.count()).select_from(record_lineage)).scalar_one()
    staged = connection.execute(select(func.count()).select_from(record_tables().staging)).scalar_one()
    events = connection.execute(select(lineage_events.c.step, func.count()).group_by(lineage_events.c.step))
    return {"stage": loaded + staged, "load": loaded, "reject": 0, "skip": 0, "replay": 0} | {
        step: number for step, number in events
    }

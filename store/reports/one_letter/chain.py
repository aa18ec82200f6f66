"""The way of a letter: rejected from which line, sent back in which batch, staged, loaded, and what is in the target.

Nothing is searched for: entries are found by the letter, and records by their number and key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from store import timestamps
from store.database.records import record_tables
from store.database.schema import (
    MAX_BATCH_RECORDS,
    batch_of,
    batches,
    lineage_events,
    past_lineage,
    run_log,
)
from store.tables.lineage import OUTCOMES

MOST_STEPS = 40  # entries of a letter: the first ones and the last ones


@dataclass(frozen=True)
class Step:
    """One decision about the letter's record."""

    step: str  # reject, replay, stage, load, skip
    id: str  # event-…, stage-…, load-…: `store lineage --id` takes it
    file: str
    line: int | None
    delivery: int
    batch: str
    at: str | None  # ISO 8601
    detail: str  # the reasons of a rejection, how it was sent back, the outcome of a load
    key: str | None = None
    run: int | None = None
    is_in_target: bool = False  # of a load: whether the target holds this very record now


@dataclass(frozen=True)
class Chain:
    """The steps, oldest first."""

    steps: list[Step]
    left_out: int  # entries between the first and the last ones
    notes: list[str]  # what could not be followed, and the command that searches


def chain_of(
    connection: Connection, letter: str, source: str, accepted: Sequence[int], keys: Sequence[str]
) -> Chain:
    """The chain of a letter; `accepted` are the staged records that its payload became.

    `keys` are those that such a record may have.
    """
    entries, left_out = _entries(connection, letter)
    steps = list(entries)
    notes: list[str] = []
    for number in accepted:
        found = _record(connection, number, source, keys)
        steps += found
        if found[-1].step == "stage" and found[-1].key is None:
            notes.append(
                f"no key that its payload shows leads to stage-{number}: `store lineage --id stage-{number}` searches"
            )
    return Chain(steps, left_out, notes)


def _entries(connection: Connection, letter: str) -> tuple[list[Step], int]:
    event, batch = lineage_events.c, batches.c
    columns = (event.id, event.step, event.detail, event.line, event.record_key, batch.file, batch.id.label("batch"),
               batch.delivery_seq, batch.processed_at)  # fmt: skip
    mine = select(*columns).join(batches, batch.seq == event.batch_seq).where(event.dead_letter_id == letter)
    half = MOST_STEPS // 2
    first = connection.execute(mine.order_by(event.id).limit(MOST_STEPS + 1)).all()
    if len(first) <= MOST_STEPS:
        return [_entry(row) for row in first], 0
    last = connection.execute(mine.order_by(event.id.desc()).limit(half)).all()[::-1]
    head = first[:half]
    between = select(event.id).where(
        event.dead_letter_id == letter, event.id > head[-1].id, event.id < last[0].id
    )
    number = len(connection.execute(between.limit(100_000)).all())
    return [_entry(row) for row in (*head, *last)], number


def _entry(row: Any) -> Step:
    return Step(
        row.step, f"event-{row.id}", row.file, row.line, row.delivery_seq, row.batch,
        timestamps.to_iso(row.processed_at), row.detail, row.record_key,
    )  # fmt: skip


def _record(connection: Connection, number: int, source: str, keys: Sequence[str]) -> list[Step]:
    """`stage` and `load` of a staged record."""
    columns = (batches.c.id, batches.c.file, batches.c.delivery_seq, batches.c.processed_at)
    batch = connection.execute(select(*columns).where(batches.c.seq == batch_of(number))).one()
    where = (batch.file, batch.delivery_seq, batch.id)
    if skipped := _skip(connection, number, where, batch.processed_at):
        return [skipped]
    held = _held(connection, number, source, keys)
    if held is None:
        return [_stage(number, None, where, batch.processed_at, "staged", None)]
    key, line, loaded = held
    if loaded is None:
        return [_stage(number, line, where, batch.processed_at, "staged, not loaded yet", key)]
    outcome, run, is_in_target = loaded
    runs = run_log.c
    at = connection.execute(select(runs.finished_at, runs.started_at).where(runs.seq == run)).first()
    load = Step(
        "load", f"load-{number}", batch.file, line, batch.delivery_seq, batch.id,
        timestamps.to_iso(at.finished_at or at.started_at) if at else None, OUTCOMES[outcome], key, run, is_in_target,
    )  # fmt: skip
    return [_stage(number, line, where, batch.processed_at, "staged", key), load]


def _skip(connection: Connection, number: int, where: tuple[str, int, str], at: str) -> Step | None:
    """The entry of a record that its policy skipped as late: then it was not staged."""
    id, event = number << 1 | 1, lineage_events.c
    row = connection.execute(
        select(event.detail, event.line, event.record_key).where(event.id == id, event.step == "skip")
    ).first()
    if row is None:
        return None
    return Step(
        "skip",
        f"event-{id}",
        where[0],
        row.line,
        *where[1:],
        timestamps.to_iso(at),
        row.detail,
        row.record_key,
    )


def _stage(
    number: int, line: int | None, where: tuple[str, int, str], at: str, detail: str, key: str | None
) -> Step:
    return Step("stage", f"stage-{number}", where[0], line, *where[1:], timestamps.to_iso(at), detail, key)


def _held(
    connection: Connection, number: int, source: str, keys: Sequence[str]
) -> tuple[str, int, tuple[int, int, bool] | None] | None:
    """(key, line, (outcome, run, whether the target has it)) of a staged record; None where its key is not known."""
    tables = record_tables()
    staged, held, past = tables.staging.c, tables.target.c, past_lineage.c
    waiting = connection.execute(select(staged.key, staged.line).where(staged.id == number)).first()
    if waiting:
        return waiting.key, waiting.line, None
    for key in keys:
        mine = (held.source == source, held.key == key, held.lineage_id == number)
        row = connection.execute(
            select(held.lineage_line, held.lineage_outcome, held.lineage_run).where(*mine)
        ).first()
        if row:
            return key, row.lineage_line, (row.lineage_outcome, row.lineage_run, True)
        old = (past.source == source, past.key == key, past.id == number)
        row = connection.execute(select(past.line, past.outcome, past.run_seq).where(*old)).first()
        if row:
            return key, row.line, (row.outcome, row.run_seq, False)
    return None


def accepted_records(connection: Connection, letter: str, history: Sequence[dict[str, Any]]) -> list[int]:
    """The staged records that the letter's payload became: by a replay, or when it came again."""
    found = []
    event = lineage_events.c
    for each in history:
        if each["verb"] == "arrive" and each["record_id"] is not None:
            found.append(each["record_id"])
        if each["verb"] == "accept" and each["batch_seq"] is not None:
            first = each["batch_seq"] * MAX_BATCH_RECORDS << 1
            sent = select(event.id).where(
                event.dead_letter_id == letter,
                event.step == "replay",
                event.id >= first,
                event.id < first + (MAX_BATCH_RECORDS << 1),
            )
            found += [number >> 1 for number in connection.execute(sent).scalars()]
    return found

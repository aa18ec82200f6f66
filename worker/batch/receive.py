"""One batch into the store: everything a batch does to the database, in one transaction."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine

from store import database, timestamps
from store.crash_points import reach
from store.database.schema import event_id, staged_id
from store.dead_letters import groups, states
from store.tables import batches, dead_letters, deliveries, flags, lineage, staging, watermarks
from store.tables.batches import Batch
from store.tables.dead_letters import Rejected
from worker.batch import arrivals, rejections
from worker.judge.records import Records, Valid
from worker.judge.stages import Bad, Judge, Judged
from worker.queue.message import Message

MAX_REPLAYS = 10  # rejected again so often, a letter is parked


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judged batch, and what it was judged by."""

    judged: Judged
    watermark: str | None  # of the source, as it stood when the batch began
    seconds: float
    letters_waiting: Counter[str] = field(default_factory=Counter)  # as they stood then: see `arrivals`


@dataclass(frozen=True, slots=True)
class View:
    """What a batch needs to know of the store before it is judged."""

    processed: bool  # by an earlier delivery
    split: bool  # instead of being processed, by an earlier delivery
    watermark: str | None  # of its source
    flags: dict[str, float]  # stage -> share, where it was set by hand
    now: datetime  # by the database's clock: a worker's own may be wrong
    letters_waiting: Counter[str]  # reason -> open and parked letters of its source


def look(engine: Engine, message: Message, max_future: timedelta) -> View:
    """The store as it stands when the batch begins. Raises WatermarkCorrupt."""
    with database.reading(engine) as connection:
        processed = bool(batches.known(connection, [message.id]))
        split = processed and bool(batches.split(connection, [message.id]))
        watermark = None if processed else watermarks.read(connection, message.source, max_future)
        waiting = groups.waiting(connection, message.source)
        return View(
            processed, split, watermark, flags.overrides(connection), database.now(connection), waiting
        )


@dataclass(frozen=True, slots=True)
class Stored:
    """A batch that was stored: its row, and the dead letters it was the first to see, which nobody mirrors yet."""

    batch: Batch
    letters: list[Rejected]


def store(
    engine: Engine, message: Message, judge: Judge, verdict: Verdict, max_replays: int = MAX_REPLAYS
) -> Stored | None:
    """Stores what became of each record, in one transaction; None where it was processed before.

    Records are validated outside, so the write lock is held for the writing alone; where batches may write at the same
    time, what they share comes last. Raises ForgedMessage where letters
    that are sent back are not to be any more.
    """
    judged = verdict.judged
    rows = StagedRows.of(message, judge, judged.valid) if judged.valid else None
    ids = arrivals.hashed(message, judged.valid.positions, verdict.letters_waiting)
    asked_at = time.perf_counter()
    with database.transaction(engine, "batch") as connection:
        seconds = judged.seconds | {"lock": round(time.perf_counter() - asked_at, 6)}
        reach("batch.begun")
        delivery = _delivery(connection, message)
        batch = _receipt(message, judge, verdict, delivery, seconds, database.now(connection))
        if not batches.knows_contract(connection, judge.fingerprint):
            database.take_turn(connection)
            batches.remember_contract(connection, judge.fingerprint, judge.contract.kinds, judge.origins)
        number = batches.record(connection, batch)
        if number is None:
            return None
        reach("batch.recorded")
        letters = _write(connection, message, judged, rows, number, batch, max_replays, ids)
        reach("batch.written")
    reach("batch.committed")
    return Stored(batch, letters)


def store_split(engine: Engine, message: Message, parts: Sequence[Message]) -> None:
    """Keeps that a batch was cut in two: a second delivery, or the file sent again, does nothing more."""
    zeros = dict.fromkeys(batches.AT_STAGE, 0)
    with database.transaction(engine, "batch") as connection:
        number = _delivery(connection, message)
        row = _row(
            message, number, database.now(connection), kind="split", fingerprint=message.fingerprint, reasons={},
            seconds={}, watermark_before=None, stages_run=[], parts=[part.id for part in parts], **zeros,
        )  # fmt: skip
        batches.record(connection, row)


def _delivery(connection: Connection, message: Message) -> int:
    """The number of its delivery, which a store that was restored from a backup may not know yet."""
    number = deliveries.number(connection, message.delivery.id)
    if number is None:
        database.take_turn(connection)
        number = deliveries.begin(connection, message.delivery)
    return number


def _row(message: Message, delivery: int, now: datetime, **became: Any) -> Batch:
    """A batch's row: what its message says of it, and what became of it."""
    return Batch(
        id=message.id,
        delivery_seq=delivery,
        source=message.source,
        file=message.file,
        first_record=message.first,
        first_line=message.lines[0],
        last_line=message.lines[-1],
        processed_at=timestamps.to_text(now),
        **became,
    )


def _receipt(
    message: Message, judge: Judge, verdict: Verdict, delivery: int, seconds: dict[str, float], now: datetime
) -> Batch:
    judged = verdict.judged
    return _row(
        message,
        delivery,
        now,
        kind=message.kind,
        fingerprint=judge.fingerprint,
        received=len(message.records),
        staged=len(judged.valid),
        rejected=len(judged.bad),
        skipped=len(judged.skipped),
        late=judged.late,
        stale=judged.stale,
        ambiguous=judged.ambiguous,
        shifted=judged.shifted,
        reasons=dict(Counter(bad.faults[0].reason for bad in judged.bad).most_common()),
        seconds=seconds,
        watermark_before=verdict.watermark,
        stages_run=[name for name in seconds if name != "lock"],
    )


def _write(
    connection: Connection,
    message: Message,
    judged: Judged,
    rows: StagedRows | None,
    number: int,
    batch: Batch,
    max_replays: int,
    ids: arrivals.Ids | None,
) -> list[Rejected]:
    """Staged rows, dead letters and lineage of a batch whose row was just written; the letters that are new."""
    replaying = message.kind == "replay"
    parents = {position: event_id(number, position, "replay") for position in range(len(message.letters))}
    versions: dict[int, int] = {}
    if replaying:
        database.take_turn(connection)
        versions = _versions_of_letters(connection, message)
        rejections.write_replays(connection, message, number)
    if rows:
        rows.add(connection, number, parents, versions)
    reach("batch.staged")
    rejected = rejections.of(message, judged.bad, number, batch)
    events = [
        _reject_event(row, bad, number, parents.get(bad.position))
        for row, bad in zip(rejected, judged.bad, strict=True)
    ]
    events += [_skip_event(message, each, number, parents.get(each.position)) for each in judged.skipped]
    lineage.add_events(connection, events)
    new: list[Rejected] = []
    if replaying:
        rejections.end_replay(connection, message, rejected, number, batch, max_replays)
    elif rejected or groups.waiting(connection, message.source):
        database.take_turn(connection)
        new = states.reject(connection, rejected)
        arrivals.close(connection, message, judged.valid.positions, number, batch, ids)
    reach("batch.dead_letters")
    return new


def _versions_of_letters(connection: Connection, message: Message) -> dict[int, int]:
    """position -> version of the letters that are sent back as they were rejected: they keep their own."""
    unedited = {position: letter.id for position, letter in enumerate(message.letters) if not letter.edited}
    found = dead_letters.versions(connection, list(unedited.values()))
    return {position: found.get(id, 0) for position, id in unedited.items()}


@dataclass(frozen=True, slots=True)
class StagedRows:
    """What a batch stages, but for the ids, which come with its number: made before the write lock is taken."""

    names: tuple[str, ...]
    positions: list[int]
    columns: list[Sequence[Any]]
    by_hash: bool  # the content hash alone decides between versions of one time

    @classmethod
    def of(cls, message: Message, judge: Judge, valid: Records) -> StagedRows:
        """The rows of these records."""
        lines = [message.lines[position] for position in valid.positions]
        columns: list[Sequence[Any]] = [
            [message.source] * len(valid),
            valid.keys,
            valid.times,
            valid.contents,
            lines,
            *valid.values,
        ]
        names = (*staging.PLAIN_COLUMNS[1:], *(column.name for column in judge.contract.columns))
        if any(valid.flags) or any(valid.extras):
            columns += [valid.extras, valid.flags]
            names += ("extra", "flags")
        if any(valid.sequences):
            columns.append(valid.sequences)
            names += ("sequence",)
        if valid.tombstones:
            columns.append([position in valid.tombstones for position in valid.positions])
            names += ("deleted",)
        return cls(names, valid.positions, columns, judge.source.ties == "hash")

    def add(
        self, connection: Connection, number: int, parents: dict[int, int], versions: dict[int, int]
    ) -> None:
        """Stages them as those of batch `number`; `parents` are the `replay` entries they follow, by position."""
        first = staged_id(number, 0)
        ids = [first | position for position in self.positions]
        names, columns = ("id", *self.names), [ids, *self.columns]
        if parents:
            names += ("parent_id",)
            columns.append([parents.get(position) for position in self.positions])
        if self.by_hash or versions:
            names += ("version",)
            columns.append([0 if self.by_hash else versions.get(position) for position in self.positions])
        staging.add(connection, names, zip(*columns, strict=True))


def _reject_event(row: Rejected, bad: Bad, number: int, parent: int | None) -> tuple[Any, ...]:
    detail = ", ".join(dict.fromkeys(fault.reason for fault in bad.faults))
    return row.event_id, "reject", row.source, row.record_key, row.id, detail, number, row.line, parent


def _skip_event(message: Message, each: Valid, number: int, parent: int | None) -> tuple[Any, ...]:
    position = each.position
    return (
        event_id(number, position, "skip"), "skip", message.source, each.record.key, None, "late", number,
        message.lines[position], parent,
    )  # fmt: skip

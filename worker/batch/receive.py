"""One batch into the store: everything a batch does to the database, in one transaction."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, Engine

from store import database, hashing, timestamps
from store.crash_points import reach
from store.database.schema import event_id, staged_id
from store.tables import batches, dead_letters, flags, lineage, staging, watermarks
from store.tables.batches import Batch
from store.tables.dead_letters import Rejected
from worker.batch.compared import Compared
from worker.judge import stages
from worker.judge.stages import Bad, Deduped, Judge, Judged, Repeat, Valid
from worker.queue.message import Message

# A batch that waited for the loader is compared again before it waits again, where there is much to look up;
# the last time with the lock held.
COMPARISONS = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judged batch, and what it was judged by."""

    judged: Judged
    watermark: str | None  # of the source, as it stood when the batch began
    seconds: float


@dataclass(frozen=True, slots=True)
class View:
    """What a batch needs to know of the store before it is judged."""

    processed: bool  # by an earlier delivery
    watermark: str | None  # of its source
    flags: dict[str, float]  # stage -> share, where it was set by hand


def look(engine: Engine, message: Message, max_future: timedelta) -> View:
    """The store as it stands when the batch begins. Raises WatermarkCorrupt."""
    with database.reading(engine) as connection:
        processed = bool(batches.known(connection, [message.id]))
        mark = watermarks.read_all(connection, max_future).get(message.source)
        return View(processed, mark, flags.overrides(connection))


@dataclass(frozen=True, slots=True)
class Stored:
    """A batch that was stored: its row, and the dead letters it was the first to see, which nobody mirrors yet."""

    batch: Batch
    letters: list[Rejected]


def store(
    engine: Engine, message: Message, judge: Judge, verdict: Verdict, shares: Mapping[str, float]
) -> Stored | None:
    """Stores what became of each record, in one transaction; None where it was processed before.

    The judging was done outside, so the write lock is held for the writing alone.
    """
    judged, share = verdict.judged, shares.get("dedupe", 1.0)
    started, waited = time.perf_counter(), 0.0
    for attempt in range(COMPARISONS):
        with database.reading(engine) as connection:
            compared = Compared.to(connection, message, judged.valid, share)
        rows = _rows(message, judge, compared.deduped)
        asked_at = time.perf_counter()
        with database.transaction(engine) as connection:
            waited += time.perf_counter() - asked_at
            reach("batch.begun")
            if compared.is_outdated(connection) and attempt + 1 < COMPARISONS:
                continue
            deduped = compared.brought_up_to_date(connection)
            seconds = judged.seconds | {"lock": round(waited, 6)}
            if share:
                seconds["dedupe"] = round(time.perf_counter() - started - waited, 6)
            batch = _receipt(message, judge, judged, deduped, verdict.watermark, seconds)
            number = batches.record(connection, batch)
            if number is None:
                return None
            reach("batch.recorded")
            if deduped is not compared.deduped:
                rows = _rows(message, judge, deduped)
            letters = _write(connection, message, judged, deduped, rows, number, batch.processed_at)
            reach("batch.written")
        break
    reach("batch.committed")
    return Stored(batch, letters)


def _rows(message: Message, judge: Judge, deduped: Deduped) -> StagedRows | None:
    """The rows that are staged; None where nothing is."""
    names = [column.name for column in judge.contract.columns]
    return StagedRows.of(message, names, deduped.staged) if deduped.staged else None


def store_split(engine: Engine, message: Message) -> None:
    """Keeps that a batch was cut in two: a second delivery, or the file sent again, does nothing more."""
    zeros = dict.fromkeys(
        ("received", "staged", "duplicates", "superseded", "rejected", "skipped", "late", "stale"), 0
    )
    row = Batch(
        id=message.id,
        kind="split",
        source=message.source,
        file=message.file,
        first_line=message.lines[0],
        last_line=message.lines[-1],
        fingerprint=message.fingerprint,
        reasons={},
        seconds={},
        watermark_before=None,
        processed_at=timestamps.now_text(),
        stages_run=[],
        **zeros,
    )
    with database.transaction(engine) as connection:
        batches.record(connection, row)


def _receipt(
    message: Message,
    judge: Judge,
    judged: Judged,
    deduped: Deduped,
    watermark: str | None,
    seconds: dict[str, float],
) -> Batch:
    return Batch(
        id=message.id,
        kind=message.kind,
        source=message.source,
        file=message.file,
        first_line=message.lines[0],
        last_line=message.lines[-1],
        fingerprint=judge.contract.fingerprint(judge.source),
        received=len(message.records),
        staged=len(deduped.staged),
        duplicates=len(deduped.duplicates),
        superseded=len(deduped.superseded),
        rejected=len(judged.bad),
        skipped=len(judged.skipped),
        late=judged.late,
        stale=judged.stale,
        reasons=dict(Counter(bad.faults[0].reason for bad in judged.bad).most_common()),
        seconds=seconds,
        watermark_before=watermark,
        processed_at=timestamps.now_text(),
        stages_run=[name for name in seconds if name != "lock"],
    )


def _write(
    connection: Connection,
    message: Message,
    judged: Judged,
    deduped: Deduped,
    rows: StagedRows | None,
    number: int,
    at: str,
) -> list[Rejected]:
    """Staged rows, dead letters and lineage of a batch whose row was just written; the letters that are new."""
    replaying = message.kind == "replay"
    parents = {place: event_id(number, place, "replay") for place in range(len(message.letters))}
    if replaying:
        _write_replays(connection, message, number)
        known = [repeat.valid for repeat in (*deduped.duplicates, *deduped.superseded)]
        accepted = [*deduped.staged, *known, *judged.skipped]
        dead_letters.resolve(connection, [message.letters[each.place].id for each in accepted], at)
    if rows:
        rows.add(connection, number, parents)
    reach("batch.staged")
    rejected = [_rejected(message, bad, number, at) for bad in judged.bad]
    new: list[Rejected] = []
    if replaying:
        dead_letters.reject_again(connection, rejected)
    else:
        new = dead_letters.keep(connection, rejected)
    reach("batch.dead_letters")
    events = [
        _reject_event(row, bad, number, parents.get(bad.place))
        for row, bad in zip(rejected, judged.bad, strict=True)
    ]
    events += [_skip_event(message, each, number, parents.get(each.place), "late") for each in judged.skipped]
    events += _repeat_events(message, deduped.duplicates, number, parents, "duplicate")
    events += _repeat_events(message, deduped.superseded, number, parents, "superseded")
    lineage.add_events(connection, events)
    return new


@dataclass(frozen=True, slots=True)
class StagedRows:
    """What a batch stages, but for the ids, which come with its number: made before the write lock is taken."""

    names: tuple[str, ...]
    places: list[int]
    columns: list[Sequence[Any]]

    @classmethod
    def of(cls, message: Message, names: Sequence[str], valid: Sequence[Valid]) -> StagedRows:
        """The rows of these records; `names` are the contract's columns."""
        places = [each.place for each in valid]
        keys, stamps, contents, extras, values = zip(*[each.record for each in valid], strict=True)
        # A bytearray is bound as it is; for bytes the driver looks for an adapter first, each time.
        columns: list[Sequence[Any]] = [
            [message.source] * len(places), keys, stamps, [bytearray(content) for content in contents],
            [message.lines[place] for place in places], *zip(*values, strict=True),
        ]  # fmt: skip
        given = (*staging.PLAIN_COLUMNS[1:], *names)
        flags = [each.flags for each in valid]
        if any(flags) or any(extras):
            columns += [extras, flags]
            given += ("extra", "flags")
        return cls(given, places, columns)

    def add(self, connection: Connection, number: int, parents: dict[int, int]) -> None:
        """Stages them as those of batch `number`; `parents` are the `replay` entries they follow, by place."""
        first = staged_id(number, 0)
        names, columns = ("id", *self.names), [[first | place for place in self.places], *self.columns]
        if parents:
            names += ("parent_id",)
            columns.append([parents.get(place) for place in self.places])
        staging.add(connection, names, list(zip(*columns, strict=True)))


def _rejected(message: Message, bad: Bad, number: int, at: str) -> Rejected:
    payload, encoding, size, digest = stages.kept_payload(message.records[bad.place])
    primary = bad.faults[0].reason
    errors = [{"reason": f.reason, "field": f.field or "", "message": f.message} for f in bad.faults]
    letter = message.letters[bad.place].id if message.letters else letter_id(message, payload, digest)
    return Rejected(
        id=letter,
        source=message.source,
        reason=primary,
        errors=orjson.dumps(errors).decode(),
        payload=payload,
        encoding=encoding,
        size=size,
        payload_digest=digest,
        format=message.format,
        header=csv_header(message),
        content=bad.content,
        record_key=bad.record_key,
        file=message.file,
        line=message.lines[bad.place],
        batch_seq=number,
        event_id=event_id(number, bad.place, "reject"),
        seen_at=at,
    )


def csv_header(message: Message) -> str | None:
    """What it takes to read a CSV row without its file."""
    if message.format != "csv":
        return None
    return orjson.dumps({"columns": message.header, "delimiter": message.delimiter}).decode()


def letter_id(message: Message, payload: str, digest: str | None) -> str:
    """A letter's id, 32 hex digits: the same payload of the same source is the same letter."""
    parts = [message.source, message.format, message.header, payload, digest]
    return hashing.hexdigest(orjson.dumps(parts))


def _write_replays(connection: Connection, message: Message, number: int) -> None:
    dead_letters.replayed(connection, [letter.id for letter in message.letters])
    lineage.add_events(
        connection,
        [
            (
                event_id(number, place, "replay"),
                "replay",
                message.source,
                None,
                letter.id,
                "edited and sent back" if letter.edited else "sent back",
                number,
                message.lines[place],
                letter.event_id,
                None,
            )
            for place, letter in enumerate(message.letters)
        ],
    )


def _reject_event(row: Rejected, bad: Bad, number: int, parent: int | None) -> tuple[Any, ...]:
    detail = ", ".join(dict.fromkeys(fault.reason for fault in bad.faults))
    return row.event_id, "reject", row.source, row.record_key, row.id, detail, number, row.line, parent, None


def _repeat_events(
    message: Message, repeats: Sequence[Repeat], number: int, parents: dict[int, int], detail: str
) -> list[tuple[Any, ...]]:
    """Records that are not staged again; each one's entry follows the entry of what it repeats or is beaten by."""
    source, lines = message.source, message.lines
    return [
        (
            event_id(number, valid.place, "skip"), "skip", source, valid.record.key, None, detail, number,
            lines[valid.place], parents.get(valid.place),
            of if of is not None else staged_id(number, of_place or 0),
        )
        for valid, of, of_place in repeats
    ]  # fmt: skip


def _skip_event(
    message: Message, each: Valid, number: int, parent: int | None, detail: str
) -> tuple[Any, ...]:
    place = each.place
    return (
        event_id(number, place, "skip"),
        "skip",
        message.source,
        each.record.key,
        None,
        detail,
        number,
        message.lines[place],
        parent,
        None,
    )

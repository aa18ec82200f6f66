"""What a replay of one letter would do now: the entry point of `sluice.outlook`, for what shows a letter."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from store import database, timestamps
from store.database.records import record_tables
from store.database.schema import POSITION_BITS, RECORD_BITS, SHIFT, batches, record_lineage
from store.dead_letters.edits import Edit
from store.errors import InputError, SluiceError
from store.reports.one_letter.target import DUPLICATE, INSERT, OVERWRITE, SUPERSEDED, Outlook
from store.tables import dead_letters, watermarks
from store.tables.dead_letters import DeadLetter
from worker.contract import load_contract
from worker.dead_letters.replay import delivery_of, message_of, prepared
from worker.judge.faults import NOT_DATA, Rejection
from worker.judge.parse import Numbers
from worker.judge.stages import Bad, Judge, judge_batch, judge_for, parse
from worker.judge.validate import key_text
from worker.queue.message import Message
from worker.settings import WorkerSettings

REJECTED, REFUSED, SKIPPED, UNKNOWN = "rejected", "refused", "skipped", "unknown"
LATEST = 1 << 62  # a version that no delivery has yet


class Version(NamedTuple):
    """What decides between two records of a key, and the content that tells a repeat."""

    ts: str
    sequence: int
    version: int  # of its delivery and its number there; 0: the content hash decides
    content: bytes | None  # None: not known yet


def outlook(connection: Connection, letter: DeadLetter) -> Outlook:
    """Judges the letter by the contract, the mapping and the target of now."""
    try:
        settings = WorkerSettings.load()
        contract = load_contract(settings)
        judge = judge_for(contract, settings.source(letter.source), settings.max_future_skew)
        watermark = watermarks.read(connection, letter.source, settings.max_future_skew)
    except SluiceError as error:
        return Outlook(UNKNOWN, str(error))
    try:
        ready = prepared(letter, Edit())
    except InputError as error:
        return Outlook(REFUSED, str(error))
    message = message_of([ready], delivery_of("0" * 32, letter.source, judge.fingerprint))
    judged = judge_batch(message, judge, watermark, database.now(connection))
    if judged.bad:
        return _rejected(connection, letter, message, judge, judged.bad[0])
    records = judged.valid if len(judged.valid) else judged.skipped
    key, ts = records.keys[0], records.times[0]
    if judged.skipped:
        why = "it is late, and the policy of its source skips late records"
        return Outlook(SKIPPED, why, [], key, timestamps.to_iso(ts))
    version = 0 if judge.source.ties == "hash" else dead_letters.versions(connection, [letter.id])[letter.id]
    own = Version(ts, records.sequences[0], version, bytes(records.contents[0]))
    became = _against(connection, letter.source, key, own)
    return Outlook(became or UNKNOWN, key=key, ts=timestamps.to_iso(ts))


def _rejected(
    connection: Connection, letter: DeadLetter, message: Message, judge: Judge, bad: Bad
) -> Outlook:
    faults = [
        {
            "reason": fault.reason,
            "field": fault.field or "",
            "rule": fault.rule or fault.reason,
            "message": fault.message,
            "shape": fault.shape,
        }
        for fault in bad.faults
    ]
    found = Outlook(REJECTED, faults=faults)
    identity = _identity(judge.of(message), message)
    if identity is None or any(fault.field in ("key", "ts", "sequence") for fault in bad.faults):
        return found
    key, ts, sequence = identity
    # An edited replay is a delivery of its own, the latest: it wins where times are equal.
    latest = Version(ts, sequence, 0 if judge.source.ties == "hash" else LATEST, None)
    corrected = _against(connection, letter.source, key, latest)
    return replace(found, key=key, ts=timestamps.to_iso(ts), corrected=corrected)


def _identity(judge: Judge, message: Message) -> tuple[str, str, int] | None:
    """(key, event time, sequence) of a record that is rejected for something else; None where they cannot be read."""
    names = {field: name for name, field in judge.contract.inputs.items()}
    exactly = judge.contract.has_decimals
    numbers = Numbers(exactly, exactly or judge.adapter.changes_records)
    try:
        raw = parse(message.records[0], message, numbers)
        sequence = judge.adapter.read_sequence(raw) if judge.adapter.read_sequence else None
        adapted = judge.adapter.adapt(raw)
        ts = adapted[names["ts"]]
        moment = timestamps.to_text(judge.adapter.read_time(ts))
        key = key_text(adapted[names["key"]])
        return key, moment, judge.adapter.below_microseconds(ts) if sequence is None else sequence
    except NOT_DATA:
        raise
    except (Rejection, ValueError, KeyError, TypeError):  # the faults say so
        return None


def _against(connection: Connection, source: str, key: str, own: Version) -> str | None:
    """What a record would be at load, beside what the target holds; None where its content would decide."""
    target = record_tables().target.c
    held = connection.execute(
        select(target.ts, target.sequence, target.content_hash).where(
            target.source == source, target.key == key
        )
    ).first()
    if held is None:
        return INSERT
    if (own.ts, own.sequence) != (held.ts, held.sequence):
        return OVERWRITE if (own.ts, own.sequence) > (held.ts, held.sequence) else SUPERSEDED
    if own.content == held.content_hash:
        return DUPLICATE
    if own.version:
        return OVERWRITE if own.version > _greatest(connection, source, key, own) else SUPERSEDED
    if own.content is None:
        return None
    return OVERWRITE if own.content > held.content_hash else SUPERSEDED


def _greatest(connection: Connection, source: str, key: str, own: Version) -> int:
    """The greatest version that was loaded of a key with this time and sequence; a repeat counts: see `load.chunk`."""
    row, batch = record_lineage.c, batches.c
    position = row.id.op("&")((1 << POSITION_BITS) - 1)
    version = batch.delivery_seq * (1 << RECORD_BITS) + batch.first_record + position
    statement = (
        select(func.max(func.coalesce(row.version, version)))
        .select_from(record_lineage)
        .join(batches, batch.seq == row.id.op(">>")(SHIFT))
        .where(row.source == source, row.key == key, row.ts == own.ts, row.sequence == own.sequence)
    )
    return int(connection.execute(statement).scalar() or 0)

"""The rejected records of a batch as the store keeps them, and the letters that a batch sends back."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from sqlalchemy import Connection

from store import hashing
from store.database.schema import RECORD_BITS, event_id
from store.dead_letters import actions, groups, terms
from store.dead_letters.states import Attempt
from store.errors import ForgedMessage
from store.tables import lineage
from store.tables.batches import Batch
from store.tables.dead_letters import Rejected
from worker.judge import stages
from worker.judge.faults import Fault
from worker.judge.stages import Bad
from worker.queue.message import Message


def end_replay(
    connection: Connection,
    message: Message,
    rejected: Sequence[Rejected],
    number: int,
    batch: Batch,
    max_replays: int,
) -> None:
    """What became of the letters that a batch sends back."""
    action = actions.number_of(connection, str(message.delivery.content))
    bad = {row.id: row for row in rejected}
    attempts = [
        Attempt(letter.id, stages.payload_of(record)[0] if letter.edited else None, bad.get(letter.id))
        for letter, record in zip(message.letters, message.records, strict=True)
    ]
    if action is None or not actions.end_attempts(
        connection, action, attempts, number, batch.processed_at, max_replays
    ):
        raise ForgedMessage(f"replay {message.id} names letters that are not in its action any more")
    if bad:
        terms.stop_if_broken(connection, action)


def of(message: Message, bad: Sequence[Bad], number: int, batch: Batch) -> list[Rejected]:
    """The rejected records as they are kept; those with the same faults are of one group."""
    kinds: dict[
        tuple[Fault, ...], tuple[str, str]
    ] = {}  # many records have equal faults: saves 3 µs a record
    header = csv_header(message)
    rejected = []
    for each in bad:
        kind = kinds.get(each.faults)
        if kind is None:
            kind = kinds[each.faults] = _kind(message.source, batch.fingerprint, each.faults)
        rejected.append(_rejected(message, each, number, batch, header, *kind))
    return rejected


def _kind(source: str, fingerprint: str, faults: tuple[Fault, ...]) -> tuple[str, str]:
    """(group, errors as JSON) of records with these faults."""
    errors = [
        {
            "reason": fault.reason,
            "field": fault.field or "",
            "rule": fault.rule or fault.reason,
            "message": fault.message,
            "shape": fault.shape,
        }
        for fault in faults
    ]
    group = groups.group_id(
        source, fingerprint, [(each["field"], each["rule"], each["shape"]) for each in errors]
    )
    return group, orjson.dumps(errors).decode()


def _rejected(
    message: Message, bad: Bad, number: int, batch: Batch, header: str | None, group: str, errors: str
) -> Rejected:
    payload, encoding, size, digest = stages.payload_of(message.records[bad.position])
    letter = (
        message.letters[bad.position].id if message.letters else letter_id(message, payload, encoding, digest)
    )
    return Rejected(
        id=letter,
        source=message.source,
        reason=bad.faults[0].reason,
        errors=errors,
        group_id=group,
        fingerprint=batch.fingerprint,
        payload=payload,
        encoding=encoding,
        size=size,
        payload_digest=digest,
        format=message.format,
        header=header,
        content=bad.content,
        record_key=bad.record_key,
        file=message.file,
        line=message.lines[bad.position],
        batch_seq=number,
        version=batch.delivery_seq << RECORD_BITS | (batch.first_record + bad.position),
        event_id=event_id(number, bad.position, "reject"),
        seen_at=batch.processed_at,
    )


def csv_header(message: Message) -> str | None:
    """What it takes to read a CSV row without its file."""
    if message.format != "csv":
        return None
    return orjson.dumps({"columns": message.header, **message.dialect.to_wire()}).decode()


def letter_id(message: Message, payload: str, encoding: str, digest: str | None) -> str:
    """A letter's id, 32 hex digits: the same payload of the same source is the same letter.

    Of a CSV row its columns are a part; how its file writes numbers is not.
    """
    parts = [message.source, message.format, message.header, payload, digest]
    if encoding != "utf-8":
        parts.append(encoding)  # a row may be the text that base64 makes of another
    return hashing.hexdigest(orjson.dumps(parts))


def write_replays(connection: Connection, message: Message, number: int) -> None:
    """The `replay` entries of a batch of letters that were sent back."""
    lineage.add_events(
        connection,
        [
            (
                event_id(number, position, "replay"),
                "replay",
                message.source,
                None,
                letter.id,
                "edited and sent back" if letter.edited else "sent back",
                number,
                message.lines[position],
                letter.event_id,
            )
            for position, letter in enumerate(message.letters)
        ],
    )

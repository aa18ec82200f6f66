"""Dead letters -> messages: sent back through the queue, unchanged or edited."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import orjson

from store import hashing, timestamps
from store.csv_reader import Dialect
from store.errors import InputError
from store.tables.dead_letters import DeadLetter
from store.tables.deliveries import Delivery
from worker.contract import Contract
from worker.judge.faults import Rejection
from worker.judge.parse import parse_csv
from worker.judge.stages import judge_batch, judge_for
from worker.judge.undecoded import is_undecoded, record_of
from worker.queue.identity import identified
from worker.queue.message import Letter, Message, RawRecord
from worker.settings import WorkerSettings


@dataclass(frozen=True)
class Edit:
    """What to change in a payload before it is validated again."""

    fields: dict[str, Any]  # new values; None removes the field
    payload: str | None  # replaces the whole payload

    @property
    def is_empty(self) -> bool:
        return not self.fields and self.payload is None


@dataclass(frozen=True)
class Replayable:
    """A letter as it is sent back."""

    letter: DeadLetter
    record: RawRecord
    format: str
    header: dict[str, Any] | None
    edited: bool


def prepare(
    letters: Sequence[DeadLetter], edit: Edit
) -> tuple[list[Replayable], list[tuple[DeadLetter, str]]]:
    """(letters that can be sent back, letters that cannot, each with the reason)."""
    ready: list[Replayable] = []
    refused: list[tuple[DeadLetter, str]] = []
    for letter in letters:
        try:
            ready.append(_prepared(letter, edit))
        except InputError as error:
            refused.append((letter, str(error)))
    return ready, refused


def _prepared(letter: DeadLetter, edit: Edit) -> Replayable:
    if edit.payload is not None:
        return Replayable(letter, edit.payload, "json", None, edited=True)
    if letter.payload_digest:
        raise InputError(
            "only its payload's first 4 KiB are stored: raise max_record_bytes and send the file again"
        )
    if edit.fields:
        body = {**_body(letter), **edit.fields}
        text = orjson.dumps({name: value for name, value in body.items() if value is not None}).decode()
        return Replayable(letter, text, "json", None, edited=True)
    return Replayable(letter, record_of(letter), letter.format, letter.header, edited=False)


def _body(letter: DeadLetter) -> dict[str, Any]:
    if is_undecoded(letter):
        raise InputError(
            "its payload does not decode, so no field can be set: give the whole payload with --payload"
        )
    try:
        if letter.format == "csv" and letter.header:
            return parse_csv(letter.raw.decode(), letter.header["columns"], Dialect.from_wire(letter.header))
        body = orjson.loads(letter.raw)
    except (orjson.JSONDecodeError, UnicodeDecodeError, Rejection) as error:
        raise InputError(
            "its payload cannot be read, so no field can be set: give the whole payload with --payload"
        ) from error
    if not isinstance(body, dict):
        raise InputError(
            "its payload is not an object, so no field can be set: give the whole payload with --payload"
        )
    return body


def messages(
    ready: Sequence[Replayable], contract: Contract, settings: WorkerSettings, most: int
) -> Iterator[Message]:
    """The letters as batches, each of one source, format, header and file.

    A letter that is replayed twice before a worker processes it gives the same ids; processing it raises
    `replays`, so that a later replay gives new ones.
    """
    ordered = sorted(ready, key=_batch_key)
    for source, of_source in groupby(ordered, key=lambda each: each.letter.source):
        letters = list(of_source)
        delivery = _delivery(source, letters, contract.fingerprint(settings.source(source)))
        first = 0
        for _, members in groupby(letters, key=_batch_key):
            group = list(members)
            for start in range(0, len(group), most):
                message = _message(group[start : start + most], delivery, first)
                first += len(message.records)
                yield message


def _delivery(source: str, letters: Sequence[Replayable], fingerprint: str) -> Delivery:
    """Letters that are sent back together are one delivery, until a worker processes them."""
    content = [[each.letter.id, each.letter.replays, _text(each.record)] for each in letters]
    hashed = hashing.hexdigest(orjson.dumps(content))
    return Delivery.of("replay", source, "dead_letters", hashed, fingerprint)


def _text(record: RawRecord) -> str:
    return record if isinstance(record, str) else record.content.hex()


def _batch_key(each: Replayable) -> tuple[str, str, bytes, str]:
    return each.letter.source, each.format, orjson.dumps(each.header), each.letter.file


def _message(group: list[Replayable], delivery: Delivery, number: int) -> Message:
    first = group[0]
    records = [each.record for each in group]
    message = Message(
        id="",
        kind="replay",
        delivery=delivery,
        first=number,
        source=delivery.source,
        file=first.letter.file,
        format="csv" if first.format == "csv" else "json",
        header=first.header["columns"] if first.header else None,
        dialect=Dialect.from_wire(first.header) if first.header else Dialect(),
        records=records,
        lines=[each.letter.line for each in group],
        fingerprint=delivery.fingerprint,
        letters=[Letter(each.letter.id, each.letter.event_id, each.edited) for each in group],
        size=sum(map(len, records)),
    )
    return identified(message)


def dry_run(sent: Sequence[Message], contract: Contract, settings: WorkerSettings) -> dict[str, str | None]:
    """letter id -> the reason for which it would be rejected now; None if it would be accepted."""
    verdicts: dict[str, str | None] = {}
    for message in sent:
        judge = judge_for(contract, settings.source(message.source), settings.max_future_skew)
        judged = judge_batch(message, judge, None, timestamps.now())
        verdicts |= {letter.id: None for letter in message.letters}
        verdicts |= {message.letters[bad.position].id: bad.faults[0].reason for bad in judged.bad}
    return verdicts

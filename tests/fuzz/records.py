"""Records and messages: any text is accepted or rejected, any JSON refused or of a shape to rely on."""

from __future__ import annotations

import base64
import itertools
import json
import sqlite3
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import orjson

from store.csv_reader import Dialect
from store.errors import MessageError
from store.tables.deliveries import Delivery
from worker.batch import rejections
from worker.contract import Contract, Record, load_contract
from worker.judge import stages
from worker.judge.faults import Rejection
from worker.judge.parse import parse_json
from worker.judge.stages import Judge
from worker.queue.message import Message, Opaque
from worker.queue.serializer import JsonSerializer
from worker.settings import SourceSettings, WorkerSettings

NOW = datetime(2025, 6, 1, tzinfo=UTC)
BATCH: Any = SimpleNamespace(
    fingerprint="f", delivery_seq=1, first_record=0, processed_at="2025-06-01T00:00:00.000000Z"
)
DELIVERY = Delivery("ab" * 16, "file", "fuzz", "-", "0" * 32, "f")


class Rich(Record):
    """A contract with every kind of column."""

    name: str | None = None
    value: float = 0.0
    number: int | None = None
    tags: list[str] | None = None
    at: date | None = None
    properties: dict[str, Any] | None = None
    amount: Decimal | None = None


MAPPED = {
    "key": "properties.key",
    "name": "tags[0].name || properties.name",
    "value": "sum(tags)",
    "number": "a.b",
}
SOURCES = {
    "plain": ("worker.contract:Event", SourceSettings()),
    "mapped": ("worker.contract:Event", SourceSettings(fields=MAPPED, ts_unit="ms")),
    "strict": ("worker.contract:Event", SourceSettings(assume_tz="reject", extra="forbid")),
    "oslo": (f"{__name__}:Rich", SourceSettings(assume_tz="Europe/Oslo", extra="ignore")),
    "rich": (f"{__name__}:Rich", SourceSettings(ts_unit="ns")),
    "deep": (
        f"{__name__}:Rich",
        SourceSettings(fields={"properties": "properties.properties", "amount": "number"}),
    ),
}


@lru_cache
def contract_of(name: str) -> Contract:
    return load_contract(WorkerSettings.model_construct(contract=name, extra=None))


@lru_cache
def judge_of(source: str) -> Judge:
    name, settings = SOURCES[source]
    return stages.judge_for(
        contract_of(name), settings, WorkerSettings.model_fields["max_future_skew"].default
    )


def outcomes(message: Message, source: str) -> list[bytes]:
    """Judges a batch; each record's bytes, of an accepted one as it was sent, else as its letter keeps it."""
    judge = judge_of(source)
    judged = stages.judge_batch(message, judge, None, NOW)
    carefully = stages.judge_batch(message, replace(judge, quick=None), None, NOW)
    judged.seconds = carefully.seconds = {}
    assert repr(judged) == repr(carefully), "the quick way and the careful way differ"
    stored: dict[int, bytes] = {}
    for valid in itertools.chain(judged.valid, judged.skipped):
        record = message.records[valid.position]
        assert isinstance(record, str)
        assert_storable(valid.record)
        assert valid.position not in stored
        stored[valid.position] = record.encode()
    for bad in judged.bad:
        row = rejections.of(message, [bad], 1, BATCH)[0]
        assert_storable([row.reason, row.errors, row.content, row.record_key, row.payload, row.id])
        assert bad.position not in stored
        stored[bad.position] = (
            base64.b64decode(row.payload) if row.encoding == "base64" else row.payload.encode()
        )
    assert sorted(stored) == list(range(len(message.records))), "a record without an outcome"
    return [stored[position] for position in range(len(message.records))]


def assert_storable(values: Any) -> None:
    """A column holds it, here and in PostgreSQL, and gives it back."""
    flat = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    assert not any("\0" in value for value in flat if isinstance(value, str))
    asked = ", ".join("?" * len(flat))
    with closing(sqlite3.connect(":memory:")) as connection:
        assert connection.execute(f"SELECT {asked}", flat).fetchone() == tuple(flat)


def record(data: bytes, source: str) -> None:
    """Any text as a record: accepted or rejected, alike whatever the order of its fields."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    message = one(text)
    assert outcomes(message, source) == [data]
    with suppress(Rejection):
        raw = parse_json(text)
        turned = dict(reversed(raw.items()))
        assert verdict(raw, source) == verdict(turned, source)


def one(text: str, **changed: Any) -> Message:
    fields: dict[str, Any] = {
        "id": "ab" * 16, "kind": "file", "delivery": DELIVERY, "first": 0, "source": "fuzz", "file": "-",
        "format": "json", "header": None,
        "dialect": Dialect(), "records": [text], "lines": [1], "fingerprint": "", "letters": [], "size": len(text),
    }  # fmt: skip
    return Message(**(fields | changed))


def verdict(raw: dict[str, Any], source: str) -> Any:
    judge = judge_of(source)
    try:
        return judge.validator.validate(judge.adapter.adapt(raw))._replace(extra=None).content_hash
    except Rejection as rejection:
        return {(fault.reason, fault.field) for fault in rejection.faults}


def row(data: bytes, delimiter: str, source: str) -> None:
    """Any text as a row of a table."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    message = one(text, format="csv", header=["key", "name", "value", "ts"], dialect=Dialect(delimiter))
    assert outcomes(message, source) == [data]


def message(data: bytes) -> None:
    """Any JSON as a message: refused, or of a shape that the rest of the way can rely on."""
    try:
        wire = JsonSerializer.loads(data)
    except orjson.JSONDecodeError:
        return
    try:
        read = Message.from_wire(wire)
    except MessageError as error:
        assert "can be requeued" in str(error)
        return
    texts = [
        read.id,
        read.kind,
        read.source,
        read.file,
        read.format,
        read.fingerprint,
        read.delivery.id,
    ]
    assert all(isinstance(text, str) for text in texts)
    assert read.kind in ("file", "replay")
    assert type(read.first) is int
    assert read.first >= 0
    assert read.format in ("json", "csv")
    assert read.records
    assert all(isinstance(each, str | Opaque) for each in read.records)
    assert len(read.lines) == len(read.records)
    assert all(type(line) is int for line in read.lines)
    assert json.loads(json.dumps(Message.from_wire(read.to_wire()).to_wire())) == json.loads(
        json.dumps(read.to_wire())
    )
    if not read.letters:
        outcomes(read, "plain")

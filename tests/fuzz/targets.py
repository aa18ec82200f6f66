"""What is fuzzed, and what must hold whatever comes in: bytes in, records and dead letters out, nothing lost.

Each target is a function of bytes and a few options; it raises AssertionError, or whatever the product
let out that it never declared.
"""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import sqlite3
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from unittest import mock

import orjson

from producer import readers
from producer.batching import Oversize, Payload
from producer.enqueue import Feed
from producer.settings import ProducerSettings
from store.errors import ConfigError, InputError, MessageError
from worker import receiving, stages
from worker.broker import JsonSerializer
from worker.contract import Contract, Record, load_contract
from worker.message import Message, Opaque
from worker.parsing import parse_json
from worker.rejection import Rejection
from worker.settings import SourceSettings, WorkerSettings
from worker.stages import Judge

KIB, MIB = 1 << 10, 1 << 20
NOW = datetime(2025, 6, 1, tzinfo=UTC)
WHITESPACE = b" \t\n\r\v\f"


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


# --- files --------------------------------------------------------------------------------------------

Found = list[tuple[int, Payload]]


def file(
    data: bytes, format: str, chunk: int, limit: int, path: str, delimiter: str, batch: int, source: str
) -> None:
    """Any bytes as a file: the same records however they are read, none lost, each with its outcome."""
    feed = Feed(
        "fuzz",
        SourceSettings(delimiter=delimiter),
        contract_of(SOURCES[source][0]),
        ProducerSettings.model_construct(batch_records=batch, batch_bytes=1024, max_record_bytes=limit),
        format,
        path or None,
    )
    found, error = read(feed, data, chunk)
    assert (found, error) == read(feed, data, MIB), (
        "the size of the pieces a file is read in makes a difference"
    )
    if not data.startswith(b"\x1f\x8b"):
        text = data.removeprefix(b"\xef\xbb\xbf")
        if format == "ndjson":
            assert found == list(lines_of(text, limit))
        elif not path:
            assert_nothing_is_lost(text, found, format)
    with suppress(InputError):
        judged: list[bytes] = []
        for message in messages(feed, data):
            judged += outcomes(message, source)
        assert judged == [head_of(payload) for _, payload in found]


def stdin(data: bytes | io.RawIOBase) -> Any:
    stream = io.BytesIO(data) if isinstance(data, bytes) else io.BufferedReader(data)
    return mock.patch.object(sys, "stdin", SimpleNamespace(buffer=stream))


def read(feed: Feed, data: bytes, chunk: int) -> tuple[Found, str | None]:
    """The records with their lines, as far as the file can be read, and the error that ended it."""
    found: Found = []
    try:
        with mock.patch.object(readers, "_READ_BYTES", chunk), stdin(data), feed.open("-") as opened:
            for block in opened.blocks():
                assert block.payloads, "an empty block"
                found += zip(block.lines, block.payloads, strict=True)
    except (InputError, ConfigError) as error:
        return found, type(error).__name__
    return found, None


def messages(feed: Feed, data: bytes) -> Iterator[Message]:
    """What a worker gets: over the wire, as the queue carries it."""
    with stdin(data), feed.open("-") as opened:
        for message in feed.messages(opened, "-"):
            yield Message.from_wire(JsonSerializer.loads(JsonSerializer.dumps(message.to_wire())))


def head_of(payload: Payload) -> bytes:
    return payload.head if isinstance(payload, Oversize) else payload


def lines_of(text: bytes, limit: int) -> Iterator[tuple[int, Payload]]:
    """NDJSON as simply as it can be said."""
    for number, line in enumerate(text.split(b"\n"), 1):
        record = line.rstrip(b"\r")
        if record.strip(WHITESPACE):
            yield number, Oversize.of(record) if len(record) > limit else record


def assert_nothing_is_lost(text: bytes, found: Found, format: str) -> None:
    """Between the records of a document stand commas, closed brackets and blanks alone; of a table, blanks."""
    at = 0
    punctuation = WHITESPACE + (b",[]}" if format == "json" else b"")
    line_starts = [0, *(place + 1 for place, byte in enumerate(text) if byte == ord("\n"))]
    for number, (line, payload) in enumerate(found):
        begun = line_starts[line - 1]
        start = text.index(head_of(payload), max(at, begun))
        assert b"\n" not in text[begun:start], f"{payload!r} does not begin on line {line}"
        if isinstance(payload, Oversize):
            whole = text[start : start + payload.size]
            assert payload.digest == hashlib.blake2b(whole, digest_size=16).hexdigest()
        if format == "json" or number:  # before a table's first row stands its header
            assert not text[at:start].strip(punctuation), f"{text[at:start]!r} is in no record"
        at = start + (payload.size if isinstance(payload, Oversize) else len(payload))
    if format == "json" or found:
        assert not text[at:].strip(punctuation), f"{text[at:]!r} is in no record"


# --- records ------------------------------------------------------------------------------------------


def outcomes(message: Message, source: str) -> list[bytes]:
    """Judges a batch; each record's bytes, of an accepted one as it was sent, else as its letter keeps it."""
    judge = judge_of(source)
    judged = stages.judge_batch(message, judge, None, NOW)
    kept: dict[int, bytes] = {}
    for valid in itertools.chain(judged.valid, judged.skipped):
        record = message.records[valid.place]
        assert isinstance(record, str)
        assert_storable(valid.record)
        assert valid.place not in kept
        kept[valid.place] = record.encode()
    for bad in judged.bad:
        row = receiving._rejected(message, bad, 1, "2025-06-01T00:00:00.000000Z")
        assert_storable([row.reason, row.errors, row.content, row.record_key, row.payload, row.id])
        assert bad.place not in kept
        kept[bad.place] = base64.b64decode(row.payload) if row.encoding == "base64" else row.payload.encode()
    assert sorted(kept) == list(range(len(message.records))), "a record without an outcome"
    return [kept[place] for place in range(len(message.records))]


def assert_storable(values: Any) -> None:
    """A column holds it, here and in PostgreSQL, and gives it back."""
    flat = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    assert not any("\0" in value for value in flat if isinstance(value, str))
    asked = ", ".join("?" * len(flat))
    assert sqlite3.connect(":memory:").execute(f"SELECT {asked}", flat).fetchone() == tuple(flat)


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
    fields = {
        "id": "ab" * 16, "kind": "file", "source": "fuzz", "file": "-", "format": "json", "header": None,
        "delimiter": ",", "records": [text], "lines": [1], "fingerprint": "", "letters": [], "size": len(text),
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
    message = one(text, format="csv", header=["key", "name", "value", "ts"], delimiter=delimiter)
    assert outcomes(message, source) == [data]


# --- messages -----------------------------------------------------------------------------------------


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
    texts = [read.id, read.kind, read.source, read.file, read.format, read.delimiter, read.fingerprint]
    assert all(isinstance(text, str) for text in texts)
    assert read.kind in ("file", "replay")
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


# --- memory -------------------------------------------------------------------------------------------

TOTAL, CHUNK, LIMIT = 8 * MIB, 16 * KIB, 16 * KIB
PIECES = 150_000  # of tiny ones so many are long enough: were they held, they would take more than
MOST = 3 * MIB  # the largest thing held, a block of records


class Repeated(io.RawIOBase):
    """A long file that is nowhere: a start, and a piece over and over."""

    def __init__(self, start: bytes, piece: bytes, size: int) -> None:
        self._piece = piece * (CHUNK // len(piece) + 1)
        self._held, self._left = start, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._held and self._left > 0:
            self._held = self._piece
            self._left -= len(self._piece)
        size = min(len(buffer), len(self._held))
        buffer[:size], self._held = self._held[:size], self._held[size:]
        return size


def memory(data: bytes, format: str, start: str) -> None:
    """Any bytes over and over, however long, are read in bounded memory."""
    settings = ProducerSettings.model_construct(
        batch_records=500, batch_bytes=64 * KIB, max_record_bytes=LIMIT
    )
    feed = Feed("fuzz", SourceSettings(), contract_of("worker.contract:Event"), settings, format)
    piece = data or b"x"
    endless = Repeated(start.encode(), piece, min(TOTAL, PIECES * len(piece)))
    tracemalloc.start()
    try:
        with (
            mock.patch.object(readers, "_READ_BYTES", CHUNK),
            stdin(endless),
            suppress(InputError),
            feed.open("-") as opened,
        ):
            for _ in feed.messages(opened, "-"):
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST, f"{peak / MIB:.1f} MiB held of a long file of {data!r}"

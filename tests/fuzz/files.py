"""Files: bytes in, records and dead letters out, nothing lost, in bounded memory."""

from __future__ import annotations

import hashlib
import io
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any
from unittest import mock

from producer.feed import Feed
from producer.files import open as readers
from producer.files.batches import Payload
from producer.settings import ProducerSettings
from store.errors import ConfigError, InputError
from worker.queue.message import Message, Opaque
from worker.queue.serializer import JsonSerializer
from worker.settings import SourceSettings

from .records import DELIVERY, SOURCES, contract_of, outcomes

KIB, MIB = 1 << 10, 1 << 20
WHITESPACE = b" \t\n\r\v\f"

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
    look(feed, data, chunk)
    found, error = read(feed, data, chunk)
    assert (found, error) == read(feed, data, MIB), (
        "the size of the pieces a file is read in makes a difference"
    )
    if not data.startswith(b"\x1f\x8b"):
        text = data.removeprefix(b"\xef\xbb\xbf")
        if format == "ndjson":
            assert found == list(lines_of(text, limit))
        elif not path:
            assert_nothing_is_lost(text, found, format, is_cut=error is not None)
    with suppress(InputError):
        judged: list[bytes] = []
        for message in messages(feed, data):
            judged += outcomes(message, source)
        assert judged == [head_of(payload) for _, payload in found]


def stdin(data: bytes | io.RawIOBase) -> Any:
    stream = io.BytesIO(data) if isinstance(data, bytes) else io.BufferedReader(data)
    return mock.patch.object(sys, "stdin", SimpleNamespace(buffer=stream))


def look(feed: Feed, data: bytes, chunk: int) -> None:
    """The look at a file's first bytes refuses it or not however they come, and then all of it is still read."""
    errors: list[list[str]] = []
    for size in (chunk, MIB):
        errors.append([])
        with mock.patch.object(readers, "_READ_BYTES", size), stdin(data):
            try:
                with feed.open("-") as opened:
                    errors[-1] += feed.check_header(opened)
                    found = [p for block in opened.blocks() for p in block.payloads]
                    assert found == [p for _, p in read(feed, data, size)[0]]
            except (InputError, ConfigError) as error:
                errors[-1].append(type(error).__name__)
    assert errors[0] == errors[1]


unlooked = mock.patch.object(readers, "refuse_other_kinds", lambda *_: None)


def read(feed: Feed, data: bytes, chunk: int) -> tuple[Found, str | None]:
    """The records with their lines, as far as the file can be read, and the error that ended it."""
    found: Found = []
    try:
        with (
            mock.patch.object(readers, "_READ_BYTES", chunk),
            unlooked,
            stdin(data),
            feed.open("-") as opened,
        ):
            for block in opened.blocks():
                assert block.payloads, "an empty block"
                found += zip(block.lines, block.payloads, strict=True)
    except (InputError, ConfigError) as error:
        return found, type(error).__name__
    return found, None


def messages(feed: Feed, data: bytes) -> Iterator[Message]:
    """What a worker gets: over the wire, as the queue carries it."""
    with unlooked, stdin(data), feed.open("-") as opened:
        for message in feed.messages(opened, DELIVERY):
            yield Message.from_wire(JsonSerializer.loads(JsonSerializer.dumps(message.to_wire())))


def head_of(payload: Payload) -> bytes:
    return payload.content if isinstance(payload, Opaque) else payload


def lines_of(text: bytes, limit: int) -> Iterator[tuple[int, Payload]]:
    """NDJSON as simply as it can be said."""
    for number, line in enumerate(text.split(b"\n"), 1):
        record = line.rstrip(b"\r")
        if record.strip(WHITESPACE):
            yield number, Opaque.head_of(record) if len(record) > limit else record


def assert_nothing_is_lost(text: bytes, found: Found, format: str, *, is_cut: bool) -> None:
    """Between records of documents stand commas, brackets and blanks alone; of a table, blanks.

    An error accounts for what follows the last record.
    """
    at = 0
    punctuation = WHITESPACE + (b",[]\x1e" if format == "json" else b"")
    line_starts = [0, *(position + 1 for position, byte in enumerate(text) if byte == ord("\n"))]
    for number, (line, payload) in enumerate(found):
        begun = line_starts[line - 1]
        start = text.index(head_of(payload), max(at, begun))
        assert b"\n" not in text[begun:start], f"{payload!r} does not begin on line {line}"
        if isinstance(payload, Opaque):
            whole = text[start : start + payload.size]
            assert payload.digest == hashlib.blake2b(whole, digest_size=16).hexdigest()
        if format == "json" or number:  # before a table's first row stands its header
            assert not text[at:start].strip(punctuation), f"{text[at:start]!r} is in no record"
        at = start + (payload.size if isinstance(payload, Opaque) else len(payload))
    if not is_cut and (format == "json" or found):
        assert not text[at:].strip(punctuation), f"{text[at:]!r} is in no record"


TOTAL, CHUNK, LIMIT = 8 * MIB, 16 * KIB, 16 * KIB
PIECES = 60_000  # of tiny ones so many are long enough: were they held, they would take 5 MiB
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
            unlooked,
            stdin(endless),
            suppress(InputError),
            feed.open("-") as opened,
        ):
            for _ in feed.messages(opened, DELIVERY):
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST, f"{peak / MIB:.1f} MiB held of a long file of {data!r}"

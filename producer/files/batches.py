"""Raw records: single ones, blocks of them as they are read, batches as they are sent."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from typing import cast

from worker.queue import message
from worker.queue.identity import content_digest
from worker.queue.message import DIGEST_BYTES, Opaque

# A raw record as it is read: its bytes, or the head of a record beyond the size limit.
Payload = bytes | Opaque


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive raw records."""

    payloads: list[Payload]
    lines: Sequence[int]  # the line each starts on, from 1: a range where they are consecutive


@dataclass(frozen=True, slots=True)
class RawBatch:
    """The raw records of one message."""

    content: (
        str  # hash, 32 hex digits: of the delivery, its first record's number there, and the records' bytes
    )
    first: int  # number of its first record in the delivery, from 0
    payloads: list[Payload]
    lines: Sequence[int]
    size: int  # bytes on the queue: of an oversize record, those of its head


class PartialRecord:
    """One record that arrives in pieces: its bytes up to a limit, and beyond it only its size and digest.

    Of a record beyond the limit, trailing bytes among `strip` do not count. A record of only blank bytes is
    empty.
    """

    def __init__(self, limit: int, strip: bytes, blank: bytes = b" \t\n\r\v\f") -> None:
        self._limit = limit
        self._blank_bytes = blank
        self._held_bytes = max(limit, message.HEAD_BYTES)
        self._strip = strip
        self._reset()

    def _reset(self) -> None:
        self.size = 0
        self._pieces: list[bytes] = []
        self._core_size = 0
        self._blank = True
        self._whole: hashlib.blake2b | None = None
        self._core: hashlib.blake2b | None = None

    def add(self, piece: bytes) -> None:
        core = piece.rstrip(self._strip)
        if self.size + len(piece) > self._held_bytes:
            self._measure(piece, core)
        if self.size < self._held_bytes:
            self._pieces.append(piece[: self._held_bytes - self.size])
        if core:
            self._core_size = self.size + len(core)
        self._blank = self._blank and not piece.strip(self._blank_bytes)
        self.size += len(piece)

    def _measure(self, piece: bytes, core: bytes) -> None:
        # Only a later piece shows whether the end of this one is the end of the record: hence two hashes.
        if self._whole is None:
            self._whole = hashlib.blake2b(b"".join(self._pieces), digest_size=DIGEST_BYTES)
        if core:
            self._core = self._whole.copy()
            self._core.update(core)
        self._whole.update(piece)

    def take(self) -> Payload:
        """The record, unchanged if it is within the limit; then the next one starts empty."""
        held = b"".join(self._pieces)
        payload: Payload = held
        if self.size > self._limit:
            payload = self._stripped(held)
        self._reset()
        return payload

    def _stripped(self, held: bytes) -> Payload:
        if self._blank:
            return Opaque(b"", self.size, "")  # not a record, but too long to be part of one
        if self._core_size <= self._limit:
            return held[: self._core_size]
        if self._core is None or self._core_size <= self._held_bytes:
            return Opaque.head_of(held[: self._core_size])
        return Opaque(held[: message.HEAD_BYTES], self._core_size, self._core.hexdigest())


def line_block(lines: list[bytes], first: int, limit: int, blank: bytes, comment: bytes = b"") -> Block:
    """The records among whole lines, numbered from `first`.

    A line of only `blank` bytes is not a record, nor is one that begins with `comment`.
    """
    numbers: Sequence[int] = range(first, first + len(lines))
    is_comment = comment and any(map(bytes.startswith, lines, repeat(comment)))
    if is_comment or not all(lines) or any(map(bytes.isspace, lines)):
        records = [
            (line, number)
            for line, number in zip(lines, numbers, strict=True)
            if line.strip(blank) and not (comment and line.startswith(comment))
        ]
        lines, numbers = [line for line, _ in records], [number for _, number in records]
    if max(map(len, lines), default=0) > limit:
        return Block([Opaque.head_of(line) if len(line) > limit else line for line in lines], numbers)
    return Block(cast("list[Payload]", lines), numbers)


def cut(
    blocks: Iterable[Block],
    *,
    delivery: str,
    max_records: int,
    max_bytes: int,
) -> Iterator[RawBatch]:
    """Batches of at most `max_records` records and `max_bytes` bytes; a larger record is a batch by itself.

    The same records give the same batches, whatever blocks they come in.
    """
    pending = _Pending(0)
    for block in blocks:
        ends = list(accumulate(map(len, block.payloads), initial=0))
        start, total = 0, len(block.payloads)
        while start < total:
            stop = pending.reach(ends, start, max_records, max_bytes)
            pending.add(block, start, stop, ends[stop] - ends[start])
            if stop < total or len(pending.payloads) >= max_records:
                yield pending.close(delivery)
                pending = _Pending(pending.first + len(pending.payloads))
            start = stop
    if pending.payloads:
        yield pending.close(delivery)


class _Pending:
    """The batch that is being filled."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.payloads: list[Payload] = []
        self.lines: list[Sequence[int]] = []
        self.size = 0

    def reach(self, ends: list[int], start: int, max_records: int, max_bytes: int) -> int:
        """The index in a block up to which records fit; `ends` are the running sums of its lengths, from 0."""
        by_count = start + max_records - len(self.payloads)
        by_bytes = bisect_right(ends, ends[start] + max_bytes - self.size, lo=start) - 1
        at_least = start if self.payloads else start + 1
        return max(at_least, min(by_count, by_bytes, len(ends) - 1))

    def add(self, block: Block, start: int, stop: int, size: int) -> None:
        if stop > start:
            self.payloads += block.payloads[start:stop]
            self.lines.append(block.lines[start:stop])
            self.size += size

    def close(self, delivery: str) -> RawBatch:
        content = content_digest(delivery, self.first, self.payloads)
        return RawBatch(content, self.first, self.payloads, _joined(self.lines), self.size)


def _joined(pieces: list[Sequence[int]]) -> Sequence[int]:
    first = pieces[0]
    count = sum(map(len, pieces))
    if all(isinstance(piece, range) for piece in pieces) and pieces[-1][-1] - first[0] == count - 1:
        return range(first[0], first[0] + count)
    return [number for piece in pieces for number in piece]

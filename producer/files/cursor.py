"""A position in a stream of JSON text: what stands there, on which line, at which byte; in constant memory."""

from __future__ import annotations

import re
from collections.abc import Iterable

from producer.files.batches import PartialRecord, Payload
from store.errors import InputError
from worker.queue.message import Opaque

END = -1
WHITESPACE = b" \t\n\r"  # JSON's own: a form feed is none
SPACE = re.compile(rb"[ \t\n\r]*+")
# A string ends on its line: JSON allows no raw newline in one, and so a missing quote spoils one line at most.
CHARACTERS = rb'(?:[^"\\\n]++|\\[^\n])*+'

_IN_STRING = re.compile(CHARACTERS)
_QUOTE, _BACKSLASH, _NEWLINE = ord('"'), ord("\\"), ord("\n")


class Cursor:
    """A position in a stream of chunks; it collects the bytes that it passes after `begin_record`."""

    def __init__(self, chunks: Iterable[bytes], *, name: str, line: int, offset: int, limit: int) -> None:
        self._chunks = iter(chunks)
        self._name, self._limit = name, limit
        self._offset = offset  # bytes of the text before `data`
        self._line, self._counted = line, 0
        self._record = PartialRecord(limit, WHITESPACE)
        self._start: int | None = None  # of the record, in `data`; None outside one
        self.data, self.pos = b"", 0

    def more(self) -> bool:
        """Step to the next chunk; false at the end of the file."""
        if self._start is not None:
            self._record.add(self.data[self._start :])
            self._start = 0
        self._line += self.data.count(b"\n", self._counted)
        self._offset += len(self.data)
        self._counted = self.pos = 0
        self.data = next(self._chunks, b"")
        return bool(self.data)

    def line(self) -> int:
        """The line of the current position, from 1."""
        self._line += self.data.count(b"\n", self._counted, self.pos)
        self._counted = self.pos
        return self._line

    def run(self, pattern: re.Pattern[bytes]) -> int:
        """Pass what the pattern matches; returns the byte after it, or -1 at the end of the file."""
        while True:
            if found := pattern.match(self.data, self.pos):
                self.pos = found.end()
            if self.pos < len(self.data):
                return self.data[self.pos]
            if not self.more():
                return END

    def string(self) -> bool:
        """Pass a string from its opening quote; false if the line or the file ends before it does."""
        self.pos += 1
        while (byte := self.run(_IN_STRING)) == _BACKSLASH:
            self.pos += 1
            if self.pos == len(self.data) and not self.more():
                return False
            if self.data[self.pos] == _NEWLINE:
                return False
            self.pos += 1
        self.pos += byte == _QUOTE
        return byte == _QUOTE

    @property
    def ended(self) -> bool:
        return not self.data

    def begin_record(self) -> None:
        """The record that `take` returns starts here."""
        self._start = self.pos

    def take(self) -> Payload:
        """The bytes since `begin_record`, without whitespace at their end."""
        last = self.data[self._start : self.pos]
        self._start = None
        if not self._record.size:
            return self.bounded(last.rstrip(WHITESPACE))
        self._record.add(last)
        payload = self._record.take()
        return payload if isinstance(payload, Opaque) else self.bounded(payload.rstrip(WHITESPACE))

    def bounded(self, record: bytes) -> Payload:
        """A record as it is, or the head of one beyond the limit."""
        return Opaque.head_of(record) if len(record) > self._limit else record

    def position(self) -> tuple[int, int]:
        """(the byte of the text, the line), each from 1."""
        return self._offset + self.pos + 1, self.line()

    def fault(self, expected: str, position: tuple[int, int] | None = None) -> InputError:
        """The error for a document that is none from a position on; by default, from the current one."""
        byte, line = position or self.position()
        if self.ended and position is None:
            what = (
                f"the JSON document is cut short: behind byte {byte - 1:,} of its text, on line {line:,}, "
                f"{expected} should follow"
            )
        else:
            what = f"no JSON document from byte {byte:,} of its text on, line {line:,}: {expected} should stand there"
        return InputError(f"{self._name}: {what}: repair the file and send it again")

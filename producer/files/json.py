"""JSON documents: the exact bytes of an array's elements, without parsing the document or holding it in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Literal

from producer.files.batches import Block, PartialRecord, Payload
from store.errors import ConfigError, InputError
from worker.queue.message import Opaque

Shape = Literal["array", "object", "lines", "empty"]

_WHITESPACE = b" \t\n\r\v\f"
_BLOCK_RECORDS, _BLOCK_BYTES = 1000, 1 << 20
_SHOWN_KEYS = 10
_NESTING = 5
_END, _QUOTE, _BACKSLASH, _NEWLINE, _COLON = -1, ord('"'), ord("\\"), ord("\n"), ord(":")
_OPENERS, _CLOSERS = b"[{", b"]}"

# A string ends on its line: JSON allows no raw newline in one, and so a missing quote spoils one line at most.
_CHARACTERS = rb'(?:[^"\\\n]++|\\[^\n])*+'
_INSIDE = rb'[^"\[\]{}]++|"%b"' % _CHARACTERS


def _balanced(levels: int) -> bytes:
    """A pattern for a bracketed value of up to so many levels; it does not match kinds of brackets."""
    deeper = b"|" + _balanced(levels - 1) if levels > 1 else b""
    return rb"[\[{](?:%b%b)*+[\]}]" % (_INSIDE, deeper)


_SPACE = re.compile(rb"\s*+")
_BETWEEN = re.compile(rb"[\s,]*+")
_IN_STRING = re.compile(_CHARACTERS)
_IN_BRACKETS = re.compile(rb"(?:%b)*+" % _INSIDE)
_IN_SCALAR = re.compile(rb'(?:[^"\[\]{},]++|"%b")*+' % _CHARACTERS)
# An ordinary element in one step. A deeper one is read bracket by bracket.
_ELEMENT = re.compile(rb"[\s,]*+(%b)" % _balanced(_NESTING))


class Cursor:
    """A position in a stream of chunks; it collects the bytes that it passes after `begin_record`."""

    def __init__(self, chunks: Iterable[bytes], *, line: int, limit: int) -> None:
        self._chunks = iter(chunks)
        self._line, self._counted = line, 0
        self._limit = limit
        self._record = PartialRecord(limit, _WHITESPACE)
        self._start: int | None = None  # of the record, in `data`; None outside one
        self.data, self.pos = b"", 0

    def more(self) -> bool:
        """Step to the next chunk; false at the end of the file."""
        if self._start is not None:
            self._record.add(self.data[self._start :])
            self._start = 0
        self._line += self.data.count(b"\n", self._counted)
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
                return _END

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
            return self._bounded(last)
        self._record.add(last)
        payload = self._record.take()
        return payload if isinstance(payload, Opaque) else self._bounded(payload)

    def _bounded(self, record: bytes) -> Payload:
        record = record.rstrip(_WHITESPACE)
        return Opaque.head_of(record) if len(record) > self._limit else record


def shape_of(chunks: Iterator[bytes], limit: int) -> tuple[Shape, Iterator[bytes], int]:
    """The shape of a .json file, its chunks from the first byte that is not blank, and that byte's line."""
    line = 1
    for chunk in chunks:
        start = chunk.lstrip(_WHITESPACE)
        line += chunk.count(b"\n", 0, len(chunk) - len(start))
        if start:
            break
    else:
        return "empty", iter(()), line
    if start[:1] == b"[":
        return "array", chain([start], chunks), line
    if start[:1] != b"{":
        return "lines", chain([start], chunks), line
    shape, head = _object_or_lines(start, chunks, limit)
    return shape, chain([head], chunks), line


def _object_or_lines(start: bytes, chunks: Iterator[bytes], limit: int) -> tuple[Shape, bytes]:
    """`lines` if the first line is a whole object and another follows; and all bytes read to decide it."""
    head = bytearray(start)
    end = start.find(b"\n")
    while end < 0 and len(head) <= limit and (chunk := next(chunks, b"")):
        found = chunk.find(b"\n")
        end = len(head) + found if found >= 0 else -1
        head += chunk
    if not 0 <= end <= limit or not _is_whole(bytes(head[:end])):
        return "object", bytes(head)
    follows = bool(head[end:].strip(_WHITESPACE))
    while not follows and (chunk := next(chunks, b"")):
        head += chunk
        # More blank space than this must not fill the memory, and what follows it no longer matters.
        follows = bool(chunk.strip(_WHITESPACE)) or len(head) > end + limit
    return ("lines" if follows or len(head) > end + limit else "object"), bytes(head)


def _is_whole(line: bytes) -> bool:
    cursor = Cursor([line], line=1, limit=len(line))
    return _pass_value(cursor) and cursor.run(_SPACE) == _END


def whole_document(chunks: Iterable[bytes], line: int, limit: int) -> Iterator[Block]:
    """The document as its one record."""
    yield from _rest(Cursor(chunks, line=line, limit=limit))


def array_elements(chunks: Iterable[bytes], line: int, limit: int) -> Iterator[Block]:
    """The elements of a document that is an array; text after the array is one more record."""
    cursor = Cursor(chunks, line=line, limit=limit)
    cursor.run(_SPACE)
    cursor.pos += 1
    yield from _elements(cursor)
    yield from _rest(cursor)


def elements_at(
    path: list[str], chunks: Iterable[bytes], *, line: int, limit: int, name: str
) -> Iterator[Block]:
    """The elements of the array at a path of keys; everything else is skipped.

    Raises InputError if there is no array at that path.
    """
    cursor = Cursor(chunks, line=line, limit=limit)
    seen: list[str] = []
    where = ".".join(path)
    if not all(_enter(cursor, key, seen if depth == 0 else []) for depth, key in enumerate(path)):
        keys = ", ".join(map(repr, seen)) or "none"
        raise InputError(f"{name}: nothing at records path {where!r}; the document's own keys begin: {keys}")
    if cursor.run(_SPACE) != ord("["):
        keys = ", ".join(map(repr, seen))
        raise InputError(
            f"{name}: records path {where!r} is not an array (line {cursor.line()}); "
            f"give the path of one; the document's own keys begin: {keys}"
        )
    cursor.pos += 1
    yield from _elements(cursor)


def records_path(value: str) -> list[str]:
    """The keys of a dotted path. Raises ConfigError for one with an empty part."""
    keys = value.split(".")
    if not all(key.strip() for key in keys):
        raise ConfigError(f"records path {value!r} has an empty part; give keys and dots, as in data.items")
    return keys


def _elements(cursor: Cursor) -> Iterator[Block]:
    """Elements up to and past the closing bracket."""
    payloads: list[Payload] = []
    lines: list[int] = []
    size = 0
    scan = _Scan(cursor)
    try:
        while (found := scan.next()) is not None:
            lines.append(found[0])
            payloads.append(found[1])
            size += len(found[1])
            if len(payloads) >= _BLOCK_RECORDS or size >= _BLOCK_BYTES:
                yield Block(payloads, lines)
                payloads, lines, size = [], [], 0
    except InputError:
        # The rest of the file cannot be read: the elements before it are sent all the same.
        yield Block(payloads, lines)
        raise
    yield Block(payloads, lines)


class _Scan:
    """Gives one element after another."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._missing_quote = False

    def next(self) -> tuple[int, Payload] | None:
        """The next element and its line; None at the end of the array or the file."""
        cursor = self._cursor
        if found := _ELEMENT.match(cursor.data, cursor.pos):
            cursor.pos = found.start(1)
            cursor.begin_record()
            line = cursor.line()
            cursor.pos = found.end()
            return line, cursor.take()
        byte = cursor.run(_BETWEEN)
        if byte == _END:
            return None
        if byte in _CLOSERS and not self._closes_broken_element(byte):
            cursor.pos += 1
            return None
        line = cursor.line()
        cursor.begin_record()
        return line, self._element(byte)

    def _closes_broken_element(self, byte: int) -> bool:
        # A missing quote ended an element of several lines early: its closing brace is still to come.
        return self._missing_quote and byte == ord("}")

    def _element(self, byte: int) -> Payload:
        if byte in _CLOSERS:
            self._cursor.pos += 1
            return self._cursor.take()
        whole = _pass_value(self._cursor)
        payload = self._cursor.take()
        if whole or self._cursor.ended or isinstance(payload, Opaque):
            return payload
        self._missing_quote = True
        return payload.removesuffix(b",").rstrip(_WHITESPACE)


def _pass_value(cursor: Cursor) -> bool:
    """Pass one value; false if a string in it is not closed on its line."""
    depth = 0
    while (byte := cursor.run(_IN_BRACKETS if depth else _IN_SCALAR)) != _END:
        if byte == _QUOTE:
            if not cursor.string():
                return False
        elif byte in _OPENERS:
            depth += 1
            cursor.pos += 1
        elif byte in _CLOSERS and depth:
            depth -= 1
            cursor.pos += 1
            if not depth:
                return True
        else:
            return True
    return depth == 0


def _enter(cursor: Cursor, wanted: str, seen: list[str]) -> bool:
    """Go to the value of a key of the object at the cursor; adds the first keys it meets to `seen`."""
    if cursor.run(_SPACE) != ord("{"):
        return False
    cursor.pos += 1
    while cursor.run(_BETWEEN) == _QUOTE:
        key = _key(cursor)
        if len(seen) < _SHOWN_KEYS:
            seen.append(key)
        if cursor.run(_SPACE) != _COLON:
            return False
        cursor.pos += 1
        cursor.run(_SPACE)
        if key == wanted:
            return True
        _pass_value(cursor)
    return False


def _key(cursor: Cursor) -> str:
    cursor.begin_record()
    cursor.string()
    raw = cursor.take()
    text = raw.content if isinstance(raw, Opaque) else raw
    try:
        return str(json.loads(text))
    except ValueError:
        return text.decode("utf-8", "replace")


def _rest(cursor: Cursor) -> Iterator[Block]:
    """The rest of the file as one record; nothing if it is blank."""
    if cursor.run(_SPACE) == _END:
        return
    line = cursor.line()
    cursor.begin_record()
    while cursor.more():
        pass
    yield Block([cursor.take()], [line])

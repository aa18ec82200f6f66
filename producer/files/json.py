"""JSON documents: the exact bytes of an array's elements, found without parsing or holding the document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Literal

from producer.files.batches import Block, Gathering, Oversize, Payload
from store.errors import ConfigError, InputError

Shape = Literal["array", "object", "lines", "empty"]

_WHITESPACE = b" \t\n\r\v\f"
_BLOCK_RECORDS, _BLOCK_BYTES = 1000, 1 << 20
_SHOWN_KEYS = 10
_NESTING = 5
_END, _QUOTE, _BACKSLASH, _NEWLINE, _COLON = -1, ord('"'), ord("\\"), ord("\n"), ord(":")
_OPENERS, _CLOSERS = b"[{", b"]}"

# A string ends on its line: a raw newline is not allowed in JSON, and limits what a lost quote can swallow.
_CHARACTERS = rb'(?:[^"\\\n]++|\\[^\n])*+'
_INSIDE = rb'[^"\[\]{}]++|"%b"' % _CHARACTERS


def _balanced(levels: int) -> bytes:
    """A pattern for a bracketed value of so many levels; which bracket closes which is not looked at."""
    deeper = b"|" + _balanced(levels - 1) if levels > 1 else b""
    return rb"[\[{](?:%b%b)*+[\]}]" % (_INSIDE, deeper)


_SPACE = re.compile(rb"\s*+")
_BETWEEN = re.compile(rb"[\s,]*+")
_IN_STRING = re.compile(_CHARACTERS)
_IN_BRACKETS = re.compile(rb"(?:%b)*+" % _INSIDE)
_IN_SCALAR = re.compile(rb'(?:[^"\[\]{},]++|"%b")*+' % _CHARACTERS)
# The ordinary element, in one step: any number of levels is followed too, but bracket by bracket.
_ELEMENT = re.compile(rb"[\s,]*+(%b)" % _balanced(_NESTING))


class Cursor:
    """A place in a stream of chunks; from `mark` on, what it passes is gathered."""

    def __init__(self, chunks: Iterable[bytes], *, line: int, limit: int) -> None:
        self._chunks = iter(chunks)
        self._line, self._counted = line, 0
        self._limit = limit
        self._gathering = Gathering(limit, _WHITESPACE)
        self._mark: int | None = None
        self.data, self.pos = b"", 0

    def more(self) -> bool:
        """Step to the next chunk; false at the end of the file."""
        if self._mark is not None:
            self._gathering.add(self.data[self._mark :])
            self._mark = 0
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

    def mark(self) -> None:
        self._mark = self.pos

    def take(self) -> Payload:
        """The bytes since the mark, without whitespace at their end."""
        last = self.data[self._mark : self.pos]
        self._mark = None
        if not self._gathering.size:
            return self._bounded(last)
        self._gathering.add(last)
        payload = self._gathering.take()
        return payload if isinstance(payload, Oversize) else self._bounded(payload)

    def _bounded(self, record: bytes) -> Payload:
        record = record.rstrip(_WHITESPACE)
        return Oversize.of(record) if len(record) > self._limit else record


def shape_of(chunks: Iterator[bytes], limit: int) -> tuple[Shape, Iterator[bytes], int]:
    """What a .json file holds, its chunks from the first byte that is no space on, and that byte's line."""
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
    """Lines, if the first is an object by itself and others follow; with all that was read to tell."""
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
        # After that much blank space it makes no difference, and it must not all be held.
        follows = bool(chunk.strip(_WHITESPACE)) or len(head) > end + limit
    return ("lines" if follows or len(head) > end + limit else "object"), bytes(head)


def _is_whole(line: bytes) -> bool:
    cursor = Cursor([line], line=1, limit=len(line))
    return _pass_value(cursor) and cursor.run(_SPACE) == _END


def whole_document(chunks: Iterable[bytes], line: int, limit: int) -> Iterator[Block]:
    """The document as its one record."""
    yield from _rest(Cursor(chunks, line=line, limit=limit))


def array_elements(chunks: Iterable[bytes], line: int, limit: int) -> Iterator[Block]:
    """The elements of a document that is an array; what stands behind it is a record too."""
    cursor = Cursor(chunks, line=line, limit=limit)
    cursor.run(_SPACE)
    cursor.pos += 1
    yield from _elements(cursor)
    yield from _rest(cursor)


def elements_at(
    path: list[str], chunks: Iterable[bytes], *, line: int, limit: int, name: str
) -> Iterator[Block]:
    """The elements of the array at a path of keys; everything else is passed over.

    Raises InputError if there is no array there.
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
        # The file cannot be read further: what was read before goes out first.
        yield Block(payloads, lines)
        raise
    yield Block(payloads, lines)


class _Scan:
    """One element after the other."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._lost_quote = False

    def next(self) -> tuple[int, Payload] | None:
        """The next element and its line; nothing at the end of the array or the file."""
        cursor = self._cursor
        if found := _ELEMENT.match(cursor.data, cursor.pos):
            cursor.pos = found.start(1)
            cursor.mark()
            line = cursor.line()
            cursor.pos = found.end()
            return line, cursor.take()
        byte = cursor.run(_BETWEEN)
        if byte == _END:
            return None
        if byte in _CLOSERS and not self._is_debris(byte):
            cursor.pos += 1
            return None
        line = cursor.line()
        cursor.mark()
        return line, self._element(byte)

    def _is_debris(self, byte: int) -> bool:
        # Where a lost quote ended an element of several lines early, its own brace is still to come.
        return self._lost_quote and byte == ord("}")

    def _element(self, byte: int) -> Payload:
        if byte in _CLOSERS:
            self._cursor.pos += 1
            return self._cursor.take()
        whole = _pass_value(self._cursor)
        payload = self._cursor.take()
        if whole or self._cursor.ended or isinstance(payload, Oversize):
            return payload
        self._lost_quote = True
        return payload.removesuffix(b",").rstrip(_WHITESPACE)


def _pass_value(cursor: Cursor) -> bool:
    """Pass one value; false if it ends early, at the end of a line within a string."""
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
    """Go to the value of a key of the object at the cursor; notes the first keys it sees."""
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
    cursor.mark()
    cursor.string()
    raw = cursor.take()
    text = raw.head if isinstance(raw, Oversize) else raw
    try:
        return str(json.loads(text))
    except ValueError:
        return text.decode("utf-8", "replace")


def _rest(cursor: Cursor) -> Iterator[Block]:
    """All that is left, as one record if there is any."""
    if cursor.run(_SPACE) == _END:
        return
    line = cursor.line()
    cursor.mark()
    while cursor.more():
        pass
    yield Block([cursor.take()], [line])

"""JSON documents, one after another: the exact bytes of their records, without holding a document in memory.

Of a document every byte is accounted for. What stands around the records is held to JSON's grammar, and the first byte
that breaks it is an error, after the records before it. What stands within a record is left to the worker.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

from producer.files.batches import Block, Payload
from producer.files.cursor import CHARACTERS, END, SPACE, WHITESPACE, Cursor
from producer.files.json_values import (
    ARRAY,
    ARRAY_END,
    COMMA,
    NESTING,
    OBJECT,
    OBJECT_END,
    OPENERS,
    QUOTE,
    balanced,
    closes,
    pass_key,
    pass_value,
    skip_value,
    take_value,
)
from store.errors import ConfigError, InputError
from worker.queue.message import Opaque

_BLOCK_RECORDS, _BLOCK_BYTES = 1000, 1 << 20
_SHOWN_KEYS = 10
_BETWEEN_DOCUMENTS = re.compile(rb"[ \t\n\r\x1e]*+")  # RFC 7464 has a record separator before each
_SEPARATOR = 0x1E
_TO_SEPARATOR = re.compile(rb"[^\x1e]*+")
_BETWEEN_PIECES = re.compile(rb"[ \t\n\r,]*+")
_IN_PIECE = re.compile(rb'(?:[^"\[\]{},]++|"%b")*+' % CHARACTERS)
# What is ordinary, in one step. What is deeper is read bracket by bracket.
_ELEMENT = re.compile(rb"[ \t\n\r]*+(%b)[ \t\n\r]*+[,\]]" % balanced(NESTING))

Records = Iterator[tuple[int, Payload]]  # with the line each begins on


def documents(cursor: Cursor, path: list[str] | None, name: str) -> Iterator[Block]:
    """The records of all documents: the elements of an array, at a path of keys where one is given; else the document.

    Raises InputError where a document is none, or has no array at that path; the records before it are given first.
    """
    payloads: list[Payload] = []
    lines: list[int] = []
    size = 0
    try:
        for line, payload in _records(cursor, path, name):
            lines.append(line)
            payloads.append(payload)
            size += len(payload)
            if len(payloads) >= _BLOCK_RECORDS or size >= _BLOCK_BYTES:
                yield Block(payloads, lines)
                payloads, lines, size = [], [], 0
    except InputError:
        yield Block(payloads, lines)
        raise
    yield Block(payloads, lines)


def records_path(value: str) -> list[str]:
    """The keys of a dotted path. Raises ConfigError for one with an empty part."""
    keys = value.split(".")
    if not all(key.strip() for key in keys):
        raise ConfigError(f"records path {value!r} has an empty part; give keys and dots, as in data.items")
    return keys


def _records(cursor: Cursor, path: list[str] | None, name: str) -> Records:
    is_sequence = cursor.run(SPACE) == _SEPARATOR
    while (byte := cursor.run(_BETWEEN_DOCUMENTS)) != END:
        if path is not None:
            yield from _Document(cursor, path, name).records()
        elif byte == ARRAY:
            cursor.pos += 1
            yield from _elements(cursor)
        elif is_sequence:
            # No text holds a separator, so what is wrong with one text is wrong with that one alone.
            line = cursor.line()
            cursor.begin_record()
            cursor.run(_TO_SEPARATOR)
            yield line, cursor.take()
        else:
            line = cursor.line()
            if (payload := take_value(cursor, in_array=False)) is None:
                raise cursor.fault("the rest of a string")
            yield line, payload


def _elements(cursor: Cursor) -> Records:
    """The elements of an array, from behind its opening bracket to behind its closing one."""
    if cursor.run(SPACE) == ARRAY_END:
        cursor.pos += 1
        return
    while True:
        if found := _ELEMENT.match(cursor.data, cursor.pos):
            cursor.pos = found.start(1)
            line = cursor.line()
            cursor.pos = found.end()
            yield line, cursor.bounded(found[1])
            if cursor.data[cursor.pos - 1] == ARRAY_END:
                return
            continue
        cursor.run(SPACE)
        line = cursor.line()
        payload = take_value(cursor, in_array=True)
        if payload is None:
            yield line, _broken(cursor)
            if (yield from _after_broken(cursor)):
                return
            continue
        yield line, payload
        if closes(cursor, ARRAY_END):
            return


def _broken(cursor: Cursor) -> Payload:
    """The part of an element up to the end of the line on which a string in it is not closed."""
    payload = cursor.take()
    return payload if isinstance(payload, Opaque) else payload.removesuffix(b",").rstrip(WHITESPACE)


def _after_broken(cursor: Cursor) -> Generator[tuple[int, Payload], None, bool]:
    """The pieces of a broken element, which the worker rejects, and one whole element; true if the array ends there.

    Only here may commas be missing, and closing braces stand alone.
    """
    while (byte := cursor.run(_BETWEEN_PIECES)) != END:
        line = cursor.line()
        if byte == ARRAY_END:
            cursor.pos += 1
            return True
        cursor.begin_record()
        if byte == OBJECT_END:
            cursor.pos += 1
        elif not (pass_value(cursor) if byte in OPENERS else _pass_piece(cursor)):
            if cursor.ended:
                break
            yield line, _broken(cursor)
            continue
        yield line, cursor.take()
        if byte in OPENERS and cursor.run(SPACE) in (COMMA, ARRAY_END):
            return closes(cursor, ARRAY_END)
    raise cursor.fault("the rest of an array")


def _pass_piece(cursor: Cursor) -> bool:
    """Pass what is between two commas or brackets; false as in `pass_value`."""
    while (byte := cursor.run(_IN_PIECE)) != END:
        if byte == QUOTE:
            if not cursor.string():
                return False
        elif byte in OPENERS:
            return pass_value(cursor)
        else:
            return True
    return False


class _Document:
    """A document with the array of records at a path of keys."""

    def __init__(self, cursor: Cursor, path: list[str], name: str) -> None:
        self._cursor, self._path, self._name = cursor, path, name
        self._where = ".".join(path)
        self._keys: list[str] = []  # the document's own, as far as they are shown
        self._is_found = False

    def records(self) -> Records:
        """The records; everything else is held to the grammar and skipped, up to the document's last byte."""
        if self._cursor.data[self._cursor.pos] == ARRAY:
            raise InputError(
                f"{self._name}: records path {self._where!r} is given, but the document itself is an array "
                f"(line {self._cursor.line()}); leave the path out"
            )
        yield from self._value_at(0)
        if not self._is_found:
            keys = ", ".join(map(repr, self._keys)) or "none"
            raise InputError(
                f"{self._name}: nothing at records path {self._where!r} in the document that ends on line "
                f"{self._cursor.line()}; the document's own keys begin: {keys}"
            )

    def _value_at(self, depth: int) -> Records:
        """The records in the value that so many keys of the path lead to."""
        cursor = self._cursor
        byte = cursor.run(SPACE)
        if depth < len(self._path):
            if byte != OBJECT:
                skip_value(cursor)
                return
            yield from self._members(depth)
            return
        if byte == END:
            raise cursor.fault("an array")
        if byte != ARRAY:
            keys = ", ".join(map(repr, self._keys))
            raise InputError(
                f"{self._name}: records path {self._where!r} is not an array (line {cursor.line()}); "
                f"give the path of one; the document's own keys begin: {keys}"
            )
        cursor.pos += 1
        self._is_found = True
        yield from _elements(cursor)

    def _members(self, depth: int) -> Records:
        cursor, wanted, is_met = self._cursor, self._path[depth], False
        cursor.pos += 1
        if cursor.run(SPACE) == OBJECT_END:
            cursor.pos += 1
            return
        while True:
            cursor.run(SPACE)
            start = cursor.position()
            key = pass_key(cursor)
            if depth == 0 and len(self._keys) < _SHOWN_KEYS:
                self._keys.append(key)
            if key != wanted:
                skip_value(cursor)
            elif is_met:
                raise cursor.fault(f"another key than {wanted!r}, which the object has already,", start)
            else:
                is_met = True
                yield from self._value_at(depth + 1)
            if closes(cursor, OBJECT_END):
                return

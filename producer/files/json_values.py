"""Values of JSON text at a cursor: taken as their bytes, or skipped."""

from __future__ import annotations

import json
import re

from producer.files.batches import Payload
from producer.files.cursor import CHARACTERS, END, SPACE, Cursor
from worker.queue.message import Opaque

OPENERS = b"[{"
QUOTE, COLON, COMMA = ord('"'), ord(":"), ord(",")
OBJECT, OBJECT_END, ARRAY, ARRAY_END = ord("{"), ord("}"), ord("["), ord("]")
NESTING = 5  # brackets in brackets that are read in one step; what is deeper is read bracket by bracket
_DEEPEST = 100_000  # of what is skipped: its open brackets are held in memory

_INSIDE = rb'[^"\[\]{}]++|"%b"' % CHARACTERS


def balanced(levels: int) -> bytes:
    """A pattern for a bracketed value of up to so many levels; it does not match kinds of brackets."""
    deeper = b"|" + balanced(levels - 1) if levels > 1 else b""
    return rb"[\[{](?:%b%b)*+[\]}]" % (_INSIDE, deeper)


_LITERAL = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+|true|false|null"


def _grammatical(levels: int) -> bytes:
    """A pattern for a bracketed value of up to so many levels, by JSON's grammar."""
    string = rb'"%b"' % CHARACTERS
    deeper = b"|" + _grammatical(levels - 1) if levels > 1 else b""
    value = rb"(?:%b|(?:%b)(?=[ \t\n\r,\]}])%b)" % (string, _LITERAL, deeper)
    space = rb"[ \t\n\r]*+"
    next_one = rb"%b(?:,(?!%b[\]}])|(?=[\]}]))" % (space, space)
    members = rb"(?:%b%b%b:%b%b%b)*+%b" % (space, string, space, space, value, next_one, space)
    elements = rb"(?:%b%b%b)*+%b" % (space, value, next_one, space)
    return rb"(?:\{%b\}|\[%b\])" % (members, elements)


_IN_BRACKETS = re.compile(rb"(?:%b)*+" % _INSIDE)
_IN_LITERAL = re.compile(rb'[^ \t\n\r,:"\[\]{}\x1e]*+')
_IS_LITERAL = re.compile(_LITERAL + rb"|NaN|-?Infinity")  # some write these: the worker has a word for them
_WORD = re.compile(rb"[-+.0-9A-Za-z][^ ]*+")
_VALUE = re.compile(balanced(NESTING))
_SKIPPED = re.compile(_grammatical(3))


def take_value(cursor: Cursor, *, in_array: bool) -> Payload | None:
    """A value as its bytes; None, with the record still open, where a string in it is not closed on its line.

    In an array a word that is no value is taken too, for the worker to reject: where it ends is beyond doubt.
    Raises InputError where no value begins, or the file ends within it.
    """
    if found := _VALUE.match(cursor.data, cursor.pos):
        cursor.pos = found.end()
        return cursor.bounded(found[0])
    byte = cursor.run(SPACE)
    if byte == END:
        raise cursor.fault("a value")
    start = cursor.position()
    cursor.begin_record()
    if byte == QUOTE or byte in OPENERS:
        if pass_value(cursor):
            return cursor.take()
        if cursor.ended:
            raise cursor.fault("the rest of a record")
        return None
    cursor.run(_IN_LITERAL)
    word = cursor.take()
    if in_array and cursor.ended:  # more of it may have followed
        raise cursor.fault("the rest of an array")
    if in_array and (isinstance(word, Opaque) or _WORD.fullmatch(word)):
        return word
    if not isinstance(word, Opaque) and _IS_LITERAL.fullmatch(word):
        return word
    raise cursor.fault("a value", start)


def pass_value(cursor: Cursor) -> bool:
    """Pass a string or a bracketed value; false if a string in it is not closed on its line, or the file ends."""
    depth = 0
    while (byte := cursor.run(_IN_BRACKETS if depth else SPACE)) != END:
        if byte == QUOTE:
            if not cursor.string():
                return False
        else:
            depth += 1 if byte in OPENERS else -1
            cursor.pos += 1
        if not depth:
            return True
    return False


def closes(cursor: Cursor, bracket: int) -> bool:
    """Pass the comma or the closing bracket behind a value; true for the bracket."""
    byte = cursor.run(SPACE)
    if byte not in (COMMA, bracket):
        raise cursor.fault(f"',' or '{chr(bracket)}'")
    cursor.pos += 1
    return byte == bracket


def pass_key(cursor: Cursor) -> str:
    """Pass a key and its colon."""
    if cursor.run(SPACE) != QUOTE:
        raise cursor.fault("a key in quotes")
    cursor.begin_record()
    if not cursor.string():
        raise cursor.fault("the rest of a key")
    raw = cursor.take()
    if cursor.run(SPACE) != COLON:
        raise cursor.fault("':'")
    cursor.pos += 1
    text = raw.content if isinstance(raw, Opaque) else raw
    try:
        return str(json.loads(text))
    except ValueError:
        return text.decode("utf-8", "replace")


def skip_value(cursor: Cursor) -> None:
    """Pass one value, held to JSON's grammar. Raises InputError where it breaks it."""
    opened = bytearray()
    while True:
        byte = cursor.run(SPACE)
        if byte == END:
            raise cursor.fault("a value")
        if byte not in OPENERS:
            _skip_simple(cursor, byte)
        elif found := _SKIPPED.match(cursor.data, cursor.pos):
            cursor.pos = found.end()
        else:
            closing = byte + 2  # in ASCII
            cursor.pos += 1
            if cursor.run(SPACE) == closing:
                cursor.pos += 1
            elif len(opened) == _DEEPEST:
                raise cursor.fault(f"no more than {_DEEPEST:,} open brackets")
            else:
                opened.append(closing)
                if closing == OBJECT_END:
                    pass_key(cursor)
                continue
        while opened and closes(cursor, opened[-1]):
            opened.pop()
        if not opened:
            return
        if opened[-1] == OBJECT_END:
            pass_key(cursor)


def _skip_simple(cursor: Cursor, byte: int) -> None:
    """Pass a string, a number or a word."""
    if byte == QUOTE:
        if not cursor.string():
            raise cursor.fault("the rest of a string")
        return
    start = cursor.position()
    cursor.begin_record()
    cursor.run(_IN_LITERAL)
    literal = cursor.take()
    if isinstance(literal, Opaque) or not _IS_LITERAL.fullmatch(literal):
        raise cursor.fault("a value", None if cursor.ended else start)

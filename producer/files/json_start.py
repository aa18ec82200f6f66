"""The shape of a file of JSON: documents, or one record a line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from producer.files.batches import Block
from producer.files.cursor import END, SPACE, WHITESPACE, Cursor
from producer.files.json_values import COMMA, pass_value
from store.errors import InputError

_STARTS = b"[{\x1e"  # RFC 7464 has a record separator before each document
# Whether the line behind a whole object is more than a bracket that a document of several lines begins with.
_LONE_BRACKET = re.compile(rb"[ \t\n\r]*+[\[{][ \t\r]*+\n")
_MORE = re.compile(rb"[ \t\n\r]*+(?:[^ \t\n\r\[{]|[\[{][ \t\r]*+[^ \t\r\n])")


@dataclass(frozen=True, slots=True)
class Start:
    """How a file of JSON begins."""

    shape: Literal["documents", "lines"]
    chunks: Iterator[bytes]  # from the first byte that is not blank
    line: int  # of that byte, from 1
    offset: int  # bytes of the text before it


def start_of(chunks: Iterator[bytes], limit: int, name: str) -> Start:
    """The shape of a file and its chunks. Raises InputError for a file that holds nothing, or objects and commas."""
    line, offset = 1, 0
    for chunk in chunks:
        head = chunk.lstrip(WHITESPACE)
        line += chunk.count(b"\n", 0, len(chunk) - len(head))
        offset += len(chunk) - len(head)
        if head:
            break
    else:
        raise InputError(
            f"{name}: is empty, and no JSON document is: a document without records is []; check how the file "
            "was made, or give --format ndjson; nothing of it was sent"
        )
    if head[0] not in _STARTS:
        return Start("lines", chain([head], chunks), line, offset)
    shape: Literal["documents", "lines"] = "documents"
    if head[:1] == b"{":
        shape, head = _object_or_lines(head, chunks, limit, name)
    return Start(shape, chain([head], chunks), line, offset)


def one_a_line(blocks: Iterable[Block], name: str) -> Iterator[Block]:
    """Records of one line each. Raises InputError where a line is a bracket alone: what follows may be within it."""
    for block in blocks:
        found = [block.payloads.index(bracket) for bracket in (b"{", b"[") if bracket in block.payloads]
        if not found:
            yield block
            continue
        first = min(found)
        yield Block(block.payloads[:first], block.lines[:first])
        raise InputError(
            f"{name}: a document of several lines begins on line {block.lines[first]:,}, and every line before it is "
            "a record of its own: write all of them in one way, and send the file again"
        )


def _object_or_lines(
    start: bytes, chunks: Iterator[bytes], limit: int, name: str
) -> tuple[Literal["documents", "lines"], bytes]:
    """`lines` if the first line is a whole object and another follows; and all bytes read to decide it."""
    head = bytearray(start)
    end = start.find(b"\n")
    while end < 0 and len(head) <= limit and (chunk := next(chunks, b"")):
        found = chunk.find(b"\n")
        end = len(head) + found if found >= 0 else -1
        head += chunk
    behind = _behind_object(bytes(head[:end] if end >= 0 else head), name)
    if behind == COMMA:
        raise InputError(
            f"{name}: objects with commas between them are no JSON document; put [ before the first and ] behind "
            "the last, or leave the commas out; nothing of it was sent"
        )
    if not 0 <= end <= limit or behind != END:
        return "documents", bytes(head)
    # More blank space than the limit must not fill the memory, and what follows it no longer matters.
    while len(head) <= end + limit:
        if _LONE_BRACKET.match(head, end):
            return "documents", bytes(head)
        if _MORE.match(head, end):
            return "lines", bytes(head)
        if not (chunk := next(chunks, b"")):
            return "documents", bytes(head)
        head += chunk
    return "lines", bytes(head)


def _behind_object(line: bytes, name: str) -> int | None:
    """The byte behind the object that a line begins with, END for none; None if the line does not hold it whole."""
    cursor = Cursor([line], name=name, line=1, offset=0, limit=len(line))
    cursor.run(SPACE)
    return cursor.run(SPACE) if pass_value(cursor) else None

"""gzip data to its text, as far as the data is whole."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

GZIP_MAGIC = b"\x1f\x8b"
_INPUT_BYTES = 1 << 16
_GZIP_FORMAT = 31  # zlib's number for gzip's header and checksum


class TrailingBytes(Exception):
    """Something else follows the last whole member."""

    def __init__(self, position: int) -> None:
        super().__init__(f"not gzip data from byte {position} on")
        self.position = position  # of the first of these bytes, from 0


def gunzip(stream: io.BufferedReader, most: int) -> Iterator[bytes]:
    """The text of all members, in pieces of at most `most` bytes. Zeros after a member are padding.

    Raises EOFError for data that is cut short, zlib.error for damaged data, and TrailingBytes after all text.
    """
    held, read = b"", 0  # bytes not used yet; how many were read
    while True:
        while len(held) < len(GZIP_MAGIC) and (more := stream.read1(_INPUT_BYTES)):
            held, read = (held + more).lstrip(b"\0"), read + len(more)
        if not held:
            return
        if not GZIP_MAGIC.startswith(held[: len(GZIP_MAGIC)]):
            raise TrailingBytes(read - len(held))
        member = zlib.decompressobj(_GZIP_FORMAT)
        is_full = False  # whether zlib may hold more text than it was allowed to give
        while not member.eof:
            if not held and not is_full:
                if not (held := stream.read1(_INPUT_BYTES)):
                    raise EOFError("it ends too early")
                read += len(held)
            before = member.copy()
            try:
                text = member.decompress(held, most)
            except zlib.error:
                yield from _before_damage(before, held)
                raise
            held, is_full = member.unconsumed_tail, len(text) == most
            if text:
                yield text
        held = member.unused_data.lstrip(b"\0")


def _before_damage(member: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """What zlib makes of data before it finds the damage: of one large piece it would give nothing."""
    for position in range(len(data)):
        try:
            text = member.decompress(data[position : position + 1])
        except zlib.error:
            return  # the caller raises it
        if text:
            yield text

"""Lines: NDJSON, and the pieces of a table whose quote is not closed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from producer.files.batches import Block, PartialRecord, line_block
from worker.queue.message import Opaque

WHITESPACE = b" \t\n\r\v\f"


def lines(
    chunks: Iterable[bytes], line: int, limit: int, blank: bytes = WHITESPACE, comment: bytes = b""
) -> Iterator[Block]:
    """Each line is a record; one of only `blank` bytes is none, nor one that begins with `comment`."""
    for region in _whole_lines(chunks, limit, blank):
        if isinstance(region, Opaque):
            if region.content and not (comment and region.content.startswith(comment)):
                yield Block([region], [line])
            line += 1
            continue
        found = region.split(b"\n")
        if b"\r" in region:
            found = [text.rstrip(b"\r") for text in found]
        yield line_block(found, line, limit, blank, comment)
        line += len(found)


def _whole_lines(chunks: Iterable[bytes], limit: int, blank: bytes) -> Iterator[bytes | Opaque]:
    """All whole lines of a chunk, joined by newlines; or one line beyond the limit."""
    begun = PartialRecord(limit, b"\r", blank)
    for chunk in chunks:
        start = 0
        last = chunk.rfind(b"\n")
        if begun.size and last >= 0:
            start = chunk.find(b"\n") + 1
            begun.add(chunk[: start - 1])
            yield begun.take()
        if last >= start:
            yield chunk[start:last]
        if last + 1 < len(chunk):
            begun.add(chunk[last + 1 :])
    if begun.size:
        yield begun.take()


def skipped(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """The chunks from behind so many lines on."""
    for chunk in chunks:
        start = 0
        while count and (start := chunk.find(b"\n", start) + 1):
            count -= 1
        if not count:
            if start < len(chunk):
                yield chunk[start:]
            break
    yield from chunks

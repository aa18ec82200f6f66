"""Text of any encoding as UTF-8, in constant memory; bytes that are no text in it are carried along, and given back.

A byte that does not decode becomes a character that no text has, so that its record is no UTF-8: it costs that record
alone. Before the record is sent, its own bytes are restored.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from itertools import chain

from producer.files.batches import Block, Payload
from worker.queue.message import Opaque

START_BYTES = 512
_CARRY = "sluice-carry"
_FIRST = 0xDC00  # of 256 surrogates, one for each byte: no text has any
_CARRIED = re.compile("([\udc00-\udcff]+)")
_CARRIED_BYTES = re.compile(rb"\xed[\xb0-\xb3]")
# Encodings whose byte order a mark tells -> the mark of the big-endian one. Without a mark they are little-endian.
_BOM_OF = {"utf-16": codecs.BOM_UTF16_BE, "utf-32": codecs.BOM_UTF32_BE}


class Transcoder:
    """One file's text, from its encoding to UTF-8."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self.start = b""  # the first bytes, as they were
        codecs.register_error(_CARRY, _carry)

    def utf_8(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The text; no piece is empty."""
        bom = _BOM_OF.get(self.encoding, b"")
        while len(self.start) < len(bom) and (piece := next(pieces, b"")):
            self.start += piece
        begun, self.start = self.start, self.start[:START_BYTES]
        decoder = codecs.getincrementaldecoder(self._codec())(_CARRY)
        for piece in chain([begun] if begun else [], pieces):
            if piece is not begun:
                self.start += piece[: START_BYTES - len(self.start)]
            if text := decoder.decode(piece):
                yield text.encode("utf-8", "surrogatepass")
        if text := decoder.decode(b"", final=True):
            yield text.encode("utf-8", "surrogatepass")

    def restored(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Records with bytes that do not decode as these bytes; a record beyond the size limit stays as it is."""
        for block in blocks:
            if any(map(_is_carrying, block.payloads)):
                yield Block([self._restored(each) for each in block.payloads], block.lines)
            else:
                yield block

    def _restored(self, record: Payload) -> Payload:
        if isinstance(record, Opaque) or not _is_carrying(record):
            return record
        parts = _CARRIED.split(record.decode("utf-8", "surrogatepass"))
        codec = self._codec()
        content = b"".join(
            bytes(ord(each) - _FIRST for each in part) if number % 2 else part.encode(codec)
            for number, part in enumerate(parts)
        )
        return Opaque(content, len(content), None)

    def _codec(self) -> str:
        """The encoding with its byte order."""
        bom = _BOM_OF.get(self.encoding)
        if bom is None:
            return self.encoding
        return f"{self.encoding}-{'be' if self.start.startswith(bom) else 'le'}"


def _is_carrying(record: Payload) -> bool:
    return not isinstance(record, Opaque) and _CARRIED_BYTES.search(record) is not None


def _carry(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(_FIRST + byte) for byte in error.object[error.start : error.end]), error.end

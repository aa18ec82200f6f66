"""The bytes of one input: opened once, looked at without losing a byte, hashed, counted, decompressed."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from producer.files.gunzip import GZIP_MAGIC, TrailingBytes, gunzip
from producer.files.transcoding import Transcoder
from store.csv_reader import UTF_8
from store.errors import InputError
from store.text import shown_path, without_login

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STDIN = "-"
HEAD_BYTES = 1 << 15  # what a look at an input sees, at most
_BOM = b"\xef\xbb\xbf"


class Source:
    """One input. Only a regular file is sought in and has a content beforehand: a pipe gives its bytes once."""

    def __init__(self, path: str, read_bytes: int, encoding: str = UTF_8, *, name: str | None = None) -> None:
        """Raises InputError for what cannot be opened; the errors of all methods are InputError too.

        `name` is what to call it, where that is not its path.
        """
        self.path = path
        self.name = "standard input" if path == STDIN else shown_path(name or path)
        self.fault: InputError | None = None  # behind the last byte, all bytes before it being whole
        self._owned = path != STDIN
        self._file = self._open() if self._owned else self._stdin()
        try:
            status = os.fstat(self._file.fileno()) if self._owned else None
            self._status = status if status and stat.S_ISREG(status.st_mode) else None
            self._raw = _Counted(self._file)
        except (OSError, ValueError) as error:
            self.close()
            raise self._unreadable(error) from error
        self.compressed = self._raw.is_gzip
        self.transcoder = None if encoding == UTF_8 else Transcoder(encoding)
        text = self._text(io.BufferedReader(self._raw), read_bytes)
        self._pieces = self._without_bom(self.transcoder.utf_8(text) if self.transcoder else text)
        self.head = b""  # what a look has seen
        self._peeked: list[bytes] = []
        self._broken: InputError | None = None  # met while peeking
        self._content: str | None = None

    def _open(self) -> io.BufferedReader:
        try:
            return Path(self.path).open("rb")
        except FileNotFoundError:
            raise InputError(missing(self.name)) from None
        except IsADirectoryError:
            raise InputError(f"{self.name}: is a directory; give the files in it") from None
        except PermissionError:
            raise InputError(f"{self.name}: permission denied; check its permissions") from None
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def _stdin(self) -> io.BufferedReader:
        if sys.stdin is None:
            raise InputError("standard input is closed; give a file")
        return cast("io.BufferedReader", sys.stdin.buffer)

    def _unreadable(self, error: Exception) -> InputError:
        reason = (isinstance(error, OSError) and error.strerror) or error
        return InputError(f"{self.name} cannot be read: {reason}; check the file")

    @property
    def size(self) -> int | None:
        """Bytes of a regular file; None for what has no length beforehand."""
        return self._status.st_size if self._status else None

    @property
    def bytes_read(self) -> int:
        """Bytes read so far; of compressed data, compressed bytes."""
        return self._raw.count

    def content(self) -> str | None:
        """The hash of a regular file's bytes, 32 hex digits; None for what can be read only once.

        From then on no byte is read that is not in the hash, though the file may grow.
        """
        if self._status and self._content is None:
            try:
                position = self._file.tell()
                self._file.seek(0)
                found = hashlib.file_digest(self._file, lambda: hashlib.blake2b(digest_size=16))
                self._raw.limit = self._file.tell()
                self._file.seek(position)
            except OSError as error:
                raise self._unreadable(error) from error
            self._content = found.hexdigest()
        return self._content

    def regular(self) -> io.BufferedReader:
        """The file itself, for what reads it here and there. Raises InputError for what can be read only once."""
        if self._status is None:
            raise InputError(
                f"{self.name}: a Parquet or Excel table is not read from its first byte to its last, as a pipe "
                "gives it: save it as a file, and send that; nothing of it was sent"
            )
        if self.compressed:
            raise InputError(
                f"{self.name}: is gzip data: decompress it, and send that; nothing of it was sent"
            )
        return self._file

    def refuse_changed(self) -> None:
        """Raises InputError where a file that is read here and there is no longer the one that was opened."""
        now = os.fstat(self._file.fileno())
        before = self._status
        if before and (now.st_mtime_ns, now.st_size) != (before.st_mtime_ns, before.st_size):
            raise self._changed()

    def peek(self, is_enough: Callable[[bytearray], bool] = lambda head: False) -> bytes:
        """The first bytes of the text, until they are enough, 32 KiB, or all; `chunks` gives them again."""
        head = bytearray(b"".join(self._peeked))
        while len(head) < HEAD_BYTES and not is_enough(head) and not self._broken:
            try:
                piece = next(self._pieces, b"")
            except InputError as error:
                self._broken = error
                break
            if not piece:
                break
            self._peeked.append(piece)
            head += piece
        self.head = bytes(head[:HEAD_BYTES])
        return self.head

    @property
    def start(self) -> bytes:
        """The first bytes that a look has seen, as they were before they became UTF-8."""
        return self.transcoder.start if self.transcoder else self.head

    def chunks(self) -> Iterator[bytes]:
        """Pieces of `read_bytes` each at most, as UTF-8 without a byte order mark.

        Raises InputError where the bytes end too early. What stands behind whole ones is `fault`, afterwards.
        """
        while self._peeked:
            yield self._peeked.pop(0)
        if self._broken:
            raise self._broken
        yield from self._pieces

    def _text(self, stream: io.BufferedReader, read_bytes: int) -> Iterator[bytes]:
        lines = 1
        pieces = (
            gunzip(stream, read_bytes) if self.compressed else iter(lambda: stream.read1(read_bytes), b"")
        )
        try:
            for piece in pieces:
                lines += piece.count(b"\n") if self.compressed else 0
                yield piece
        except TrailingBytes as error:
            self.fault = InputError(
                f"{self.name}: bytes that are not gzip data follow the gzip data, from byte {error.position + 1:,} "
                "on: they were not read; check how the file was made"
            )
            return
        except (EOFError, zlib.error) as error:
            doubt = "; what it gave before may be wrong too" if isinstance(error, zlib.error) else ""
            raise InputError(
                f"{self.name}: the gzip data is damaged or cut short at byte {self.bytes_read:,}, "
                f"line {lines:,} of its text ({error}){doubt}: repair the file and send it again"
            ) from error
        except OSError as error:
            raise InputError(
                f"{self.name}: cannot be read beyond byte {self.bytes_read:,} ({error}): "
                "repair the file and send it again"
            ) from error
        self._check_unchanged()

    def _check_unchanged(self) -> None:
        """Raises InputError where the file is no longer the one that was hashed. One that grew still begins with it."""
        if self._content is None or self._status is None:
            return
        now = os.fstat(self._file.fileno())
        is_other = now.st_mtime_ns != self._status.st_mtime_ns and now.st_size <= self._status.st_size
        if is_other or self._raw.count < (self._raw.limit or 0):
            raise self._changed()

    def _changed(self) -> InputError:
        return InputError(
            f"{self.name}: the file was changed while it was read, so records of two states of it may have "
            "been sent: send it again when nothing writes to it"
        )

    @staticmethod
    def _without_bom(pieces: Iterator[bytes]) -> Iterator[bytes]:
        start = b""
        for piece in pieces:
            start += piece
            if len(start) >= len(_BOM):
                break
        if start := start.removeprefix(_BOM):
            yield start
        yield from pieces

    def close(self) -> None:
        if self._owned:
            self._file.close()


class _Counted(io.RawIOBase):
    """A file, of which the first bytes are known; it counts the bytes that are read, and ends at its limit."""

    def __init__(self, file: io.BufferedReader) -> None:
        self.count = 0
        self.limit: int | None = None
        self._file = file
        self._put_back = b""
        # Not `read(2)`: with more in the buffer, the next read waits for more than a slow pipe has given.
        while len(self._put_back) < len(GZIP_MAGIC) and (piece := file.read1(io.DEFAULT_BUFFER_SIZE)):
            self._put_back += piece
        self.is_gzip = self._put_back.startswith(GZIP_MAGIC)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer)
        if self.limit is not None:
            target = target[: max(self.limit - self.count, 0)]
        if self._put_back:
            size = min(len(target), len(self._put_back))
            target[:size], self._put_back = self._put_back[:size], self._put_back[size:]
        else:
            size = self._file.readinto1(target) if len(target) else 0
        self.count += size
        return size


def missing(name: str) -> str:
    """What is said of a path that leads to no file."""
    advice = "`producer enqueue` loads addresses of http and https, and no others"
    return f"{without_login(name)}: no such file; {advice if '://' in name else 'check the path'}"

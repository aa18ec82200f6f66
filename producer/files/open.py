"""Record files, opened and split into raw records in constant memory; records are not validated here."""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, cast

from producer.files.batches import Block, PartialRecord, line_block
from producer.files.csv import CsvOptions, CsvRows
from producer.files.json import array_elements, elements_at, records_path, shape_of, whole_document
from store.errors import ConfigError, InputError
from worker.queue.message import Opaque

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Format = Literal["json", "ndjson", "csv"]

_FORMATS: dict[str, Format] = {
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".csv": "csv",
    ".tsv": "csv",
}
_READ_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"
_WHITESPACE = b" \t\n\r\v\f"


def open_records(
    path: str,
    *,
    format: str | None = None,
    records: str | None = None,
    max_record_bytes: int = 1 << 20,
    csv: CsvOptions = CsvOptions(),  # noqa: B008 - frozen: every caller may share it
) -> RecordFile:
    """Open a file of records, or standard input for "-".

    Raises InputError for a file that cannot be read in its format, ConfigError for a bad option.
    """
    name = "standard input" if path == "-" else path
    kind = _format(path, format)
    if records is not None and kind != "json":
        raise ConfigError(f"{name}: records path {records!r} is for JSON documents, not {kind}; leave it out")
    keys = None if records is None else records_path(records)
    if kind == "csv" and _suffix(path) == ".tsv" and csv.delimiter == ",":
        csv = CsvOptions("\t", csv.quotechar)
    source = _Source(path, name)
    try:
        return RecordFile(source, kind, keys, max_record_bytes, csv)
    except BaseException:
        source.close()
        raise


class RecordFile:
    """The raw records of one open file; they can be read once."""

    def __init__(
        self, source: _Source, kind: Format, keys: list[str] | None, limit: int, csv: CsvOptions
    ) -> None:
        self._source = source
        self.format: Format = kind
        self.csv = csv
        self.header: list[str] | None = None
        self.size = source.size
        chunks = source.chunks()
        if kind == "csv":
            rows = CsvRows(_whole_lines(chunks, limit, csv.blank), name=source.name, options=csv, limit=limit)
            self.header = rows.header
            self._blocks = rows.blocks()
        elif kind == "json":
            self._blocks = self._json(chunks, keys, limit)
        else:
            self._blocks = _lines(chunks, 1, limit)

    def _json(self, chunks: Iterator[bytes], keys: list[str] | None, limit: int) -> Iterator[Block]:
        shape, chunks, line = shape_of(chunks, limit)
        if shape == "empty":
            return iter(())
        if keys is not None:
            if shape == "array":
                raise InputError(
                    f"{self._source.name}: records path {'.'.join(keys)!r} is given, but the document itself "
                    "is an array; leave the path out"
                )
            return elements_at(keys, chunks, line=line, limit=limit, name=self._source.name)
        if shape == "array":
            return array_elements(chunks, line, limit)
        if shape == "object":
            return whole_document(chunks, line, limit)
        self.format = "ndjson"
        return _lines(chunks, line, limit)

    @property
    def wire_format(self) -> Literal["json", "csv"]:
        """The format in which a worker reads one payload."""
        return "csv" if self.format == "csv" else "json"

    @property
    def bytes_read(self) -> int:
        """Bytes of the file read so far; of a compressed one, compressed bytes."""
        return self._source.bytes_read

    def blocks(self) -> Iterator[Block]:
        """The records in their order; no block is empty."""
        return (block for block in self._blocks if block.payloads)

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _suffix(path: str) -> str:
    name = Path(path.lower())
    return Path(name.stem).suffix if name.suffix == ".gz" else name.suffix


def format_of(path: str) -> Format | None:
    """The format by a file's name; None if the name does not show it."""
    return "ndjson" if path == "-" else _FORMATS.get(_suffix(path))


def _format(path: str, given: str | None) -> Format:
    if given is not None:
        if given not in _FORMATS.values():
            raise ConfigError(f"format {given!r} is unknown; give --format json, ndjson or csv")
        return cast("Format", given)
    kind = format_of(path)
    if kind is None:
        raise InputError(
            f"{path}: the name does not show the format; give --format json, ndjson or csv "
            f"(known endings: {', '.join(_FORMATS)}, each also with .gz)"
        )
    return kind


def _lines(chunks: Iterator[bytes], line: int, limit: int) -> Iterator[Block]:
    """NDJSON: each line is a record."""
    for region in _whole_lines(chunks, limit):
        if isinstance(region, Opaque):
            if region.content:
                yield Block([region], [line])
            line += 1
            continue
        lines = region.split(b"\n")
        if b"\r" in region:
            lines = [text.rstrip(b"\r") for text in lines]
        yield line_block(lines, line, limit, _WHITESPACE)
        line += len(lines)


def _whole_lines(chunks: Iterator[bytes], limit: int, blank: bytes = _WHITESPACE) -> Iterator[bytes | Opaque]:
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


class _Source:
    """The bytes of one file: opened, counted, decompressed."""

    def __init__(self, path: str, name: str) -> None:
        self.name = name
        self._owned = path != "-"
        self._file = self._open(path) if self._owned else self._stdin()
        try:
            self.size = self._size() if self._owned else None
            self._raw = _Counted(self._file, self._file.read(len(_GZIP_MAGIC)))
        except (OSError, ValueError) as error:
            self.close()
            raise self._unreadable(error) from error
        self._compressed = self._raw.head == _GZIP_MAGIC
        self._stream: io.BufferedReader | gzip.GzipFile = io.BufferedReader(self._raw)
        if self._compressed:
            self._stream = gzip.GzipFile(fileobj=self._stream)

    def _open(self, path: str) -> io.BufferedReader:
        try:
            return Path(path).open("rb")
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; check the path") from None
        except IsADirectoryError:
            raise InputError(f"{path}: is a directory; give the files in it") from None
        except PermissionError:
            raise InputError(f"{path}: permission denied; check its permissions") from None
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def _stdin(self) -> io.BufferedReader:
        if sys.stdin is None:
            raise InputError("standard input is closed; give a file")
        return cast("io.BufferedReader", sys.stdin.buffer)

    def _size(self) -> int | None:
        status = os.fstat(self._file.fileno())
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def _unreadable(self, error: Exception) -> InputError:
        return InputError(f"{self.name!r} cannot be read: {error}; check the file")

    @property
    def bytes_read(self) -> int:
        return self._raw.count

    def chunks(self) -> Iterator[bytes]:
        """Pieces of at most 1 MiB each, without the byte order mark.

        Raises InputError if the file cannot be read to its end.
        """
        lines = 1
        try:
            start = b""
            while len(start) < len(_BOM) and (chunk := self._stream.read1(_READ_BYTES)):
                start += chunk
            if chunk := start.removeprefix(_BOM):
                yield chunk
            while start:
                lines += start.count(b"\n") if self._compressed else 0
                if start := self._stream.read1(_READ_BYTES):
                    yield start
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                f"{self.name}: the gzip data is damaged or cut short at byte {self.bytes_read:,}, "
                f"line {lines:,} of its text ({error}); the records before it were read: repair the file and "
                "send it again"
            ) from error
        except OSError as error:
            raise InputError(
                f"{self.name}: cannot be read beyond byte {self.bytes_read:,} ({error}); "
                "the records before it were read: repair the file and send it again"
            ) from error

    def close(self) -> None:
        if self._owned:
            self._file.close()


class _Counted(io.RawIOBase):
    """A file with its first bytes put back; it counts the bytes that are read."""

    def __init__(self, file: io.BufferedReader, head: bytes) -> None:
        self.head = head
        self.count = 0
        self._file = file
        self._put_back = head

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if self._put_back:
            target = memoryview(buffer)
            size = min(len(target), len(self._put_back))
            target[:size], self._put_back = self._put_back[:size], self._put_back[size:]
        else:
            size = self._file.readinto1(buffer)
        self.count += size
        return size

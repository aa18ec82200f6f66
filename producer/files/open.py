"""Record files, opened and split into raw records in constant memory; records are not validated here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal, Self, cast

from producer.files.batches import Block
from producer.files.csv import CsvRows
from producer.files.cursor import Cursor
from producer.files.head import refuse_other_kinds
from producer.files.json import documents, records_path
from producer.files.json_start import one_a_line, start_of
from producer.files.lines import lines
from producer.files.names import FORMATS, NOT_READ, Format, format_of, suffix_of
from producer.files.source import STDIN, Source
from store.csv_reader import Dialect
from store.errors import ConfigError, InputError
from store.text import shown_path

_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Reading:
    """How a file is to be read, as its name and the options say."""

    format: Format
    records: list[str] | None  # the keys on the way to the array
    dialect: Dialect
    is_delimiter_given: bool  # by an option or a setting

    @classmethod
    def of(
        cls,
        path: str,
        format: str | None = None,
        records: str | None = None,
        dialect: Dialect | None = None,
        *,
        is_delimiter_given: bool = False,
    ) -> Reading:
        """Raises InputError if the name does not show the format, ConfigError for a bad option."""
        kind = _format(path, format)
        if records is not None and kind != "json":
            raise ConfigError(
                f"{_named(path)}: records path {records!r} is for JSON documents, not {kind}; leave it out"
            )
        dialect = dialect or Dialect()
        if kind != "csv":
            dialect = Dialect(encoding=dialect.encoding)
        elif suffix_of(path) == ".tsv" and not is_delimiter_given:
            dialect = replace(dialect, delimiter="\t")
        return cls(kind, None if records is None else records_path(records), dialect, is_delimiter_given)


def open_records(
    path: str,
    *,
    format: str | None = None,
    records: str | None = None,
    max_record_bytes: int = 1 << 20,
    dialect: Dialect | None = None,
    is_delimiter_given: bool = False,
    check_head: bool = False,
) -> RecordFile:
    """Open a file of records, or standard input for "-".

    With `check_head` a file is refused that its first bytes show to be something else: see `producer/files/head.py`.
    Raises InputError for a file that cannot be read in its format, ConfigError for a bad option.
    """
    reading = Reading.of(path, format, records, dialect, is_delimiter_given=is_delimiter_given)
    source = Source(path, _READ_BYTES, reading.dialect.encoding)
    try:
        if check_head:
            refuse_other_kinds(source, reading.format, reading.dialect)
        return RecordFile(source, reading, max_record_bytes)
    except BaseException:
        source.close()
        raise


def _named(path: str) -> str:
    return "standard input" if path == STDIN else shown_path(path)


class RecordFile:
    """The raw records of one open file; they can be read once."""

    def __init__(self, source: Source, reading: Reading, limit: int) -> None:
        self._source = source
        self.path = source.path
        self.name = source.name
        self.format: Format = reading.format
        self.dialect = reading.dialect
        self.header: list[str] | None = None
        self.size = source.size
        chunks = source.chunks()
        if self.format == "csv":
            rows = CsvRows(
                chunks,
                name=source.name,
                dialect=reading.dialect,
                limit=limit,
                is_delimiter_given=reading.is_delimiter_given,
            )
            self.header, self.dialect = rows.header, rows.dialect
            self._blocks = rows.blocks()
        elif self.format == "json":
            self._blocks = self._json(chunks, reading.records, limit)
        else:
            self._blocks = lines(chunks, 1, limit)

    def _json(self, chunks: Iterator[bytes], keys: list[str] | None, limit: int) -> Iterator[Block]:
        name = self._source.name
        start = start_of(chunks, limit, name)
        if start.shape == "lines" and keys is None:
            self.format = "ndjson"
            return one_a_line(lines(start.chunks, start.line, limit), name)
        cursor = Cursor(start.chunks, name=name, line=start.line, offset=start.offset, limit=limit)
        return documents(cursor, keys, name)

    @property
    def wire_format(self) -> Literal["json", "csv"]:
        """The format in which a worker reads one payload."""
        return "csv" if self.format == "csv" else "json"

    @property
    def bytes_read(self) -> int:
        """Bytes of the file read so far; of a compressed one, compressed bytes."""
        return self._source.bytes_read

    def content(self) -> str | None:
        """The hash of a regular file's bytes; None for what can be read only once. Raises InputError."""
        return self._source.content()

    @property
    def head(self) -> bytes:
        """The first bytes of the text, as far as `check_head` looked."""
        return self._source.head

    def blocks(self) -> Iterator[Block]:
        """The records in their order; no block is empty.

        Raises InputError, after all whole records, if the file cannot be read to its end.
        """
        blocks = (block for block in self._blocks if block.payloads)
        transcoder = self._source.transcoder
        yield from transcoder.restored(blocks) if transcoder else blocks
        if self._source.fault:
            raise self._source.fault

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _format(path: str, given: str | None) -> Format:
    if given is not None:
        if given not in FORMATS.values():
            raise ConfigError(f"format {given!r} is unknown; give --format json, ndjson or csv")
        return cast("Format", given)
    kind = format_of(path)
    if kind is None and suffix_of(path) in NOT_READ:
        raise InputError(
            f"{_named(path)}: {suffix_of(path)} files are not read: unpack or export it, and send JSON, NDJSON or CSV, "
            "compressed with gzip or not"
        )
    if kind is None:
        raise InputError(
            f"{_named(path)}: the name does not show the format; give --format json, ndjson or csv "
            f"(known endings: {', '.join(FORMATS)}, each also with .gz)"
        )
    return kind

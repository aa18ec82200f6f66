"""Record files, opened and split into raw records in constant memory; records are not validated here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, Self, cast

from producer.files.batches import Block
from producer.files.csv import CsvRows
from producer.files.cursor import Cursor
from producer.files.head import refuse_other_kinds
from producer.files.json import documents, records_path
from producer.files.json_start import one_a_line, start_of
from producer.files.lines import lines
from producer.files.names import FORMATS, NOT_READ, TYPED, Format, format_of, suffix_of
from producer.files.source import STDIN, Source
from producer.files.typed.table import Table
from store.csv_reader import Dialect
from store.errors import ConfigError, InputError
from store.text import shown_path

_READ_BYTES = 1 << 20
_KNOWN = "json, ndjson, csv, parquet or xlsx"


@dataclass(frozen=True)
class Reading:
    """How a file is to be read, as its name and the options say."""

    format: Format
    records: list[str] | None  # the keys on the way to the array
    dialect: Dialect
    is_delimiter_given: bool  # by an option or a setting
    sheet: str | None = None
    skip_rows: int = 0  # of a workbook; that of text is in its dialect

    @classmethod
    def of(
        cls,
        path: str,
        format: str | None = None,
        records: str | None = None,
        dialect: Dialect | None = None,
        *,
        is_delimiter_given: bool = False,
        sheet: str | None = None,
    ) -> Reading:
        """Raises InputError if the name does not show the format, ConfigError for a bad option."""
        kind = _format(path, format)
        if records is not None and kind != "json":
            raise ConfigError(
                f"{_named(path)}: records path {records!r} is for JSON documents, not {kind}; leave it out"
            )
        dialect = dialect or Dialect()
        skip_rows = dialect.skip_rows if kind == "xlsx" else 0
        if kind in TYPED:
            dialect = Dialect()
        elif kind != "csv":
            dialect = Dialect(encoding=dialect.encoding)
        elif suffix_of(path) == ".tsv" and not is_delimiter_given:
            dialect = replace(dialect, delimiter="\t")
        keys = None if records is None else records_path(records)
        return cls(kind, keys, dialect, is_delimiter_given, sheet if kind == "xlsx" else None, skip_rows)


def open_records(
    path: str,
    *,
    max_record_bytes: int = 1 << 20,
    check_head: bool = False,
    name: str | None = None,
    **how: Any,
) -> RecordFile:
    """Open a file of records, or standard input for "-".

    `name` is what to call it, where that is not its path; `how` are the options of `Reading.of`. With `check_head` a
    file is refused that its first bytes show to be something else: see `producer/files/head.py`.
    Raises InputError for a file that cannot be read in its format, ConfigError for a bad option.
    """
    reading = Reading.of(path, **how)
    source = Source(path, _READ_BYTES, reading.dialect.encoding, name=name)
    try:
        if check_head and reading.format not in TYPED:
            refuse_other_kinds(source, reading.format, reading.dialect)
        return RecordFile(source, reading, max_record_bytes)
    except BaseException:
        source.close()
        raise


def _table(source: Source, reading: Reading, limit: int) -> Table:
    file = source.regular()
    # Their libraries are slow to import, and extras.
    if reading.format == "parquet":
        from producer.files.typed.parquet import ParquetRows

        return ParquetRows(file, name=source.name, limit=limit)
    from producer.files.typed.excel import ExcelRows

    return ExcelRows(file, name=source.name, limit=limit, sheet=reading.sheet, skip_rows=reading.skip_rows)


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
        self.header: list[str] | None = None  # of rows that travel without their names
        self.columns: list[str] | None = None
        self.size = source.size
        self._table: Table | None = None
        if self.format in TYPED:
            self._table = _table(source, reading, limit)
            self.columns = self._table.columns
            self._blocks = self._table.blocks()
            return
        chunks = source.chunks()
        if self.format == "csv":
            rows = CsvRows(
                chunks,
                name=source.name,
                dialect=reading.dialect,
                limit=limit,
                is_delimiter_given=reading.is_delimiter_given,
            )
            self.columns = self.header = rows.header
            self.dialect = rows.dialect
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
        if self._table and self.size is not None:
            return int(self._table.share_read() * self.size)
        return self._source.bytes_read

    @property
    def part(self) -> list[object]:
        """Which part of the file is read, where there is a choice."""
        return self._table.part if self._table else []

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
        if self._table:
            yield from blocks
            self._source.refuse_changed()
            return
        transcoder = self._source.transcoder
        yield from transcoder.restored(blocks) if transcoder else blocks
        if self._source.fault:
            raise self._source.fault

    def close(self) -> None:
        if self._table:
            self._table.close()
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
            raise ConfigError(f"format {given!r} is unknown; give --format {_KNOWN}")
        return cast("Format", given)
    kind = format_of(path)
    if kind is None and suffix_of(path) in NOT_READ:
        raise InputError(
            f"{_named(path)}: {suffix_of(path)} files are not read: unpack or export it, and send JSON, NDJSON, CSV, "
            "Parquet or .xlsx"
        )
    if kind is None:
        raise InputError(
            f"{_named(path)}: the name does not show the format; give --format {_KNOWN} "
            f"(known endings: {', '.join(FORMATS)}; those of text also with .gz)"
        )
    return kind

"""A look at a file: how it is written, and the columns of a sample of its records, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from producer.draft.columns import Column, Path
from producer.draft.dialect import Written, encoding_of, is_utf_8, records_of, table_of
from producer.files.batches import Payload
from producer.files.names import Format, format_of, suffix_of
from producer.files.open import open_records
from producer.files.source import STDIN, Source
from store.csv_reader import Dialect
from store.errors import InputError, UsageError
from worker.judge.faults import Rejection
from worker.judge.parse import parse_as_written, parse_csv
from worker.queue.message import Opaque

READ_BYTES = 1 << 20
MOST_COLUMNS = 200
MOST_LEVELS = 4  # of objects within objects whose fields are columns of their own


@dataclass
class Look:
    """What was seen of a file."""

    path: str
    name: str
    written: Written
    columns: list[Column]
    records: int  # that were looked at
    unreadable: int  # of them
    undecoded: int  # of these: other bytes than the encoding has
    is_whole: bool  # these are all records of the file
    has_more_columns: bool = False  # fields of records beyond those of `columns`
    whole: frozenset[Path] = frozenset()  # fields whose objects are not taken apart: a value would be lost
    fault: str | None = None  # why the file could not be read further

    @property
    def format(self) -> Format:
        return self.written.format

    def is_field(self, path: Path) -> bool:
        """Whether a column is a field of its own: it does not lie within an object that is one."""
        return not _is_below(path, self.whole)


def look_at(path: str, format: Format | None, records: str | None, sample: int) -> Look:
    """Looks at the first records of a file. Raises InputError for what is no file of records."""
    if path == STDIN:
        raise UsageError("a draft needs a file, which it reads twice: save standard input to one")
    written = _written(path, format, records)
    found = _sampled(path, written, sample)
    if found.undecoded and "encoding" not in written.keys and format_of(path) == "csv":
        again = _written(
            path, format, records, encoding=("cp1252", "it is not UTF-8: check letters beyond A to Z")
        )
        found = _sampled(path, again, sample)
    return found


def _written(
    path: str, format: Format | None, records: str | None, encoding: tuple[str, str] | None = None
) -> Written:
    source = Source(path, READ_BYTES)
    try:
        start = source.peek()
    finally:
        source.close()
    encoding = encoding or encoding_of(start)
    if encoding is None and not is_utf_8(start):
        encoding = ("cp1252", "it is not UTF-8: check letters beyond A to Z")
    text = start.decode(encoding[0] if encoding else "utf-8", "replace").removeprefix("\ufeff")
    named = format or format_of(path)
    written = Written(named or _format_of(text))
    if encoding:
        written.note("encoding", *encoding)
    if named is None or (format and format_of(path) != format):
        written.note("format", written.format, "its name does not show it")
    if written.format == "csv":
        table_of(text, written, is_tabs=suffix_of(path) == ".tsv")
    elif written.format == "json" and (found := records or records_of(text)):
        written.note("records", found, "the array of records in the document")
    return written


def _format_of(text: str) -> Format:
    start = text.lstrip()
    if start.startswith("["):
        return "json"
    if start.startswith("{"):
        return "ndjson" if start.partition("\n")[0].rstrip().endswith("}") else "json"
    return "csv"


def _sampled(path: str, written: Written, sample: int) -> Look:
    keys = written.keys
    dialect = Dialect(**{name: value for name, value in keys.items() if name not in ("format", "records")})
    with open_records(
        path,
        format=written.format,
        records=keys.get("records"),
        dialect=dialect,
        is_delimiter_given="delimiter" in keys,
        check_head=True,
    ) as file:
        seen = Seen()
        for name in file.header or ():
            if name:
                seen.columns[(name,)] = Column((name,))
        look = Look(path, file.name, written, [], 0, 0, 0, is_whole=False)
        try:
            for payload in _payloads(file.blocks()):
                if look.records == sample:
                    break
                look.records += 1
                fields = _fields(payload, file.header, file.dialect)
                if fields is None:
                    look.unreadable += 1
                    look.undecoded += not isinstance(payload, Opaque) and not _is_text(payload)
                else:
                    seen.add(fields)
            else:
                look.is_whole = True
        except InputError as error:
            look.fault = str(error)
    look.columns, look.whole = seen.settled()
    look.has_more_columns = seen.has_more
    return look


def _payloads(blocks: Iterator[Any]) -> Iterator[Payload]:
    for block in blocks:
        yield from block.payloads


def _fields(payload: Payload, header: list[str] | None, dialect: Dialect) -> dict[str, Any] | None:
    """A record's fields, numbers as their digits; None where it cannot be read."""
    if isinstance(payload, Opaque):
        return None
    try:
        text = payload.decode()
        return parse_csv(text, header, dialect) if header is not None else parse_as_written(text)
    except (UnicodeDecodeError, Rejection):  # it would be rejected: `producer try` says why
        return None


def _is_text(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:  # that is the answer
        return False
    return True


@dataclass
class Seen:
    """The columns of the records that were read, and the objects that were taken apart into columns."""

    columns: dict[Path, Column] = field(default_factory=dict)
    taken_apart: Counter[Path] = field(default_factory=Counter)  # of a path -> its objects
    cut: set[Path] = field(default_factory=set)  # objects of which a field has no column
    has_more: bool = False

    def add(self, fields: dict[str, Any], path: Path = ()) -> None:
        """Adds the values of a record to their columns, those of objects to columns of their own."""
        for name, value in fields.items():
            inner = (*path, name)
            if isinstance(value, dict) and value and len(inner) < MOST_LEVELS and not self._is_whole(inner):
                self.taken_apart[inner] += 1
                self.add(value, inner)
            elif inner in self.columns or (len(self.columns) < MOST_COLUMNS and name):
                self.columns.setdefault(inner, Column(inner)).add(value)
            elif path:
                self.cut.add(path)
            else:
                self.has_more = True

    def _is_whole(self, path: Path) -> bool:
        """Whether a field holds other things than objects too: then its objects are values of one column."""
        return path in self.columns and self.columns[path].values > 0

    def settled(self) -> tuple[list[Column], frozenset[Path]]:
        """All columns, and the paths of objects that are one field: else what lies in them would be lost."""
        mixed = {
            path for path in self.taken_apart if path in self.columns and _has_values(self.columns[path])
        }
        # Of objects within objects the outermost one is whole.
        whole = {path for path in mixed | self.cut if not _is_below(path, mixed | self.cut)}
        for path in whole:
            column = self.columns.setdefault(path, Column(path))
            words = column.null_words.total()  # in JSON they are values
            column.objects += self.taken_apart[path]
            column.texts += words
            column.values += self.taken_apart[path] + words
            column.null_words.clear()
        return list(self.columns.values()), frozenset(whole)


def _has_values(column: Column) -> bool:
    return bool(column.values or column.null_words)


def _is_below(path: Path, others: Collection[Path]) -> bool:
    """Whether a path lies within an object of the others."""
    return any(path[:length] in others for length in range(1, len(path)))

"""Files -> messages: what `producer enqueue` sends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar
from uuid import uuid4

import orjson

from producer.files.batches import Block, Payload, RawBatch, cut
from producer.files.names import TYPED, format_of
from producer.files.open import Reading, RecordFile, open_records
from producer.files.source import STDIN
from producer.files.typed.table import library
from producer.header import Needed
from producer.settings import ProducerSettings
from store import hashing
from store.csv_reader import Dialect
from store.errors import ConfigError, InputError
from store.tables.deliveries import Delivery
from store.text import SOURCE_NAME, encodable, shown_path
from worker.contract import Contract
from worker.queue.identity import identified
from worker.queue.message import Message, RawRecord, raw_record
from worker.settings import NUMBERS_OF_ADAPTERS, SourceSettings

Item = TypeVar("Item")


@dataclass(frozen=True)
class Feed:
    """One source, with the options by which its files are read and cut into batches."""

    name: str
    source: SourceSettings
    contract: Contract
    settings: ProducerSettings
    format: str | None = None  # of `--format`
    records: str | None = None  # of `--records`: the path of the array
    shares: Mapping[str, float] = field(default_factory=dict)  # of the stages that do not run on all records
    options: Mapping[str, Any] = field(
        default_factory=dict
    )  # of the command, in place of the source's dialect
    sheet: str | None = None  # of `--sheet`

    def __post_init__(self) -> None:
        if not SOURCE_NAME.fullmatch(self.name):
            raise ConfigError(
                f"source {self.name!r}: a source's name is up to 64 letters, digits, dots, dashes and underscores"
            )

        if self.records is not None and encodable(self.records) != self.records:
            raise ConfigError("--records is not UTF-8 text: give the keys as the document spells them")

    def check_options(self, path: str) -> None:
        """Raises ConfigError for options that do not fit a file; nothing is opened for it."""
        try:
            reading = Reading.of(path, **self._options(path))
        except InputError:
            return  # the file's own fault: sending it will tell
        if self.source.adapter and self.options.keys() & {"decimal", "thousands"}:
            raise ConfigError(f"source {self.name}: {NUMBERS_OF_ADAPTERS}")
        if reading.format in TYPED:
            library(reading.format)
        if self.sheet is not None and reading.format != "xlsx":
            raise ConfigError(
                f"{shown_path(path)}: --sheet is for Excel files, not {reading.format}; leave it out"
            )
        fitting = {"parquet": set[str](), "xlsx": {"skip_rows"}}.get(reading.format, {"encoding"})
        if reading.format != "csv" and (of_csv := self.options.keys() - fitting):
            named = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(of_csv))
            of = "text" if "encoding" in of_csv else "CSV files"
            raise ConfigError(f"{shown_path(path)}: {named} is for {of}, not {reading.format}; leave it out")

    def refusal(self, path: str) -> str | None:
        """Why a file of a folder is no data file, by its name; None where it may be one."""
        if self._format(path) is None and format_of(path) is None:
            return "its name shows no format that is read"
        return None

    def open(self, path: str, *, name: str | None = None) -> RecordFile:
        """A file of this source, called by another name where one is given.

        Raises InputError, also for what is no file of its format; and ConfigError.
        """
        limit = self.settings.max_record_bytes
        return open_records(path, **self._options(path), max_record_bytes=limit, check_head=True, name=name)

    def _options(self, path: str) -> dict[str, Any]:
        given = self._format(path)
        is_json = (given or format_of(path)) == "json"
        return {
            "format": given,
            "records": self.records or (self.source.records if is_json else None),
            "dialect": self.source.dialect(self.options),
            "sheet": self.sheet or self.source.sheet,
            "is_delimiter_given": bool(self.options.get("delimiter") or self.source.delimiter),
        }

    def _format(self, path: str) -> str | None:
        """The format that was asked for, or the source's where the file's name shows none."""
        return self.format or (self.source.format if format_of(path) is None else None)

    def check_header(self, file: RecordFile) -> list[str]:
        """The required fields that no column of a table gives; none of another file.

        Raises InputError if the columns give none of them.
        """
        return [] if file.columns is None else self.needed.check(file)

    @cached_property
    def needed(self) -> Needed:
        """The columns that a CSV file must have."""
        return Needed.of(self.name, self.source, self.contract, self.shares)

    def delivery(self, file: RecordFile, *, again: int = 0, stream: str | None = None) -> Delivery:
        """What this file is as a delivery: a file is read once more for it, a stream is new or has a name.

        `again` counts how often the same content was sent anew, on purpose; `stream` is a stream's name.
        """
        fingerprint = self.contract.fingerprint(self.source)
        name = STDIN if file.path == STDIN else file.name
        content = None if stream is not None else file.content()
        if content is None:
            return self.stream(name, stream, again=again, dialect=file.dialect if self.options else None)
        asked = self._format(file.path) or format_of(file.path)
        source = self.source
        reading = [
            content,
            asked,
            self.records,
            source.records,
            source.format,
            file.dialect.to_wire(),
            *file.part,
        ]
        return Delivery.of(
            "file", self.name, name, hashing.hexdigest(orjson.dumps(reading)), fingerprint, again
        )

    def stream(
        self, file: str, stream: str | None, *, again: int = 0, dialect: Dialect | None = None
    ) -> Delivery:
        """Records without a content beforehand as a delivery: a new one, or the one of its name and dialect."""
        fingerprint = self.contract.fingerprint(self.source)
        if stream is None:
            return Delivery(uuid4().hex, "stream", self.name, file, None, fingerprint)
        described = f"stream {shown_path(stream)}"
        if dialect:
            described += f" {hashing.hexdigest(orjson.dumps(dialect.to_wire()))}"
        return Delivery.of("stream", self.name, file, described, fingerprint, again)

    def messages(self, file: RecordFile, delivery: Delivery) -> Iterator[Message]:
        """The file's batches, ready for the queue; the same delivery gives the same ids.

        Raises InputError, after the batches of all whole records, if the file cannot be read to its end.
        """
        faults: list[InputError] = []
        for batch in self.batches(until_fault(file.blocks(), faults), delivery):
            yield self.message(batch, delivery, file)
        for fault in faults:
            raise fault

    def batches(self, blocks: Iterable[Block], delivery: Delivery) -> Iterator[RawBatch]:
        """Raw records, cut into batches."""
        return cut(
            blocks,
            delivery=delivery.id,
            max_records=self.settings.batch_records,
            max_bytes=self.settings.batch_bytes,
        )

    def message(self, batch: RawBatch, delivery: Delivery, file: RecordFile | None = None) -> Message:
        """A batch, ready for the queue; without a file, its records are JSON."""
        message = Message(
            id="",
            kind="file",
            delivery=delivery,
            first=batch.first,
            source=self.name,
            file=delivery.file,
            format=file.wire_format if file else "json",
            header=file.header if file else None,
            dialect=file.dialect if file else Dialect(),
            records=as_records(batch.payloads),
            lines=batch.lines,
            fingerprint=delivery.fingerprint,
            letters=[],
            size=batch.size,
        )
        return identified(message, batch.content)


def until_fault(items: Iterator[Item], faults: list[InputError]) -> Iterator[Item]:
    """What comes before an InputError, which goes to `faults`: what collects the items does not lose the last ones."""
    try:
        yield from items
    except InputError as error:
        faults.append(error)


def as_records(payloads: list[Payload]) -> list[RawRecord]:
    """Payloads as a message carries them: text where they are whole and UTF-8."""
    try:
        return [payload.decode() for payload in payloads]  # type: ignore[union-attr]
    except (UnicodeDecodeError, AttributeError):
        return [raw_record(payload) if isinstance(payload, bytes) else payload for payload in payloads]

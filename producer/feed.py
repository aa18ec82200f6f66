"""Files -> messages: what `producer enqueue` sends."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import orjson

from producer.files.batches import Payload, RawBatch, cut
from producer.files.csv import CsvOptions
from producer.files.open import RecordFile, format_of, open_records
from producer.settings import ProducerSettings
from store import hashing
from store.errors import ConfigError, InputError
from store.tables.deliveries import Delivery
from worker.contract import Contract, load_contract
from worker.queue.message import Message, RawRecord, raw_record
from worker.settings import SourceSettings, WorkerSettings

SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Feed:
    """One source, with the options by which its files are read and cut into batches."""

    name: str
    source: SourceSettings
    contract: Contract
    settings: ProducerSettings
    format: str | None = None  # of `--format`
    records: str | None = None  # of `--records`: the path of the array

    def __post_init__(self) -> None:
        if not SOURCE_NAME.fullmatch(self.name):
            raise ConfigError(
                f"source {self.name!r}: a source's name is up to 64 letters, digits, dots, dashes and underscores"
            )

    def open(self, path: str) -> RecordFile:
        """A file of this source. Raises InputError, ConfigError."""
        given = self._format(path)
        is_json = (given or format_of(path)) == "json"
        options = CsvOptions(self.source.delimiter or ",", self.source.quotechar or '"')
        return open_records(
            path,
            format=given,
            records=self.records or (self.source.records if is_json else None),
            max_record_bytes=self.settings.max_record_bytes,
            csv=options,
        )

    def _format(self, path: str) -> str | None:
        """The format that was asked for, or the source's where the file's name shows none."""
        return self.format or (self.source.format if format_of(path) is None else None)

    def delivery(self, path: str, *, again: int = 0, stream: str | None = None) -> Delivery:
        """What this file is as a delivery: a file is read once more for it, a stream is new or has a name.

        `again` counts how often the same content was sent anew, on purpose; `stream` is a stream's name.
        """
        fingerprint = self.contract.fingerprint(self.source)
        file = "stdin" if path == "-" else path.encode("utf-8", "backslashreplace").decode()
        if stream is not None:
            return Delivery.of("stream", self.name, file, f"stream {stream}", fingerprint, again)
        content = content_of(path)
        if content is None:
            return Delivery(uuid4().hex, "stream", self.name, file, None, fingerprint)
        reading = [content, self._format(path) or format_of(path), self.records, *self.source.reading]
        return Delivery.of(
            "file", self.name, file, hashing.hexdigest(orjson.dumps(reading)), fingerprint, again
        )

    def messages(self, file: RecordFile, delivery: Delivery) -> Iterator[Message]:
        """The file's batches, ready for the queue; the same delivery gives the same ids."""
        batches = cut(
            file.blocks(),
            delivery=delivery.id,
            max_records=self.settings.batch_records,
            max_bytes=self.settings.batch_bytes,
        )
        for batch in batches:
            yield self._message(batch, file, delivery)

    def _message(self, batch: RawBatch, file: RecordFile, delivery: Delivery) -> Message:
        return Message(
            id=batch.id,
            kind="file",
            delivery=delivery,
            first=batch.first,
            source=self.name,
            file=delivery.file,
            format=file.wire_format,
            header=file.header,
            delimiter=file.csv.delimiter,
            records=as_records(batch.payloads),
            lines=batch.lines,
            fingerprint=delivery.fingerprint,
            letters=[],
            size=batch.size,
        )


def content_of(path: str) -> str | None:
    """The hash of a file's bytes; None for what can be read only once. Raises InputError."""
    if path == "-" or not Path(path).is_file():
        return None
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise InputError(f"{path!r} cannot be read: {error.strerror}") from error


def messages_of(source: str, path: str) -> Iterator[Message]:
    """The batches that a file would be sent as, for `worker sources try`."""
    worker = WorkerSettings.load()
    feed = Feed(source, worker.source(source), load_contract(worker), ProducerSettings.load())
    with feed.open(path) as file:
        yield from feed.messages(file, feed.delivery(path))


def as_records(payloads: list[Payload]) -> list[RawRecord]:
    """Payloads as a message carries them: text where they are whole and UTF-8."""
    try:
        return [payload.decode() for payload in payloads]  # type: ignore[union-attr]
    except (UnicodeDecodeError, AttributeError):
        return [raw_record(payload) if isinstance(payload, bytes) else payload for payload in payloads]

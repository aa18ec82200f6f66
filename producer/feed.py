"""Files -> messages: what `producer enqueue` sends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from producer.files.batches import Payload, RawBatch, cut
from producer.files.csv import CsvOptions
from producer.files.open import RecordFile, format_of, open_records
from producer.settings import ProducerSettings
from store.errors import ConfigError
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
        given = self.format or (self.source.format if format_of(path) is None else None)
        is_json = (given or format_of(path)) == "json"
        options = CsvOptions(self.source.delimiter or ",", self.source.quotechar or '"')
        return open_records(
            path,
            format=given,
            records=self.records or (self.source.records if is_json else None),
            max_record_bytes=self.settings.max_record_bytes,
            csv=options,
        )

    def messages(self, file: RecordFile, path: str) -> Iterator[Message]:
        """The file's batches as messages; the same file gives the same ids."""
        fingerprint = self.contract.fingerprint(self.source)
        batches = cut(
            file.blocks(),
            source=self.name,
            fingerprint=fingerprint,
            wire_format=file.wire_format,
            header=file.header,
            max_records=self.settings.batch_records,
            max_bytes=self.settings.batch_bytes,
        )
        name = "stdin" if path == "-" else path.encode("utf-8", "backslashreplace").decode()
        for batch in batches:
            yield self._message(batch, file, name, fingerprint)

    def _message(self, batch: RawBatch, file: RecordFile, name: str, fingerprint: str) -> Message:
        return Message(
            id=batch.id,
            kind="file",
            source=self.name,
            file=name,
            format=file.wire_format,
            header=file.header,
            delimiter=file.csv.delimiter,
            records=as_records(batch.payloads),
            lines=batch.lines,
            fingerprint=fingerprint,
            letters=[],
            size=batch.size,
        )


def messages_of(source: str, path: str) -> Iterator[Message]:
    """The batches that a file would be sent as, for `worker sources try`."""
    worker = WorkerSettings.load()
    feed = Feed(source, worker.source(source), load_contract(worker), ProducerSettings.load())
    with feed.open(path) as file:
        yield from feed.messages(file, path)


def as_records(payloads: list[Payload]) -> list[RawRecord]:
    """Payloads as a message carries them: text where they are whole and UTF-8."""
    try:
        return [payload.decode() for payload in payloads]  # type: ignore[union-attr]
    except (UnicodeDecodeError, AttributeError):
        return [raw_record(payload) if isinstance(payload, bytes) else payload for payload in payloads]

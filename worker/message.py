"""What is on the queue: one batch of raw records, as JSON, with its version."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from store.errors import MessageError

VERSION = 1


@dataclass(frozen=True, slots=True)
class Opaque:
    """A raw record that does not travel as text: not UTF-8, or too large to travel whole."""

    content: bytes  # all of it, or its head
    size: int  # bytes of all of it
    digest: str | None  # BLAKE2b-128 of all of it, where `content` is only the head


RawRecord = str | Opaque


@dataclass(frozen=True, slots=True)
class Letter:
    """Which dead letter a replayed record is."""

    id: str
    event_id: int  # its latest `reject` entry, which the `replay` entry follows
    edited: bool  # the payload is not the one that was rejected


@dataclass(frozen=True, slots=True)
class Message:
    """One batch on its way from a file, or from the dead letters, to a worker."""

    id: str  # content-addressed, 32 hex digits; also the RQ job's id
    kind: Literal["file", "replay"]
    source: str
    file: str
    format: Literal["json", "csv"]
    header: list[str] | None  # CSV: the column names
    delimiter: str  # CSV
    records: list[RawRecord]
    lines: Sequence[int]  # 1-based, one a record
    fingerprint: str  # of the contract and mapping it was sent for
    letters: list[Letter]  # replay: one a record
    size: int  # bytes of the records, about
    part_of: str | None = None  # the batch it was cut out of, because that one killed its workers

    def to_wire(self) -> dict[str, Any]:
        """A JSON-able dictionary; lines that follow each other are sent as the first one alone."""
        lines = self.lines
        consecutive = isinstance(lines, range) or list(lines) == list(range(lines[0], lines[0] + len(lines)))
        return {
            "v": VERSION,
            "id": self.id,
            "kind": self.kind,
            "source": self.source,
            "file": self.file,
            "format": self.format,
            "header": self.header,
            "delimiter": self.delimiter,
            "records": [record if isinstance(record, str) else _opaque(record) for record in self.records],
            "lines": lines[0] if consecutive else list(lines),
            "fingerprint": self.fingerprint,
            "size": self.size,
            "part_of": self.part_of,
            "letters": [[letter.id, letter.event_id, letter.edited] for letter in self.letters],
        }

    @classmethod
    def from_wire(cls, wire: Any) -> Message:
        """The inverse of `to_wire`. Raises MessageError for what is of another version or shape."""
        version = wire.get("v") if isinstance(wire, dict) else None
        if version != VERSION:
            raise MessageError(
                f"message version {version!r} is not {VERSION}: use one Sluice version throughout; "
                "the job is kept and can be requeued"
            )
        try:
            records = [record if isinstance(record, str) else _raw(record) for record in wire["records"]]
            lines = wire["lines"]
            return cls(
                id=wire["id"],
                kind=wire["kind"],
                source=wire["source"],
                file=wire["file"],
                format=wire["format"],
                header=wire["header"],
                delimiter=wire["delimiter"],
                records=records,
                lines=range(lines, lines + len(records)) if isinstance(lines, int) else lines,
                fingerprint=wire["fingerprint"],
                letters=[Letter(*letter) for letter in wire["letters"]],
                size=wire["size"],
                part_of=wire["part_of"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise MessageError(
                f"message is misshapen ({error!r}): the job is kept and can be requeued"
            ) from error


def _opaque(record: Opaque) -> dict[str, Any]:
    return {"base64": base64.b64encode(record.content).decode(), "size": record.size, "digest": record.digest}


def _raw(record: dict[str, Any]) -> Opaque:
    return Opaque(base64.b64decode(record["base64"], validate=True), record["size"], record["digest"])

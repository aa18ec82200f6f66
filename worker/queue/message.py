"""What is on the queue: one batch of raw records, as JSON, with its version."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from store.csv_reader import Dialect
from store.database.schema import RECORD_BITS
from store.errors import ConfigError, MessageError, NewerMessage
from store.tables.deliveries import Delivery
from store.text import SOURCE_NAME

VERSION = 3
LAST_VERSION = 999  # a greater number is none of ours, and waits for nobody
MAX_LINE = 2**62  # the greatest that fits into the database's column
HEAD_BYTES = 4096
DIGEST_BYTES = 16
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Opaque:
    """A raw record that does not travel as text: not UTF-8, or too large to travel whole."""

    content: bytes  # the whole record, or its first 4096 bytes
    size: int  # bytes of the whole record
    digest: str | None  # BLAKE2b-128 of the whole record, hex, where `content` is only its head

    @classmethod
    def head_of(cls, record: bytes) -> Opaque:
        """A record that is too large: its head, its size and its digest."""
        digest = hashlib.blake2b(record, digest_size=DIGEST_BYTES).hexdigest()
        return cls(record[:HEAD_BYTES], len(record), digest)

    def __len__(self) -> int:
        return len(self.content)


RawRecord = str | Opaque


def raw_record(content: bytes) -> RawRecord:
    """A whole record as a message carries it: text where it is UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return Opaque(content, len(content), None)


@dataclass(frozen=True, slots=True)
class Letter:
    """Which dead letter a replayed record is."""

    id: str
    event_id: int  # its latest `reject` entry, which the `replay` entry follows
    edited: bool  # whether the payload differs from the rejected one


@dataclass(frozen=True, slots=True)
class Message:
    """One batch on its way from a file, or from the dead letters, to a worker."""

    id: str  # content-addressed, 32 hex digits; also the RQ job's id
    kind: Literal["file", "replay"]
    delivery: Delivery
    first: int  # number of its first record in the delivery, from 0
    source: str
    file: str
    format: Literal["json", "csv"]
    header: list[str] | None  # CSV: the column names
    dialect: Dialect  # CSV
    records: list[RawRecord]
    lines: Sequence[int]  # 1-based, one a record
    fingerprint: str  # of the contract and mapping it was sent for
    letters: list[Letter]  # replay: one a record
    size: int  # bytes of the records, approximately
    part_of: str | None = None  # the batch this one is a half of, because that batch crashed its workers

    def to_wire(self) -> dict[str, Any]:
        """A dictionary that JSON can hold; consecutive lines are sent as the first one."""
        lines = self.lines
        consecutive = isinstance(lines, range) or list(lines) == list(range(lines[0], lines[0] + len(lines)))
        return {
            "v": VERSION,
            "id": self.id,
            "kind": self.kind,
            "delivery": [self.delivery.id, self.delivery.kind, self.delivery.content, self.delivery.again],
            "first": self.first,
            "source": self.source,
            "file": self.file,
            "format": self.format,
            "header": self.header,
            "dialect": self.dialect.to_wire(),
            "records": [record if isinstance(record, str) else _to_wire(record) for record in self.records],
            "lines": lines[0] if consecutive else list(lines),
            "fingerprint": self.fingerprint,
            "size": self.size,
            "part_of": self.part_of,
            "letters": [[letter.id, letter.event_id, letter.edited] for letter in self.letters],
        }

    @classmethod
    def from_wire(cls, wire: Any) -> Message:
        """The inverse of `to_wire`. Raises NewerMessage, and MessageError for what is no message of ours."""
        version = wire.get("v") if isinstance(wire, dict) else None
        if type(version) is int and VERSION < version <= LAST_VERSION:
            raise NewerMessage(
                f"the message has version {version}, and this worker reads those up to {VERSION}: it waits for a "
                "worker of a newer Sluice; start one"
            )
        if type(version) is not int or version != VERSION:
            raise MessageError(
                f"the message has version {version!r:.20}, which cannot be read: the job stays in Redis and can be "
                "requeued"
            )
        try:
            if type(wire["records"]) is not list:  # iterating over a text would give its characters
                raise TypeError("records must be a list")
            records = [
                record if isinstance(record, str) else _from_wire(record) for record in wire["records"]
            ]
            lines = wire["lines"]
            message = cls(
                id=wire["id"],
                kind=wire["kind"],
                delivery=_delivery(wire),
                first=wire["first"],
                source=wire["source"],
                file=wire["file"],
                format=wire["format"],
                header=wire["header"],
                dialect=Dialect.from_wire(wire["dialect"]),
                records=records,
                lines=range(lines, lines + len(records)) if type(lines) is int else lines,
                fingerprint=wire["fingerprint"],
                letters=[Letter(*letter) for letter in wire["letters"]],
                size=wire["size"],
                part_of=wire["part_of"],
            )
            message._check_shape()
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise MessageError(
                f"the message is misshapen ({error!r:.200}): the job stays in Redis and can be requeued"
            ) from error
        return message

    def _check_shape(self) -> None:
        """Raises ValueError for values that a worker would misread, or fail on halfway."""
        texts = (self.id, self.source, self.file, self.fingerprint)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("id, source, file and fingerprint must be text")
        if not all(
            ID.fullmatch(id) for id in (self.id, self.delivery.id, self.part_of or "0", self.fingerprint)
        ):
            raise ValueError("ids and fingerprints must be up to 64 letters, digits, dashes and underscores")
        if not SOURCE_NAME.fullmatch(self.source):
            raise ValueError("source must be up to 64 letters, digits, dots, dashes and underscores")
        if type(self.first) is not int or not 0 <= self.first <= (1 << RECORD_BITS) - len(self.records):
            raise ValueError("first must be the number of a record in its delivery")
        if self.kind not in ("file", "replay") or self.format not in ("json", "csv"):
            raise ValueError("kind must be file or replay, format json or csv")
        if not self.records or len(self.lines) != len(self.records) or not all_are(int, self.lines):
            raise ValueError("there must be at least one record, and a line number for each")
        if min(self.lines) < 1 or max(self.lines) > MAX_LINE:
            raise ValueError("line numbers must be 1 or greater")
        if not (self.header is None or (isinstance(self.header, list) and all_are(str, self.header))):
            raise ValueError("header must be a list of names")
        if not all(
            (type(letter.id), type(letter.event_id), type(letter.edited)) == (str, int, bool)
            and ID.fullmatch(letter.id)
            for letter in self.letters
        ):
            raise ValueError("a letter must be its id, its entry and whether it was edited")
        if type(self.size) is not int or not (self.part_of is None or isinstance(self.part_of, str)):
            raise ValueError("size must be a number, part_of an id")


def _delivery(wire: dict[str, Any]) -> Delivery:
    id, kind, content, again = wire["delivery"]
    if not (isinstance(id, str) and kind in ("file", "stream", "replay") and type(again) is int):
        raise ValueError("a delivery must be its id, its kind, its content and how often it was sent anew")
    if not (content is None or isinstance(content, str)):
        raise ValueError("a delivery's content must be a hash or nothing")
    return Delivery(id, kind, wire["source"], wire["file"], content, wire["fingerprint"], again)


def all_are(kind: type, values: Sequence[object]) -> bool:
    """Whether every value has exactly this type."""
    return isinstance(values, range) or set(map(type, values)) <= {kind}


def _to_wire(record: Opaque) -> dict[str, Any]:
    return {"base64": base64.b64encode(record.content).decode(), "size": record.size, "digest": record.digest}


def _from_wire(record: dict[str, Any]) -> Opaque:
    size, digest = record["size"], record["digest"]
    if type(size) is not int or not (digest is None or isinstance(digest, str)):
        raise ValueError("a record's size must be a number, its digest text")
    return Opaque(base64.b64decode(record["base64"], validate=True), size, digest)

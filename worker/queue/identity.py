"""The id of a batch: a hash of its delivery and of all that decides what becomes of its records.

A producer computes it, and a worker again from what it received. So a message whose id is not that of its content
is not ours, and no forged message can make a true batch look processed. What is only shown or estimated is no part
of the id: the file's name (a renamed file is the same delivery), the size, which batch it is a half of.
"""

from __future__ import annotations

import hashlib
import re
import sys
from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import orjson

from store import hashing
from store.errors import ForgedMessage
from store.tables.deliveries import Delivery
from worker.queue.message import DIGEST_BYTES, Message, Opaque

DIGEST = re.compile(r"(?:[0-9a-f]{32})?")
NOT_IN_THE_ID = ("v", "id", "file", "records", "size", "part_of")
_OVERSIZE_FLAG = 1 << 63  # no length has this bit, so no bytes hash like an oversize record

# A raw record as it is read, or as it travels.
Payload = bytes | str | Opaque


def content_digest(delivery: str, first: int, payloads: Sequence[Payload]) -> str:
    """A hash of a delivery's id, the number of the first record there, and the records, as bytes or as text."""
    lengths, body = _encoded(payloads)
    content = hashlib.blake2b(delivery.encode() + first.to_bytes(8, "little"), digest_size=DIGEST_BYTES)
    content.update(len(payloads).to_bytes(8, "little") + lengths)
    content.update(body)
    return content.hexdigest()


def _encoded(payloads: Sequence[Payload]) -> tuple[bytes, bytes]:
    """The lengths, 8 little-endian bytes each, and the bytes: together they are unambiguous."""
    kinds = set(map(type, payloads))
    if kinds == {str}:
        text = "".join(cast("Sequence[str]", payloads))
        if text.isascii():  # saves 0.2 µs a record
            return _little_endian(array("Q", list(map(len, payloads)))), text.encode()
        payloads, kinds = list(map(str.encode, cast("Sequence[str]", payloads))), {bytes}
    if kinds != {bytes}:
        lengths = array("Q", map(_flagged_length, payloads))
        return _little_endian(lengths), b"".join(map(_as_bytes, payloads))
    lengths = array("Q", map(len, payloads))
    return _little_endian(lengths), b"".join(cast("Sequence[bytes]", payloads))


def _little_endian(lengths: array[int]) -> bytes:
    if sys.byteorder == "big":
        lengths.byteswap()
    return lengths.tobytes()


def _flagged_length(payload: Payload) -> int:
    if isinstance(payload, Opaque):
        return payload.size | _OVERSIZE_FLAG if payload.digest is not None else len(payload.content)
    return len(payload.encode()) if isinstance(payload, str) else len(payload)


def _as_bytes(payload: Payload) -> bytes:
    if isinstance(payload, str):
        return payload.encode()
    if isinstance(payload, bytes):
        return payload
    if payload.digest is None:
        return payload.content
    return payload.digest.encode() + b"\0" + hashing.digest(payload.content)


def identified(message: Message, content: str | None = None) -> Message:
    """The message with its id; `content` is the digest of its records, where that is computed already."""
    return replace(message, id=batch_id(message, content))


def batch_id(message: Message, content: str | None = None) -> str:
    """The id that a message must have, 32 hex digits."""
    content = content or content_digest(message.delivery.id, message.first, message.records)
    described = replace(message, records=[]).to_wire()
    bound = {name: value for name, value in described.items() if name not in NOT_IN_THE_ID}
    return hashing.hexdigest(orjson.dumps([content, bound], option=orjson.OPT_SORT_KEYS))


def check(message: Message, job_id: str | None = None) -> None:
    """Raises ForgedMessage for a message that no producer of ours has made; `job_id` is that of its job, if any."""
    delivery = message.delivery
    if job_id not in (None, message.id):
        raise _forged(message, f"it is in job {job_id!r:.70}")
    if (message.kind == "replay") != (delivery.kind == "replay"):
        raise _forged(message, f"its kind is {message.kind}, that of its delivery {delivery.kind}")
    if len(message.letters) != (len(message.records) if message.kind == "replay" else 0):
        raise _forged(message, "a replay names one letter for each record, a file none")
    if delivery.content is None and delivery.kind != "stream":
        raise _forged(message, "only a stream may have no content beforehand")
    if delivery.content is not None and delivery.id != _delivery_id(delivery):
        raise _forged(message, "the id of its delivery is not that of its description")
    for record in message.records:
        if type(record) is Opaque and (why := _objection(record)):
            raise _forged(message, why)
    try:
        computed = batch_id(message)
    except (TypeError, ValueError, OverflowError) as error:
        raise _forged(message, f"its id cannot be computed: {error!r:.100}") from error
    if message.id != computed:
        raise _forged(message, "its id is not that of its content")


def _objection(record: Opaque) -> str | None:
    """Why no producer makes such a record; None where one may."""
    if record.digest is None:
        return None if record.size == len(record.content) else "a record has another size than it says"
    if not (0 <= record.size < _OVERSIZE_FLAG and DIGEST.fullmatch(record.digest)):
        return "an oversize record has a size or digest that cannot be"
    return None


def _delivery_id(delivery: Delivery) -> str:
    """The id that a delivery with a content must have."""
    return Delivery.of(
        delivery.kind,
        delivery.source,
        delivery.file,
        str(delivery.content),
        delivery.fingerprint,
        delivery.again,
    ).id


def _forged(message: Message, why: str) -> ForgedMessage:
    return ForgedMessage(
        f"message {message.id!r:.70} of source {message.source!r:.70} is not from a producer of ours ({why}): "
        "it is refused and quarantined, and nothing is stored; look who can write to Redis, then send the file again"
    )


def halves(message: Message) -> list[Message]:
    """The batch cut in two; the same batch always makes the same halves."""
    middle = len(message.records) // 2
    return [_part(message, piece) for piece in (slice(0, middle), slice(middle, None))]


def _part(message: Message, piece: slice) -> Message:
    records = message.records[piece]
    part = replace(
        message,
        records=records,
        lines=message.lines[piece],
        letters=message.letters[piece],
        first=message.first + (piece.start or 0),
        size=message.size * len(records) // len(message.records),
        part_of=message.id,
    )
    return identified(part)

"""Letters whose payload is bytes that did not decode: what they would be as UTF-8 does not matter."""

from __future__ import annotations

from store.tables.dead_letters import DeadLetter
from worker.queue.message import Opaque, RawRecord, raw_record

UNDECODABLE = "undecodable"


def is_undecoded(letter: DeadLetter) -> bool:
    """Whether the payload is bytes of the file, and not the text that was read from them.

    Text is base64 only for a NUL in it.
    """
    if letter.encoding != "base64":
        return False
    return (
        letter.reason == UNDECODABLE or b"\0" not in letter.raw or isinstance(raw_record(letter.raw), Opaque)
    )


def record_of(letter: DeadLetter) -> RawRecord:
    """The record of a letter, as its file gave it."""
    return Opaque(letter.raw, letter.size, None) if is_undecoded(letter) else raw_record(letter.raw)

"""A rejection: what is wrong with one raw record, in the words of dead letters (semantics, section 5)."""

from __future__ import annotations

from dataclasses import dataclass

from rq.timeouts import BaseTimeoutException

from store.errors import SluiceError

FIELD_WORDS = {"ts": "timestamp"}  # `missing_timestamp`, not `missing_ts`


# What may be raised while a record is judged, and says nothing about the record.
NOT_DATA = (MemoryError, RecursionError, BaseTimeoutException, SluiceError)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a record. Messages name the rule, never the record's values."""

    reason: str
    field: str | None
    message: str


def legible(name: str) -> str:
    """A field's name as a dead letter can hold it, whatever a record calls its fields."""
    return name[:100].encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def told(error: BaseException) -> str:
    """What was raised by somebody else's code, as a dead letter can hold it."""
    try:
        said = str(error)
    except Exception:  # theirs too
        said = "(without words)"
    return (
        f"{type(error).__name__}: {said}"[:500]
        .encode("utf-8", "backslashreplace")
        .decode()
        .replace("\0", "\\x00")
    )


class Rejection(Exception):
    """A raw record breaks its contract: it becomes a dead letter. The first fault names the reason."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults[0].reason)
        self.faults = faults


def missing(field: str) -> Fault:
    return Fault(f"missing_{FIELD_WORDS.get(field, field)}", field, "a value is required")


def invalid(field: str, message: str) -> Fault:
    return Fault(f"invalid_{FIELD_WORDS.get(field, field)}", field, message)

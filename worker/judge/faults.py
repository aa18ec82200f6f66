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


class Rejection(Exception):
    """A raw record breaks its contract: it becomes a dead letter. The first fault names the reason."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults[0].reason)
        self.faults = faults


def missing(field: str) -> Fault:
    return Fault(f"missing_{FIELD_WORDS.get(field, field)}", field, "a value is required")


def invalid(field: str, message: str) -> Fault:
    return Fault(f"invalid_{FIELD_WORDS.get(field, field)}", field, message)

"""What a rejected record says, for the digest: one hash for equal records, whatever their format.

Cells are text and JSON has types, so values are compared as text, and blanks count as absent. A number of JSON is
compared by its value, in all of its digits; a text is too where the contract has a number, else by its characters.
"""

from __future__ import annotations

import json
from decimal import Decimal
from operator import itemgetter
from typing import Any

import orjson

from store import hashing
from store.hashing import MOST_DIGITS, plain_digits
from worker.contract import Contract
from worker.judge.adapt import Adapter
from worker.judge.columns import READERS, is_blank
from worker.judge.faults import Rejection
from worker.judge.notation import Notation
from worker.judge.parse import BLANKS, LONG_NUMBER, NUMBER_CHARACTERS, Digits, parse_as_written, parse_csv
from worker.queue.message import Message, Opaque, RawRecord

EXACT = frozenset({str, int, bool, type(None)})  # of a flat record: what parsing leaves as it was written
NOTHING: frozenset[str] = frozenset()


def number_names(adapter: Adapter, contract: Contract) -> frozenset[str]:
    """The names under which raw records have what the contract takes for a number."""
    if adapter.function:
        return NOTHING
    given = {name for name, field in contract.inputs.items() if contract.kinds[field] in READERS}
    read = {
        adapter.expressions.get(name, name)
        for name in given - adapter.constants.keys() - adapter.casts.keys()
    }
    return frozenset(name for name in read if name.isidentifier())


def content_of_raw(
    record: RawRecord, message: Message, numbers: frozenset[str] = NOTHING, notation: Notation | None = None
) -> str:
    """32 hex digits: what the record says where it can be read, else the hash of its bytes."""
    if isinstance(record, Opaque):
        return as_bytes(record)
    try:
        if message.format == "csv":
            return content_of(parse_csv(record, message.header or [], message.dialect), numbers, notation)
        return content_of(parse_as_written(record), numbers)
    except Rejection:
        return as_bytes(record)


def content_of_parsed(
    raw: dict[str, Any],
    record: RawRecord,
    message: Message,
    numbers: frozenset[str] = NOTHING,
    notation: Notation | None = None,
) -> str:
    """As `content_of_raw`, of a record that was parsed before: it is read again only where parsing lost something."""
    kinds = set(map(type, raw.values()))
    if kinds <= EXACT or (
        kinds <= EXACT | {float} and type(record) is str and not LONG_NUMBER.search(record)
    ):
        return content_of(raw, numbers, notation)
    return content_of_raw(record, message, numbers, notation)


def content_of(
    raw: dict[str, Any], numbers: frozenset[str] = NOTHING, notation: Notation | None = None
) -> str:
    """32 hex digits; texts under one of the names `numbers` are numbers, in a notation."""
    reported = [
        (_plain_text(name), _as_text(value, name in numbers, notation))
        for name, value in raw.items()
        if not is_blank(value)
    ]
    return hashing.hexdigest(orjson.dumps(sorted(reported, key=itemgetter(0))))


def as_bytes(record: RawRecord) -> str:
    """The content of a record that cannot, or must not, be read: the hash of its bytes."""
    if isinstance(record, Opaque):
        return hashing.hexdigest(record.content + (record.digest or "").encode())
    return hashing.hexdigest(record.encode("utf-8", "surrogatepass"))


def _as_text(value: Any, is_number: bool, notation: Notation | None) -> str | list[str]:
    kind = type(value)
    if kind is str:
        if not is_number:
            return _plain_text(value)
        return _by_value((notation and notation.plain(value)) or value)
    if kind is bool:
        return "true" if value else "false"
    if kind is dict or kind is list:
        return [_nested(value)]  # in brackets: a text may have the same characters
    return _by_value(value if kind is Digits else str(value))


def _by_value(text: str) -> str:
    """A number's digits, the same for equal numbers; what is none stays as it is."""
    digits = text.strip(BLANKS)
    if len(digits) <= MOST_DIGITS and not digits.strip(NUMBER_CHARACTERS):
        try:
            return plain_digits(Decimal(digits))
        except ArithmeticError:  # such as `1-1`
            pass
    return _plain_text(text)


def _nested(value: Any) -> str:
    """A structure as JSON with sorted names, and numbers by their values."""
    kind = type(value)
    if kind is dict:
        return "{" + ",".join(f"{json.dumps(name)}:{_nested(value[name])}" for name in sorted(value)) + "}"
    if kind is list:
        return "[" + ",".join(map(_nested, value)) + "]"
    if kind is str or value is None or kind is bool:
        return json.dumps(value)
    return _by_value(str(value))


def _plain_text(text: str) -> str:
    return str(text) if text.isascii() else text.encode("utf-8", "backslashreplace").decode()

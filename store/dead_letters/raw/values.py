"""Whether a value of a payload and one of the target are the same: numbers by value, times by their moment."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson

from store.text import PLAIN_NUMBER


def as_json(value: Any) -> str:
    """A value of the target as JSON text."""
    return str(value) if isinstance(value, Decimal) else orjson.dumps(value, default=str).decode()


def same(held: str | None, own: str | None) -> bool:
    """Whether a value of the target is the one of a payload, both as JSON; None: null, or not there."""
    if held is None or own is None:
        return held in (None, "null") and own in (None, "null", '""')
    if held == own:
        return True
    one, other = _read(held), _read(own)
    if isinstance(one, Decimal):
        return one == _number(other)
    if isinstance(one, str) and isinstance(other, str):
        moment = moment_of(one)
        return one == other or (moment is not None and moment == moment_of(other))
    return bool(one == other)


def _read(text: str) -> Any:
    try:
        return json.loads(text, parse_int=Decimal, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):  # it is compared as it is written
        return text


def _number(value: Any) -> Decimal | None:
    if isinstance(value, str) and PLAIN_NUMBER.fullmatch(value.strip()):
        return Decimal(value.strip())
    return value if isinstance(value, Decimal) else None


def moment_of(text: str) -> datetime | None:
    """A time with its offset: without one, the source's zone decides, which is not known here."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # that is the answer
        return None
    return moment if moment.tzinfo else None


UNITS = (1, 10**3, 10**6, 10**9)  # of a second, in which sources count times since 1970
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_time(own: str, held: datetime) -> bool:
    """Whether a time as a payload writes it, in JSON, is certainly this moment.

    ISO 8601, in UTC where it has no offset, or a number of seconds or parts of one. What only the settings of a
    source can read is none.
    """
    value = _read(own)
    number = _number(value)
    if number is not None:
        micros = (held - EPOCH) // timedelta(microseconds=1)
        return any(number * 10**6 == micros * unit for unit in UNITS)
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):  # that is the answer
        return False
    return moment.replace(tzinfo=moment.tzinfo or UTC) == held

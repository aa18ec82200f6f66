"""Records that a program hands over, as bytes: a dictionary becomes JSON, text and bytes stay as they are."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

from store.errors import InputError

Record = Mapping[str, Any] | str | bytes
# Python writes times itself: orjson rounds an offset to minutes, and old ones have seconds.
OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_PASSTHROUGH_DATETIME


def encoded(record: Record, number: int) -> bytes:
    """A record, the `number`-th, as it travels. Raises InputError for a value that JSON has no way to write."""
    if isinstance(record, bytes):
        return record
    if isinstance(record, str):
        return record.encode("utf-8", "surrogatepass")
    if not isinstance(record, Mapping):
        kind = type(record).__name__
        raise InputError(f"record {number:,} is a {kind}: give a dictionary, or text or bytes of one in JSON")
    body = record if type(record) is dict else dict(record)
    try:
        written = orjson.dumps(body, _plain, OPTIONS)
        # orjson writes null for what is no number, and a contract may take null.
        if b"null" not in written:
            return written
    except TypeError:  # spelled out below, or refused there by name
        pass
    try:
        return orjson.dumps(_spelled(body), _plain, OPTIONS)
    except (TypeError, RecursionError) as error:
        raise InputError(
            f"record {number:,} cannot be written as JSON ({error}): change that value"
        ) from error


def _plain(value: Any) -> Any:
    """What JSON can hold of a type that it does not have: a decimal keeps its digits."""
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is no value of JSON")


def _spelled(value: Any) -> Any:
    """A value of which nothing is lost: what JSON has no number or text for is spelled out, and is rejected by name."""
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"the name {name!r:.80} is no text")
        return {name: _spelled(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return orjson.Fragment(json.dumps(float(value)))
    if type(value) is int and not -(2**63) <= value < 2**64:
        return orjson.Fragment(str(value))
    if isinstance(value, str):
        return orjson.Fragment(json.dumps(value))
    return value

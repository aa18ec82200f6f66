"""A source's own adapter: a Python function, raw dict in, contract dict out."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from store.errors import ConfigError
from store.text import error_message
from worker.contract import load_attribute
from worker.judge.faults import NOT_DATA, Fault, Rejection
from worker.judge.parse import INT64_MAX, INT64_MIN, MAX_DEPTH, TOO_DEEP, Unusable

Function = Callable[[dict[str, Any]], dict[str, Any]]
Plain = dict[str, Any] | list[Any] | str | int | float | Decimal | Unusable | None

# What a function raises by a mistake of its own, though from elsewhere it would say nothing about the record.
ITS_OWN = (RecursionError, SystemExit)


def load_function(name: str) -> Function:
    """A source's own adapter. Raises ConfigError where there is no such function."""
    found = load_attribute("adapter", name, "adapters:shop")
    if not callable(found):
        raise ConfigError(f"adapter = {name!r} is no function")
    function: Function = found
    return function


def call(function: Function, raw: dict[str, Any], decimals: bool = False) -> dict[str, Any]:
    """What a source's own adapter makes of a copy, as if JSON had said it.

    With `decimals`, a Decimal keeps the digits that a float does not hold, as in `parse_json`.
    Raises Rejection: adapter_failed, with the type and message of what it raised.
    """
    try:
        adapted = function(dict(raw))
    except ITS_OWN as error:
        raise failed(error_message(error)) from None
    except (*NOT_DATA, Rejection):
        raise
    except Exception as error:
        raise failed(error_message(error)) from None
    if not isinstance(adapted, dict):
        raise failed(f"the adapter returned no dict of named fields, but {type(adapted).__name__}")
    return {named(name): plain(value, decimals) for name, value in adapted.items()}


def failed(why: str) -> Rejection:
    return Rejection(Fault("adapter_failed", None, why))


def named(name: object) -> str:
    """A field's name. Raises Rejection."""
    if not isinstance(name, str):
        raise failed(f"the adapter returned a dict with a name that is no text, but {type(name).__name__}")
    return name


def plain(value: Any, decimals: bool = False, level: int = 2) -> Plain:
    """A value as JSON would have brought it. Raises Rejection for what it has no words for."""
    if value is None or isinstance(value, bool | str | Unusable):
        return value
    if isinstance(value, int):
        fits = INT64_MIN <= value <= INT64_MAX
        return value if fits or decimals else Unusable("the integer does not fit into 64 bits")
    if isinstance(value, float | Decimal):
        return number(value, decimals)
    if isinstance(value, datetime):
        return value.isoformat()
    if level > MAX_DEPTH:
        raise Rejection(TOO_DEEP)
    if isinstance(value, dict):
        return {named(name): plain(inner, decimals, level + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, decimals, level + 1) for inner in value]
    raise failed(f"the adapter returned what is no JSON value: {type(value).__name__}")


def number(value: float | Decimal, decimals: bool) -> float | Decimal | Unusable:
    """A number as a float; with `decimals`, a Decimal that no float has the digits of stays one."""
    is_nan = isinstance(value, Decimal) and value.is_nan()  # a signalling one is not even converted
    near = math.nan if is_nan else float(value)
    if not math.isfinite(near):
        return Unusable("the number is not finite")
    is_exact = not isinstance(value, Decimal) or Decimal(repr(near)) == value
    return value if decimals and not is_exact else near

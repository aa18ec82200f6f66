"""A validated value as its column holds it, and the canonical form that is hashed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from store import timestamps
from store.hashing import plain_digits
from worker.contract import Contract
from worker.judge.faults import Rejection, invalid
from worker.judge.parse import (
    BLANKS,
    INT64_MAX,
    INT64_MIN,
    NUMBER_CHARACTERS,
    Unusable,
    bad_text,
    check_extra,
)

READERS: dict[str, Callable[[str], Any]] = {"real": float, "integer": int, "decimal": Decimal}
YES, NO = frozenset({"true", "t", "yes", "y", "on", "1"}), frozenset({"false", "f", "no", "n", "off", "0"})
SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_NAIVE_UTC | orjson.OPT_PASSTHROUGH_DATACLASS


def is_blank(value: Any) -> bool:
    return value is None or (type(value) is str and (not value or value.isspace()))


def is_true(value: Any) -> bool:
    """True and false, as JSON, CSV and databases write them; absent and blank are false. Raises Rejection."""
    if value is None or type(value) is bool:
        return bool(value)
    text = value.strip().lower() if type(value) is str else str(value) if type(value) is int else "?"
    if text in YES or text in NO or not text:
        return text in YES
    raise Rejection(invalid("deleted", "should be true or false", "boolean", value))


TOO_LONG = "the integer does not fit into 64 bits"
EXACT_FLOATS = 2**53  # from here on a float may stand for several integers
ROUNDED = "has a point or an exponent and more digits than a float holds: write it as text"


def is_rounded(value: Any) -> bool:
    """Whether a value is a float that may stand for several integers."""
    return type(value) is float and not -EXACT_FLOATS < value < EXACT_FLOATS


def is_no_number(value: Any, kind_of_column: str) -> str | None:
    """Why a value is no number for a column, where pydantic would take it for one."""
    kind = type(value)
    if kind is bool:
        return "true and false are no numbers"
    if kind is int and kind_of_column != "decimal" and not INT64_MIN <= value <= INT64_MAX:
        return TOO_LONG
    return value.why if kind is Unusable else None


def is_odd_number(value: Any) -> bool:
    """Whether a text is a number to Python alone: neither JSON nor CSV writes one so."""
    return type(value) is str and bool(value.strip(NUMBER_CHARACTERS))


FITTING_DIGITS = 18  # every integer of so many digits fits into 64 bits


def is_long_integer(value: Any) -> bool:
    """Whether a text is an integer that does not fit into 64 bits: as a number, JSON's is rejected too."""
    if type(value) is not str or len(value) <= FITTING_DIGITS:
        return False
    digits = value.strip(BLANKS)
    bare = digits.removeprefix("-").removeprefix("+").lstrip("0")
    if len(bare) <= FITTING_DIGITS or not (bare.isascii() and bare.isdigit()):
        return False
    return len(bare) > FITTING_DIGITS + 1 or not INT64_MIN <= int(digits) <= INT64_MAX


def is_no_text_number(value: Any, kind_of_column: str) -> str | None:
    """Why a text is no number for a column, where pydantic, which reads it, would take it for one."""
    if is_odd_number(value):
        return ODD_NUMBER
    return TOO_LONG if kind_of_column != "decimal" and is_long_integer(value) else None


ODD_NUMBER = "should be a number as JSON and CSV write it, such as -12.5 or 1e3"


def is_number_for_time(value: Any) -> str | None:
    """Why a number is no date or time, where pydantic would take it for seconds since 1970: 45672 (a day of Excel),
    20250115 and 2025 too."""
    kind = type(value)
    if kind is str:
        has_a_year = (
            value[4:5] == "-" and value[:4].isdigit()
        )  # nearly all: a look is quicker than an exception
        return NUMBER_FOR_TIME if not has_a_year and _is_a_float(value) else None
    return NUMBER_FOR_TIME if kind is int or kind is float or kind is Decimal else None


NUMBER_FOR_TIME = (
    "should be ISO 8601 text, and is a number: casts of its source (epoch, epoch-ms, time:FORMAT) read those"
)


def _is_a_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:  # other text: pydantic reads it as a date, or says why it is none
        return False
    return True


def text_numbers(contract: Contract) -> frozenset[str]:
    """The names of number fields whose text is read by pydantic alone: no validator of the contract sees it first."""
    return frozenset(
        given
        for given, types in _types_of_fields(contract).items()
        if contract.kinds[contract.inputs[given]] in READERS and SEES_TEXT.isdisjoint(types)
    )


def exact_fields(contract: Contract) -> frozenset[str]:
    """The names of fields that take no float which may stand for several integers: integers, and texts, which pydantic
    makes of numbers where the contract says so. A validator that sees a value before pydantic decides for its text."""
    types = _types_of_fields(contract)
    return frozenset(
        given
        for given, field in contract.inputs.items()
        if contract.kinds[field] == "integer"
        or (
            contract.kinds[field] == "text"
            and "str" in (of := types.get(given, NO_TYPES))
            and SEES_TEXT.isdisjoint(of)
        )
    )


def plain_times(contract: Contract) -> frozenset[str]:
    """The names of fields, `ts` aside, that are a date or a moment and nothing else, and are read by pydantic alone.

    None where the contract says itself what its numbers count (`val_temporal_unit`).
    """
    if contract.model.model_config.get("val_temporal_unit", "infer") != "infer":
        return frozenset()
    return frozenset(
        given
        for given, types in _types_of_fields(contract).items()
        if contract.inputs[given] != "ts" and types & TIMES and types <= TIMES | AROUND_TIMES
    )


NO_TYPES: frozenset[str] = frozenset()
SEES_TEXT = frozenset({"function-before", "function-wrap", "function-plain"})
TIMES = frozenset({"datetime", "date"})
AROUND_TIMES = frozenset(
    {"model-field", "nullable", "default", "function-after", "no-info", "with-info", "definition-ref"}
)


def _types_of_fields(contract: Contract) -> dict[str, frozenset[str]]:
    """The name a field is read by -> the types of all within its schema; empty where a validator sees records first."""
    node: Any = contract.model.__pydantic_core_schema__
    definitions = node["definitions"] if node["type"] == "definitions" else []
    named = {each["ref"]: each for each in definitions}
    while node["type"] != "model-fields":
        if node["type"] in SEES_TEXT:
            return {}
        node = named[node["schema_ref"]] if node["type"] == "definition-ref" else node["schema"]
    fields = node["fields"]
    return {given: frozenset(_types(fields[field], dict(named))) for given, field in contract.inputs.items()}


def _types(schema: Any, named: dict[str, Any]) -> Iterator[str]:
    """The types of a schema and of all within it; each of the named schemas is looked into once."""
    if isinstance(schema, dict):
        if isinstance(schema.get("type"), str):
            yield schema["type"]
            if schema["type"] == "definition-ref":
                yield from _types(named.pop(schema["schema_ref"], None), named)
        for inner in schema.values():
            yield from _types(inner, named)
    elif isinstance(schema, list | tuple):
        for inner in schema:
            yield from _types(inner, named)


def fitting(name: str, value: Any, kind: str) -> Any:
    """A value nobody validated, as its column can hold it. Raises Rejection."""
    if is_blank(value):
        return None
    if kind in READERS and isinstance(value, str):
        if kind != "decimal" and is_long_integer(value):
            raise Rejection(invalid(name, TOO_LONG, "int64", value))
        try:
            if is_odd_number(value):
                raise ValueError
            value = READERS[kind](value)
        except (ValueError, ArithmeticError):
            raise Rejection(invalid(name, "should be a number", "number", value)) from None
    expected: Any = {
        "real": (int, float),
        "integer": int,
        "decimal": (int, float, Decimal),
        "boolean": bool,
        "text": str,
    }.get(kind, object)
    if not isinstance(value, expected) or (isinstance(value, bool) and kind in READERS):
        raise Rejection(invalid(name, f"should be {kind}", f"{kind}_type", value))
    if kind == "decimal":
        return Decimal(str(value))
    return float(value) if kind == "real" else value


def decimal_columns(name: str, value: Any) -> tuple[float | None, str | None]:
    """A decimal as a number to compare and sum, and its digits where that number is another.

    Raises Rejection for what is no finite number, or beyond what a column can hold.
    """
    if value is None:
        return None, None
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Rejection(invalid(name, "should be a finite number below 1.8e308", "finite_number", value))
    return number, None if Decimal(repr(number)) == value else plain_digits(value)


def stored(name: str, value: Any, kind: str) -> Any:
    """A field's value as its column holds it. Raises Rejection for what no column can hold."""
    python_type = type(value)
    if python_type is str:
        if why := bad_text(value):
            raise Rejection(invalid(name, why, "text", value))
    elif python_type is float:
        if not math.isfinite(value):
            raise Rejection(invalid(name, "should be a finite number", "finite_number", value))
        if kind != "json":
            value += 0.0  # -0.0 is 0.0, as SQLite holds it
    elif python_type is int:
        if not INT64_MIN <= value <= INT64_MAX:
            raise Rejection(invalid(name, TOO_LONG, "int64", value))
    elif value is None or python_type is bool:
        pass
    else:
        return stored_structure(name, value, kind)
    return orjson.dumps(value).decode() if kind == "json" and value is not None else value


def stored_structure(name: str, value: Any, kind: str) -> Any:
    """As `stored`, for what is no simple value: dates, decimals, enumerations, lists, models."""
    if kind != "json":
        if isinstance(value, datetime) and value.tzinfo is not None:
            return timestamps.to_text(value)
        if isinstance(value, date):
            return value.isoformat()
    try:
        text = canonical(value).decode()
    except orjson.JSONEncodeError as error:
        why = f"cannot be stored: {error.__cause__ or error}"
        raise Rejection(invalid(name, why, "storable", value)) from None
    bare = orjson.loads(text)
    check_extra(name, bare)
    if kind == "json" or isinstance(bare, dict | list):
        return text
    return bare if kind != "text" else str(bare)


def canonical(value: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """JSON with sorted keys: the same value is the same bytes on every machine."""
    default = default or plain
    try:
        return orjson.dumps(value, default=default, option=SORTED)
    except orjson.JSONEncodeError:  # a contract may have dictionaries whose keys are numbers or dates
        return orjson.dumps(value, default=default, option=SORTED | orjson.OPT_NON_STR_KEYS)


def by_value(value: Any) -> Any:
    """As `plain`, with equal decimals alike."""
    return plain_digits(value) if isinstance(value, Decimal) and value.is_finite() else plain(value)


def plain(value: Any) -> Any:
    """What orjson cannot write by itself, for it to write; a set in one order, on every machine."""
    if isinstance(value, set | frozenset):
        return [orjson.loads(each) for each in sorted(canonical(each) for each in value)]
    if isinstance(value, BaseModel):
        return {**value.__dict__, **(value.__pydantic_extra__ or {})}
    if isinstance(value, Unusable):
        raise ValueError(value.why)
    return to_jsonable_python(value)

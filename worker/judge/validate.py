"""Raw -> accepted, or rejected with its reasons. Pure: no clock, no database."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, NamedTuple

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from store import hashing, timestamps
from store.text import error_message, storable_name
from worker.contract import IDENTITY, Contract
from worker.judge.faults import NOT_DATA, Fault, Rejection, invalid, missing
from worker.judge.parse import INT64_MAX, INT64_MIN, UNSTORABLE, Unusable, bad_text, check_extra

SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_NAIVE_UTC | orjson.OPT_PASSTHROUGH_DATACLASS


class Accepted(NamedTuple):
    """A record that keeps its contract, in the form it is stored."""

    key: str
    ts: str  # 27 characters: see store.timestamps
    content_hash: bytes  # 16 bytes
    extra: str | None  # JSON: the fields beyond the contract
    values: tuple[Any, ...]  # the contract's columns, in their order


class Validator:
    """The contract, applied to one source's records."""

    def __init__(
        self, contract: Contract, extra: str, read_time: Callable[[Any], datetime], *, reads_iso: bool = False
    ) -> None:
        self._contract = contract
        self._extra = extra
        self.read_time = read_time
        self.reads_iso = reads_iso  # and nothing else
        self._validate = contract.model.__pydantic_validator__.validate_python
        self._inputs = contract.inputs
        self._ts_input = next(given for given, field in contract.inputs.items() if field == "ts")
        self._numbers = [
            given for given, field in contract.inputs.items() if contract.kinds[field] in ("real", "integer")
        ]
        self._columns = [(column.name, column.kind) for column in contract.columns]

    def validate(self, raw: dict[str, Any]) -> Accepted:
        """The record as it is stored. Raises Rejection with all that is wrong with it.

        Nearly every record is right, so that is tried first; what is wrong is found out afterwards.
        """
        given = {name: raw[name] for name in self._inputs if name in raw}
        try:
            given[self._ts_input] = self.read_time(given[self._ts_input])
            for name in self._numbers:
                if type(given.get(name)) is bool:
                    raise ValueError
            for name in self._contract.required:
                if _is_blank(given[name]):
                    raise ValueError
            model = self._validate(given)
        except NOT_DATA:
            raise
        except Exception as error:
            raise self._rejection(raw, error) from None
        extra = self.extras(raw) if len(raw) > len(given) else None
        return self._accept(model.__dict__, extra)

    def accept_unvalidated(self, raw: dict[str, Any]) -> Accepted:
        """The record with nothing checked but what the tables need: a key, a time, values their columns hold.

        Raises Rejection.
        """
        given = {field: raw.get(name) for name, field in self._inputs.items()}
        faults = [missing(field) for field in IDENTITY if _is_blank(given[field])]
        if not faults and not isinstance(given["key"], str):
            faults = [invalid("key", "should be text")]
        if faults:
            raise Rejection(*faults)
        try:
            given["ts"] = self.read_time(given["ts"])
        except ValueError as error:
            raise Rejection(invalid("ts", str(error))) from None
        for field, kind in self._columns:
            given[field] = fitting(field, given[field], kind)
        return self._accept(given, self.extras(raw))

    def _rejection(self, raw: dict[str, Any], first: Exception) -> Rejection:
        """Everything that is wrong with a record that is; `first` is what was noticed first.

        A contract's own validator that raises anything else than ValueError is `invalid_record`.
        """
        if isinstance(first, ValidationError):  # all that is looked at before was in order
            faults = self._faults(first, set())
        else:
            faults, first = self._all_faults(raw, first)
        try:
            self.extras(raw)
        except Rejection as rejection:
            faults += rejection.faults
        if not faults:
            return Rejection(Fault("invalid_record", None, error_message(first)))
        return Rejection(*sorted(faults, key=self._place))

    def _all_faults(self, raw: dict[str, Any], first: Exception) -> tuple[list[Fault], Exception]:
        """What is wrong with the contract's fields, and the error to tell of where that is nothing."""
        given = {name: raw[name] for name in self._inputs if name in raw}
        faults = [
            missing(self._inputs[name]) for name in self._contract.required if _is_blank(given.get(name))
        ]
        faults += [
            invalid(self._inputs[name], "true and false are no numbers")
            for name in self._numbers
            if type(given.get(name)) is bool
        ]
        if not _is_blank(given.get(self._ts_input)):
            try:
                given[self._ts_input] = self.read_time(given[self._ts_input])
            except ValueError as error:
                faults.append(invalid("ts", str(error)))
        try:
            self._validate(given)
        except ValidationError as error:
            faults += self._faults(error, {fault.field for fault in faults})
        except NOT_DATA:
            raise
        except Exception as error:
            first = error
        return faults, first

    def extras(self, raw: dict[str, Any]) -> dict[str, Any] | None:
        """The fields beyond the contract that are kept. Raises Rejection where they may not be there."""
        beyond = {
            name: value for name, value in raw.items() if name not in self._inputs and value is not None
        }
        if beyond and self._extra == "forbid":
            raise Rejection(
                *(
                    Fault("unexpected_field", storable_name(name), "not in the contract")
                    for name in sorted(beyond)
                )
            )
        if self._extra != "keep":
            return None
        faults: list[Fault] = []
        for name, value in beyond.items():
            try:
                check_extra(storable_name(name), name)
                check_extra(storable_name(name), value)
            except Rejection as rejection:
                faults += rejection.faults
        if faults:
            raise Rejection(*faults)
        return beyond

    def _faults(self, error: ValidationError, known: set[str | None]) -> list[Fault]:
        """pydantic's errors in our words, one a field; its messages tell the rule and not the value."""
        found: dict[str, Fault] = {}
        for each in error.errors(include_url=False, include_context=False, include_input=False):
            given = str(each["loc"][0]) if each["loc"] else "record"
            field = self._contract.inputs.get(given, given)
            if field not in known:
                found.setdefault(
                    field, missing(field) if each["type"] == "missing" else invalid(field, each["msg"])
                )
        return list(found.values())

    def _place(self, fault: Fault) -> tuple[bool, int]:
        """Faults in the contract's order of fields, those of other fields last."""
        fields = list(self._contract.kinds)
        return (True, 0) if fault.field not in fields else (False, fields.index(fault.field))

    def _accept(self, fields: dict[str, Any], extra: dict[str, Any] | None) -> Accepted:
        key, ts = fields["key"], timestamps.to_text(fields["ts"])
        if type(key) is not str:  # a contract may have numbers or UUIDs for keys; the column is text
            key = str(to_jsonable_python(key))
        if why := bad_text(key):
            raise Rejection(invalid("key", why))
        values = []
        for name, kind in self._columns:
            value = fields[name]
            if type(value) is str and kind == "text" and not UNSTORABLE.search(value):
                values.append(value)
            else:
                values.append(stored(name, value, kind))
        body = {**extra, **fields, "ts": ts} if extra else {**fields, "ts": ts}
        kept = orjson.dumps(extra, option=SORTED).decode() if extra else None
        return Accepted(key, ts, hashing.digest(canonical(body)), kept, tuple(values))


def fitting(name: str, value: Any, kind: str) -> Any:
    """A value nobody validated, as its column can hold it. Raises Rejection."""
    if _is_blank(value):
        return None
    if kind in ("real", "integer") and isinstance(value, str):
        try:
            value = float(value) if kind == "real" else int(value)
        except ValueError:
            raise Rejection(invalid(name, "should be a number")) from None
    expected: Any = {"real": (int, float), "integer": int, "boolean": bool, "text": str}.get(kind, object)
    if not isinstance(value, expected) or (isinstance(value, bool) and kind in ("real", "integer")):
        raise Rejection(invalid(name, f"should be {kind}"))
    return float(value) if kind == "real" else value


def stored(name: str, value: Any, kind: str) -> Any:
    """A field's value as its column holds it. Raises Rejection for what no column can hold."""
    python_type = type(value)
    if python_type is str:
        if why := bad_text(value):
            raise Rejection(invalid(name, why))
    elif python_type is float:
        if not math.isfinite(value):
            raise Rejection(invalid(name, "should be a finite number"))
    elif python_type is int:
        if not INT64_MIN <= value <= INT64_MAX:
            raise Rejection(invalid(name, "the integer does not fit into 64 bits"))
    elif value is None or python_type is bool:
        pass
    else:
        return stored_structure(name, value, kind)
    return orjson.dumps(value).decode() if kind == "json" and value is not None else value


def stored_structure(name: str, value: Any, kind: str) -> Any:
    """As `stored`, for what is no simple value: dates, decimals, enumerations, lists, models."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return timestamps.to_text(value)
    if isinstance(value, date):
        return value.isoformat()
    try:
        text = canonical(value).decode()
    except orjson.JSONEncodeError as error:
        raise Rejection(invalid(name, f"cannot be stored: {error.__cause__ or error}")) from None
    bare = orjson.loads(text)
    check_extra(name, bare)
    if kind == "json" or isinstance(bare, dict | list):
        return text
    return bare if kind != "text" else str(bare)


def canonical(value: Any) -> bytes:
    """JSON with sorted keys: the same value is the same bytes on every machine."""
    try:
        return orjson.dumps(value, default=plain, option=SORTED)
    except orjson.JSONEncodeError:  # a contract may have dictionaries whose keys are numbers or dates
        return orjson.dumps(value, default=plain, option=SORTED | orjson.OPT_NON_STR_KEYS)


def plain(value: Any) -> Any:
    """What orjson cannot write by itself, for it to write; a set in one order, on every machine."""
    if isinstance(value, set | frozenset):
        return [orjson.loads(each) for each in sorted(map(canonical, value))]
    if isinstance(value, BaseModel):
        return {**value.__dict__, **(value.__pydantic_extra__ or {})}
    if isinstance(value, Unusable):
        raise ValueError(value.why)
    return to_jsonable_python(value)


def _is_blank(value: Any) -> bool:
    return value is None or (type(value) is str and (not value or value.isspace()))


def content_of(raw: dict[str, Any]) -> str:
    """What a rejected record says, whatever its format: 32 hex digits.

    Cells are text and JSON has types, so values are compared as text, and blanks count as absent.
    """
    said = {_as_text(name): _as_text(value) for name, value in raw.items() if not _is_blank(value)}
    canonical = orjson.dumps(sorted(said.items()), default=str)
    return hashing.hexdigest(canonical)


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return value.why if isinstance(value, Unusable) else repr(value)

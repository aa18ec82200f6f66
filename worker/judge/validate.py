"""Raw -> accepted, or rejected with its reasons. Pure: no clock, no database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails, to_jsonable_python

from store import hashing, timestamps
from store.text import error_message, storable_name
from worker.contract import IDENTITY, Contract
from worker.judge.columns import (
    READERS,
    ROUNDED,
    SORTED,
    by_value,
    canonical,
    decimal_columns,
    exact_fields,
    fitting,
    is_blank,
    is_no_number,
    is_no_text_number,
    is_number_for_time,
    is_rounded,
    plain_times,
    stored,
    text_numbers,
)
from worker.judge.faults import ABSENT, NOT_DATA, Fault, Rejection, invalid, missing
from worker.judge.notation import Notation
from worker.judge.parse import UNSTORABLE, Unusable, bad_text, check_extra
from worker.judge.records import Accepted


class Validator:
    """The contract, applied to one source's records."""

    def __init__(
        self,
        contract: Contract,
        extra: str,
        read_time: Callable[[Any], datetime],
        below_microseconds: Callable[[Any], int],
        *,
        reads_iso: bool = False,
        read_besides: frozenset[str] = frozenset(),
        notation: Notation | None = None,
        read_oddity: Callable[[Any], int] | None = None,
    ) -> None:
        self._contract = contract
        self._read_besides = read_besides  # fields beyond the contract that the source's settings name
        self.exactly = contract.has_decimals  # numbers of many digits come as Decimal
        self._extra = extra
        self.read_time = read_time
        self.below_microseconds = below_microseconds
        self.reads_iso = reads_iso  # and nothing else
        self.notation = notation  # of numbers, where it is not JSON's
        self.read_oddity = read_oddity  # of times, in a zone whose clock is changed
        self._validate = contract.model.__pydantic_validator__.validate_python
        self._inputs = contract.inputs
        self._ts_input = next(given for given, field in contract.inputs.items() if field == "ts")
        kinds = {given: contract.kinds[field] for given, field in contract.inputs.items()}
        self._numbers = [(given, kind) for given, kind in kinds.items() if kind in READERS]
        read_by_pydantic = text_numbers(contract)
        self._text_numbers = [each for each in self._numbers if each[0] in read_by_pydantic]
        self._exact = sorted(exact_fields(contract))
        self._times = sorted(plain_times(contract))
        self._columns = [(field, kind) for field, kind in contract.kinds.items() if field not in IDENTITY]

    def validate(self, raw: dict[str, Any]) -> Accepted:
        """The record as it is stored. Raises Rejection with all that is wrong with it.

        Nearly every record is right, so that is tried first; what is wrong is found out afterwards.
        """
        given = {name: raw[name] for name in self._inputs if name in raw}
        try:
            if self.notation and self._read_numbers(given, self.notation):
                raise ValueError
            given[self._ts_input] = self.read_time(given[self._ts_input])
            for name, kind in self._numbers:
                if is_no_number(given.get(name), kind):
                    raise ValueError
            if any(is_rounded(given.get(name)) for name in self._exact):
                raise ValueError
            for name, kind in self._text_numbers:
                if is_no_text_number(given.get(name), kind):
                    raise ValueError
            for name in self._times:
                if is_number_for_time(given.get(name)):
                    raise ValueError
            for name in self._contract.required:
                if is_blank(given[name]):
                    raise ValueError
            model = self._validate(given)
        except NOT_DATA:
            raise
        except Exception as error:
            raise self._rejection(raw, error) from None
        extra = self.extras(raw) if len(raw) > len(given) else None
        accepted = self._accept(model.__dict__, extra, self.below_microseconds(raw[self._ts_input]))
        return self.flagged(accepted, raw[self._ts_input]) if self.read_oddity else accepted

    def flagged(self, accepted: Accepted, ts: Any) -> Accepted:
        """A record with a flag where its local time, as it was given, exists twice or not at all."""
        return accepted._replace(flags=self.read_oddity(ts)) if self.read_oddity else accepted

    def accept_unvalidated(self, raw: dict[str, Any]) -> Accepted:
        """The record with nothing checked but what the tables need: a key, a time, values their columns hold.

        Raises Rejection.
        """
        raw = dict(raw)
        if self.notation and (faults := self._read_numbers(raw, self.notation)):
            raise Rejection(*faults)
        given = {field: raw.get(name) for name, field in self._inputs.items()}
        faults = [missing(field, given[field]) for field in IDENTITY if is_blank(given[field])]
        if not faults and not isinstance(given["key"], str):
            faults = [invalid("key", "should be text", "string_type", given["key"])]
        if faults:
            raise Rejection(*faults)
        sequence = self.below_microseconds(given["ts"])
        try:
            given["ts"] = self.read_time(given["ts"])
        except ValueError as error:
            raise Rejection(invalid("ts", str(error), "time", given["ts"])) from None
        for field, kind in self._columns:
            given[field] = fitting(field, given[field], kind)
        return self.flagged(self._accept(given, self.extras(raw), sequence), raw[self._ts_input])

    def _read_numbers(self, given: dict[str, Any], notation: Notation) -> list[Fault]:
        """Puts the numbers among these as JSON writes them; what is wrong with those that are none."""
        faults: list[Fault] = []
        for name, kind in self._numbers:
            if name in given:
                strictly = (name, kind) in self._text_numbers
                given[name] = value = notation.read(given[name], strictly=strictly)
                if type(value) is Unusable:
                    faults.append(invalid(self._inputs[name], value.why, "number", value))
        return faults

    def _rejection(self, raw: dict[str, Any], first: Exception) -> Rejection:
        """Everything that is wrong with a record that is; `first` is what was noticed first.

        A contract's own validator that raises anything else than ValueError is `invalid_record`.
        """
        if isinstance(first, ValidationError):  # all that is looked at before was in order
            faults = self.faults(first, set())
        else:
            faults, first = self._all_faults(raw, first)
        try:
            self.extras(raw)
        except Rejection as rejection:
            faults += rejection.faults
        if not faults:
            return Rejection(Fault("invalid_record", None, error_message(first)))
        if len(faults) > 1:
            faults.sort(key=self._field_order)
        return Rejection(*faults)

    def _all_faults(self, raw: dict[str, Any], first: Exception) -> tuple[list[Fault], Exception]:
        """What is wrong with the contract's fields, and the error to tell of where that is nothing."""
        given = {name: raw[name] for name in self._inputs if name in raw}
        faults = self._read_numbers(given, self.notation) if self.notation else []
        unread = {fault.field for fault in faults}
        faults += [
            missing(self._inputs[name], given.get(name, ABSENT))
            for name in self._contract.required
            if is_blank(given.get(name))
        ]
        faults += [
            invalid(self._inputs[name], why, "number", given.get(name))
            for name, kind in self._numbers
            if (why := is_no_number(given.get(name), kind)) and self._inputs[name] not in unread
        ]
        faults += [
            invalid(self._inputs[name], ROUNDED, "number", given[name])
            for name in self._exact
            if is_rounded(given.get(name))
        ]
        faults += [
            invalid(self._inputs[name], why, "time", given[name])
            for name in self._times
            if (why := is_number_for_time(given.get(name)))
        ]
        if not is_blank(given.get(self._ts_input)):
            try:
                given[self._ts_input] = self.read_time(given[self._ts_input])
            except ValueError as error:
                faults.append(invalid("ts", str(error), "time", given[self._ts_input]))
        try:
            self._validate(given)
        except ValidationError as error:
            faults += self.faults(error, {fault.field for fault in faults})
        except NOT_DATA:
            raise
        except Exception as error:
            first = error
        known = {fault.field for fault in faults}
        faults += [
            invalid(self._inputs[name], why, "number", given.get(name))
            for name, kind in self._text_numbers
            if (why := is_no_text_number(given.get(name), kind)) and self._inputs[name] not in known
        ]
        return faults, first

    def extras(self, raw: dict[str, Any]) -> dict[str, Any] | None:
        """The fields beyond the contract that are kept. Raises Rejection where they may not be there."""
        beyond = {
            name: value for name, value in raw.items() if name not in self._inputs and value is not None
        }
        beyond = {name: without_decimals(value) for name, value in beyond.items()} if self.exactly else beyond
        if self._extra == "forbid" and (unexpected := sorted(beyond.keys() - self._read_besides)):
            raise Rejection(
                *(
                    Fault("unexpected_field", storable_name(name), "not in the contract")
                    for name in unexpected
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

    def faults(self, error: ValidationError, known: set[str | None]) -> list[Fault]:
        """pydantic's errors in our words, one a field; its messages tell the rule and not the value."""
        found: dict[str, Fault] = {}
        for each in error.errors(include_url=False, include_context=False):
            given = str(each["loc"][0]) if each["loc"] else "record"
            field = self._contract.inputs.get(given, given)
            if field not in known:
                found.setdefault(field, _fault(field, each))
        return list(found.values())

    def _field_order(self, fault: Fault) -> tuple[bool, int]:
        """Faults in the contract's order of fields, those of other fields last."""
        fields = list(self._contract.kinds)
        return (True, 0) if fault.field not in fields else (False, fields.index(fault.field))

    def _accept(self, fields: dict[str, Any], extra: dict[str, Any] | None, sequence: int) -> Accepted:
        key, ts = key_text(fields["key"]), timestamps.to_text(fields["ts"])
        values: list[Any] = []
        body = {**fields, "ts": ts}
        for name, kind in self._columns:
            value = fields[name]
            if type(value) is str and kind == "text" and not UNSTORABLE.search(value):
                values.append(value)
            elif kind == "decimal":
                number, digits = decimal_columns(name, value)
                values += (number, digits) if name in self._contract.exact else (number,)
            else:
                held = stored(name, value, kind)
                values.append(held)
                if kind != "json":  # two values that the column holds alike are one content
                    body[name] = held
        if extra:
            body["extra"] = extra
        stored_one = orjson.dumps(extra, option=SORTED).decode() if extra else None
        return Accepted(
            key, ts, hashing.digest(canonical(body, by_value)), stored_one, tuple(values), sequence
        )


def _fault(field: str, error: ErrorDetails) -> Fault:
    """One of pydantic's errors. The value of a missing field is what stands around it: it has none."""
    if error["type"] == "missing":
        return missing(field)
    return invalid(field, error["msg"], error["type"], error["input"])


def key_text(key: Any) -> str:
    """A key as its column holds it: a contract may have numbers or UUIDs for keys. Raises Rejection."""
    text = key if type(key) is str else str(to_jsonable_python(key))
    if why := bad_text(text):
        raise Rejection(invalid("key", why, "text", text))
    return text


def without_decimals(value: Any) -> Any:
    """A field beyond the contract as JSON has it: a number of many digits was read exactly for the contract's sake."""
    if type(value) is Decimal:
        return float(value)
    if type(value) is dict:
        return {name: without_decimals(inner) for name, inner in value.items()}
    if type(value) is list:
        return [without_decimals(inner) for inner in value]
    return value

"""Tombstones: records that say that a key was deleted. Only their key and their time need be valid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from pydantic_core import SchemaValidator, core_schema

from store import hashing, timestamps
from worker.contract import IDENTITY, Contract
from worker.judge.adapt import Adapter, getter
from worker.judge.columns import canonical, is_blank, is_true
from worker.judge.faults import NOT_DATA, Fault, Rejection, invalid, missing
from worker.judge.records import Accepted
from worker.judge.validate import Validator, key_text
from worker.settings import SourceSettings


class Tombstones:
    """What one source's tombstones are, and what is stored of them."""

    def __init__(self, source: SourceSettings, contract: Contract, validator: Validator) -> None:
        self._get = getter(source.deleted or "`false`", "deleted", validator.notation)
        given = {name for name, field in contract.inputs.items() if field in IDENTITY}
        self._adapter = Adapter(restricted(source, given.union(IDENTITY)), contract)
        self._inputs = {name: contract.inputs[name] for name in given}
        self._ts = next(name for name, field in self._inputs.items() if field == "ts")
        self._validator = validator
        self._validate = identity_validator(contract)
        self._width = len(contract.columns)

    def is_one(self, raw: dict[str, Any]) -> bool:
        """Whether a raw record says that its key is deleted. Raises Rejection where it says neither."""
        return is_true(self._get(raw))

    def accept(self, raw: dict[str, Any]) -> Accepted:
        """A raw record's key and time, with nothing else. Raises Rejection."""
        adapted = self._adapter.adapt(raw)
        given = {name: adapted.get(name) for name in self._inputs}
        faults = [missing(self._inputs[name], value) for name, value in given.items() if is_blank(value)]
        sequence, ts_text = 0, given[self._ts]
        if not is_blank(given[self._ts]):
            sequence = self._validator.below_microseconds(given[self._ts])
            try:
                given[self._ts] = self._validator.read_time(given[self._ts])
            except ValueError as error:
                faults.append(invalid("ts", str(error), "time", given[self._ts]))
        if faults:
            raise Rejection(*faults)
        fields = self._validated(given)
        key, ts = key_text(fields["key"]), timestamps.to_text(fields["ts"])
        content = hashing.digest(canonical({"deleted": True, "key": key, "ts": ts}))
        accepted = Accepted(key, ts, content, None, (None,) * self._width, sequence, deleted=True)
        return self._validator.flagged(accepted, ts_text)

    def _validated(self, given: dict[str, Any]) -> dict[str, Any]:
        try:
            fields: dict[str, Any] = self._validate(given)[0]
        except ValidationError as error:
            raise Rejection(*self._validator.faults(error, set())) from None
        except NOT_DATA:
            raise
        except Exception as error:  # a contract's own validator may raise anything
            raise Rejection(
                Fault("invalid_record", None, f"its key or time: {type(error).__name__}")
            ) from None
        return fields


def restricted(source: SourceSettings, names: set[str]) -> SourceSettings:
    """A source's mapping, of these fields alone."""
    parts = ("fields", "constants", "defaults", "casts")
    only = {
        part: {name: each for name, each in getattr(source, part).items() if name in names} for part in parts
    }
    return source.model_copy(update=only)


def identity_validator(contract: Contract) -> Callable[[dict[str, Any]], Any]:
    """The contract's own rules for its key and its time alone."""
    node: Any = contract.model.__pydantic_core_schema__
    definitions = node["definitions"] if node["type"] == "definitions" else []
    named, config = {each["ref"]: each for each in definitions}, None
    while node["type"] != "model-fields":  # under whatever validators of the whole stand around the fields
        config = node["config"] if node["type"] == "model" else config
        node = named[node["schema_ref"]] if node["type"] == "definition-ref" else node["schema"]
    schema: Any = core_schema.model_fields_schema({name: node["fields"][name] for name in IDENTITY})
    if definitions:
        schema = core_schema.definitions_schema(schema, definitions)
    return SchemaValidator(schema, config).validate_python

"""The contract on whole columns, for the quick way: each field of a slice is validated in one call.

pydantic validates a column as a list of the field's own type, by the model's own schema, to the same effect as record
by record, in a tenth of the time. A contract whose fields depend on each other is asked record by record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from pydantic_core import CoreConfig, SchemaValidator, core_schema

from store import timestamps
from worker.contract import Contract
from worker.judge.columns import (
    EXACT_FLOATS,
    FITTING_DIGITS,
    READERS,
    exact_fields,
    is_blank,
    is_no_text_number,
    is_number_for_time,
    is_rounded,
    plain_times,
    text_numbers,
)
from worker.judge.columnwise.mapping import Slice
from worker.judge.columnwise.tables import ABSENT, Absent
from worker.judge.faults import NOT_DATA
from worker.judge.notation import Notation
from worker.judge.parse import NUMBER_CHARACTERS, Unusable, needs_exactness

LIMIT = 2**63  # less than this a number was not changed by the parser, and is no infinity
FUNCTIONS = frozenset({"function-before", "function-after", "function-wrap", "function-plain"})

NUMBER_BYTES = NUMBER_CHARACTERS.encode()

Column = list[Any]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the contract, as columns of it are validated."""

    given: str  # the name it is read by
    name: str
    required: bool
    kind: str  # of its column
    is_text_number: bool  # a text must be a number as JSON and CSV write it
    is_exact: bool  # a float that may stand for several integers is none
    is_time: bool  # a number is none, though pydantic would count it from 1970
    validate: Callable[[Column], Column] | None  # None: it is as it should be, or the whole model is asked
    default: Any = ABSENT

    def unfit(self, column: Column) -> set[int]:
        """The rows of what the careful way rejects, or reads another way, before it asks the contract."""
        kinds = set(map(type, column))
        alone = len(kinds) == 1
        odd = {
            kind
            for kind in kinds
            if not self._all_fit(kind, column if alone else [each for each in column if type(each) is kind])
        }
        if not odd:
            return set()
        return {row for row, value in enumerate(column) if type(value) in odd and self._is_unfit(value)}

    def _all_fit(self, kind: type, values: Column) -> bool:
        """Whether all values of one type surely fit: a few calls, instead of one a value."""
        if kind is str:
            if self.required and ("" in values or any(map(str.isspace, values))):
                return False
            if self.is_time and any(map(is_number_for_time, values)):
                return False
            return not self.is_text_number or not (
                any_odd_number(values) or (self.kind != "decimal" and any_long(values))
            )
        if kind is int or kind is float:
            limit = EXACT_FLOATS if kind is float and self.is_exact else LIMIT
            return not self.is_time and min(values) > -limit and max(values) < limit
        return False

    def _is_unfit(self, value: Any) -> bool:
        if value is ABSENT:
            return self.default is ABSENT
        if self.required and is_blank(value):
            return True
        if type(value) is bool:
            return self.kind in READERS
        if self.is_time and is_number_for_time(value):
            return True
        if self.is_text_number and is_no_text_number(value, self.kind):
            return True
        return (self.is_exact and is_rounded(value)) or type(value) is Unusable or needs_exactness((value,))

    def validated(self, column: Column) -> tuple[Column, set[int]]:
        """The column as the contract has it; or the rows that break the contract."""
        if self.validate is None:
            return column, set()
        if Absent not in set(map(type, column)):
            return validated(self.validate, column)
        rows = [row for row, value in enumerate(column) if value is not ABSENT]
        there, odd = validated(self.validate, [column[row] for row in rows])
        if odd:
            return column, {rows[row] for row in odd}
        filled = [self.default] * len(column)
        for row, value in zip(rows, there, strict=True):
            filled[row] = value
        return filled, set()


def _plain(column: Column, field: Field, notation: Notation, odd: set[int]) -> Column:
    """A column of numbers as JSON writes them; what is none is added to `odd`."""
    plain = [notation.read(value, strictly=field.is_text_number) for value in column]
    odd |= {row for row, value in enumerate(plain) if type(value) is Unusable}
    return plain


def any_odd_number(texts: list[str]) -> bool:
    """Whether a text among these is odd as a number: a tenth of the time of a look at each."""
    return bool("".join(texts).encode("utf-8", "surrogatepass").translate(None, NUMBER_BYTES))


def any_long(texts: list[str]) -> bool:
    """Whether a text among these may be an integer of more than 64 bits."""
    return max(map(len, texts)) > FITTING_DIGITS


def validated(validate: Callable[[Column], Column], column: Column) -> tuple[Column, set[int]]:
    """A column as pydantic has it; or the rows that it refuses."""
    try:
        return validate(column), set()
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        return column, {int(each["loc"][0]) for each in errors}
    except NOT_DATA:
        raise
    except Exception:  # a contract's own validator may raise anything
        return column, {row for row, value in enumerate(column) if not _is_valid(validate, value)}


def _is_valid(validate: Callable[[Column], Column], value: Any) -> bool:
    try:
        validate([value])
    except NOT_DATA:
        raise
    except Exception:  # the careful way finds out why
        return False
    return True


class Fields:
    """The contract, compiled for columns."""

    def __init__(self, contract: Contract, notation: Notation | None = None) -> None:
        self._notation = notation
        schemas = independent(contract)
        self._ts = next(given for given, name in contract.inputs.items() if name == "ts")
        self._fields = [_field(contract, given, name, schemas) for given, name in contract.inputs.items()]
        self._whole = None if schemas else contract.model.__pydantic_validator__.validate_python
        # Most contracts take the time as it was read; it need not be a datetime for them.
        self._asks_of_ts = any(field.validate for field in self._fields if field.name == "ts")

    def drop_unfit(self, records: Slice) -> None:
        """Leaves records to the careful way that it may reject before it asks the contract."""
        odd: set[int] = set()
        for field in self._fields:
            if self._notation and field.kind in READERS:
                records.given[field.given] = _plain(records.given[field.given], field, self._notation, odd)
            odd |= field.unfit(records.given[field.given])
        records.drop(odd)

    def validate(self, records: Slice) -> None:
        """Fills the slice's `fields`, and its times; what breaks the contract drops out."""
        if self._whole:
            records.given[self._ts] = list(map(datetime.fromisoformat, records.own["ts"]))
            self._validate_whole(records, self._whole)
            return
        if self._asks_of_ts:
            records.given[self._ts] = list(map(datetime.fromisoformat, records.own["ts"]))
        for field in self._fields:
            column, odd = field.validated(records.given[field.given])
            while odd:
                records.drop(odd)
                column, odd = field.validated(records.given[field.given])
            records.fields[field.name] = column
        if self._asks_of_ts:
            _take_times(records, records.given[self._ts])

    def _validate_whole(self, records: Slice, validate: Callable[[Any], Any]) -> None:
        odd: set[int] = set()
        valid: list[dict[str, Any]] = []
        kinds = {name: set(map(type, column)) for name, column in records.given.items()}
        names = [name for name in records.given if kinds[name] != {Absent}]
        columns = [records.given[name] for name in names]
        some_absent = any(Absent in kinds[name] for name in names)
        for row, values in enumerate(zip(*columns, strict=True)):
            given = dict(zip(names, values, strict=True))
            if some_absent:
                given = {name: value for name, value in given.items() if value is not ABSENT}
            try:
                valid.append(validate(given).__dict__)
            except NOT_DATA:
                raise
            except Exception:
                odd.add(row)
        records.drop(odd)
        for field in self._fields:
            records.fields[field.name] = [each[field.name] for each in valid]
        _take_times(records, records.given[self._ts])


def _take_times(records: Slice, given: list[datetime]) -> None:
    """The times that the contract has made of those it was given, as stored text."""
    stored: list[str] = []
    odd: set[int] = set()
    for row, (moment, read, text) in enumerate(
        zip(records.fields["ts"], given, records.own["ts"], strict=True)
    ):
        try:
            stored.append(text if moment is read else timestamps.to_text(moment))
        except (AttributeError, OverflowError, ValueError):
            odd.add(row)
            stored.append(text)
    records.own["ts"] = stored
    records.drop(odd)


def _field(contract: Contract, given: str, name: str, schemas: dict[str, Any] | None) -> Field:
    required, kind = given in contract.required, contract.kinds[name]
    is_text_number, is_time = given in text_numbers(contract), given in plain_times(contract)
    is_exact = given in exact_fields(contract)
    if schemas is None:
        info = contract.model.model_fields[name]
        return Field(
            given, name, required, kind, is_text_number, is_exact, is_time, None,
            ABSENT if info.is_required() else None,
        )  # fmt: skip
    schema = schemas[name]
    inner = schema["schema"] if schema["type"] == "default" else schema
    default = schema["default"] if schema["type"] == "default" else ABSENT
    if name == "ts" and is_any_datetime(inner):
        return Field(given, name, required, kind, is_text_number, is_exact, is_time, None)
    core: Any = contract.model.__pydantic_core_schema__
    column: Any = core_schema.list_schema(inner)
    if core["type"] == "definitions":
        column = core_schema.definitions_schema(column, core["definitions"])
    validate = SchemaValidator(column, _config(core)).validate_python
    return Field(given, name, required, kind, is_text_number, is_exact, is_time, validate, default)


def _config(core: Any) -> CoreConfig | None:
    found: CoreConfig | None = _model(core).get("config")
    return found


def _model(core: Any) -> Any:
    return core["schema"] if core["type"] == "definitions" else core


def is_any_datetime(schema: Any) -> bool:
    """Whether a field takes every aware datetime, as it is."""
    return schema["type"] == "datetime" and not set(schema) - {"type", "microseconds_precision", "metadata"}


def independent(contract: Contract) -> dict[str, Any] | None:
    """The schema of each field, where none depends on another field or on the whole; else None."""
    model = _model(contract.model.__pydantic_core_schema__)
    if model["type"] != "model" or model["schema"]["type"] != "model-fields":
        return None
    if model.get("custom_init") or model.get("root_model") or model.get("post_init"):
        return None
    if (model.get("config") or {}).get("validate_default"):
        return None
    schemas: dict[str, Any] = {}
    for name, field in model["schema"]["fields"].items():
        schema = field["schema"]
        if schema["type"] == "default" and ("default" not in schema or schema.get("validate_default")):
            return None
        if any(
            each["type"] in FUNCTIONS and each["function"]["type"] == "with-info" for each in _nodes(schema)
        ):
            return None
        schemas[name] = schema
    return schemas if schemas.keys() == contract.kinds.keys() else None


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and all within it."""
    if isinstance(schema, dict):
        if isinstance(schema.get("type"), str):
            yield schema
        for inner in schema.values():
            yield from _nodes(inner)
    elif isinstance(schema, list | tuple):
        for inner in schema:
            yield from _nodes(inner)

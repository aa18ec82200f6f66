"""Adapters: one source's field names and time format -> the contract's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

import jmespath
import jmespath.functions
import orjson
from jmespath.exceptions import JMESPathError

from store.errors import ConfigError
from store.text import storable_name
from worker.contract import Contract
from worker.judge.columns import READERS, ROUNDED, is_odd_number, is_rounded
from worker.judge.faults import Rejection, invalid, missing
from worker.judge.functions import call, load_function
from worker.judge.notation import Cast, Notation, caster
from worker.judge.parse import Unusable
from worker.judge.times import digits_reader, integer_of, oddity_reader, time_reader
from worker.settings import SourceSettings

Getter = Callable[[dict[str, Any]], Any]

INT64 = 2**63
PLAIN_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


class Adapter:
    """One source's mapping, compiled; without one, records pass as they are."""

    def __init__(self, source: SourceSettings, contract: Contract, notation: Notation | None = None) -> None:
        self.notation = notation  # of numbers, where it is not JSON's
        inputs = {field: given for given, field in contract.inputs.items()}
        self.expressions = {inputs.get(name, name): path for name, path in source.fields.items()}
        # What the mapping looks at is taken apart; the rest of the record stays as it is.
        self.consumed = {
            root
            for expression in self.expressions.values()
            for root in roots(jmespath.compile(expression).parsed)
        }
        self.getters = [
            (name, getter(expression, contract.inputs.get(name, name), notation))
            for name, expression in self.expressions.items()
        ]
        kinds = contract.kinds if notation else {}
        self.constants = {
            inputs.get(name, name): _number(value, kinds.get(name))
            for name, value in source.constants.items()
        }
        self.defaults = {
            inputs.get(name, name): _number(value, kinds.get(name)) for name, value in source.defaults.items()
        }
        if beyond := sorted(
            source.casts.keys() - contract.kinds.keys() - inputs.keys() - contract.inputs.keys()
        ):
            raise ConfigError(f"casts.{beyond[0]}: the contract {contract.name} has no such field")
        self.casts = {
            inputs.get(name, name): _caster(how, contract.inputs.get(name, name), contract, notation)
            for name, how in source.casts.items()
        }
        self.function = load_function(source.adapter) if source.adapter else None
        self.has_decimals = contract.has_decimals
        self.changes_records = bool(
            self.getters or self.constants or self.defaults or self.function or self.casts
        )
        self.read_time = time_reader(source)
        self.read_oddity = oddity_reader(source)
        self.below_microseconds = digits_reader(source)
        self.sequence = source.sequence
        self.read_sequence = sequence_reader(source.sequence, notation) if source.sequence else None
        self.deleted = source.deleted
        besides = [expression for expression in (source.sequence, source.deleted) if expression]
        self.read_besides = frozenset(
            root for expression in besides for root in roots(jmespath.compile(expression).parsed)
        )
        self.reads_iso = not source.ts_unit and not source.ts_format

    def adapt(self, raw: dict[str, Any]) -> dict[str, Any]:
        """The raw record under the contract's names; what a mapping does not find is absent.

        Fields that no expression looks at pass as they are. Raises Rejection.
        """
        if not self.changes_records:
            return raw
        if self.function:
            refuse_unusable(raw, raw)
            return call(self.function, raw, self.has_decimals)
        refuse_unusable(raw, self.consumed)
        adapted = {name: value for name, value in raw.items() if name not in self.consumed}
        for name, get in self.getters:
            value = get(raw)
            if value is None:
                adapted.pop(name, None)
            else:
                adapted[name] = value
        for name, read in self.casts.items():
            if name in adapted:
                adapted[name] = read(adapted[name])
        for name, value in self.defaults.items():
            if adapted.get(name) in (None, ""):
                adapted[name] = value
        return adapted | self.constants


def _caster(how: str, field: str, contract: Contract, notation: Notation | None) -> Cast:
    """A cast of one field; a float does not hold all integers."""
    is_exact = contract.has_decimals or contract.kinds[field] == "integer"
    return caster(how, decimals=is_exact, notation=notation)


def _number(value: Any, kind: str | None) -> Any:
    """What a configuration gives to a field of numbers, as a number: its text is not in the notation of a file."""
    if kind in READERS and isinstance(value, str) and not is_odd_number(value):
        with suppress(ValueError, ArithmeticError):  # the validator says what is wrong with it
            return READERS[kind](value)
    return value


def refuse_unusable(raw: dict[str, Any], names: Iterable[str]) -> None:
    """Raises Rejection where one of these fields holds what is no value: no mapping or adapter gets to see it."""
    for name in names:
        value = raw.get(name)
        kind = type(value)
        if (kind is Unusable or kind is dict or kind is list) and (why := unusable_within(value)):
            raise Rejection(invalid(storable_name(name), why, "unusable", value))


def holds(value: Any, is_one: Callable[[Any], bool]) -> bool:
    """Whether a value is one of a kind, or has one in it."""
    kind = type(value)
    if kind is dict or kind is list:
        return any(holds(inner, is_one) for inner in (value.values() if kind is dict else value))
    return is_one(value)


def is_decimal(value: Any) -> bool:
    """Whether a number was read exactly: JMESPath would bend it, or take it for a text."""
    return type(value) is Decimal


def unusable_within(value: Any) -> str | None:
    """Why a value, or one in it, is none; None where all are."""
    if type(value) is Unusable:
        return value.why
    inner = value.values() if type(value) is dict else value if type(value) is list else ()
    return next((why for each in inner if (why := unusable_within(each))), None)


class Rounded(ValueError):
    """A float may stand for several integers; the message says what to do."""


class Functions(jmespath.functions.Functions):  # type: ignore[misc]
    """JMESPath's own, with numbers as JSON and CSV write them, or in a notation."""

    def __init__(self, notation: Notation | None = None) -> None:
        self._notation = notation

    @jmespath.functions.signature({"types": []})  # type: ignore[untyped-decorator]
    def _func_to_number(self, value: Any) -> Any:
        """Raises ValueError for a text that is a number to Python alone."""
        if self._notation and (plain := self._notation.read(value, strictly=False)) is not value:
            if isinstance(plain, Unusable):
                raise ValueError("no number")
            value = plain
        if is_odd_number(value) and super()._func_to_number(value) is not None:
            raise ValueError("no number")
        return super()._func_to_number(value)

    @jmespath.functions.signature({"types": []})  # type: ignore[untyped-decorator]
    def _func_to_string(self, value: Any) -> Any:
        """Raises Rounded: of two ids that a parser made one float of, it would make one text."""
        if holds(value, is_rounded):
            raise Rounded(ROUNDED)
        return super()._func_to_string(value)


# Of these nodes of an expression all children look at the record; of any other the first alone does.
SIDE_BY_SIDE = frozenset(
    {
        "and_expression",
        "comparator",
        "function_expression",
        "key_val_pair",
        "multi_select_dict",
        "multi_select_list",
        "not_expression",
        "or_expression",
    }
)


def roots(node: dict[str, Any]) -> Iterator[str]:
    """The record's own fields that a parsed expression looks at."""
    if node["type"] == "field":
        yield node["value"]
    children = node.get("children", [])
    for child in children if node["type"] in SIDE_BY_SIDE else children[:1]:
        yield from roots(child)


def getter(expression: str, field: str, notation: Notation | None = None) -> Getter:
    """A function that looks an expression up in a raw record; None where it finds nothing.

    Raises Rejection where the record is not what the expression works on.

    A plain path of names, the usual mapping, is walked here: an interpreter of all of JMESPath takes
    about ten times as long, per field of every record.
    """
    if not PLAIN_PATH.fullmatch(expression):
        compiled = jmespath.compile(expression)
        read = tuple(roots(compiled.parsed))
        options = jmespath.Options(custom_functions=Functions(notation))

        def search(raw: dict[str, Any]) -> Any:
            if any(holds(raw.get(name), is_decimal) for name in read):
                why = "an expression cannot read a number of so many digits"
                raise Rejection(invalid(field, why, "expression"))
            try:
                return compiled.search(raw, options=options)
            except Rounded as error:
                raise Rejection(invalid(field, str(error), "expression")) from None
            except (JMESPathError, ArithmeticError, LookupError, TypeError, ValueError) as error:
                why = f"the source's expression for it cannot be evaluated: {type(error).__name__}"
                raise Rejection(invalid(field, why, "expression")) from None

        return search
    names = expression.split(".")
    if len(names) == 1:
        return lambda raw: raw.get(names[0])

    def walk(raw: dict[str, Any]) -> Any:
        value: Any = raw
        for name in names:
            if type(value) is not dict:
                return None
            value = value.get(name)
        return value

    return walk


def sequence_reader(expression: str, notation: Notation | None = None) -> Callable[[dict[str, Any]], int]:
    """A function from a raw record to its sequence; it raises Rejection for what is no 64-bit integer."""
    get = getter(expression, "sequence", notation)

    def read(raw: dict[str, Any]) -> int:
        value = get(raw)
        if value is None or (type(value) is str and not value.strip()):
            raise Rejection(missing("sequence", value))
        number = integer_of(value)
        if number is None or not -INT64 <= number < INT64:
            why = "should be an integer of at most 64 bits"
            raise Rejection(invalid("sequence", why, "int64", value))
        return number

    return read


# --- where the contract's fields come from, as data that lasts ---

Origins = dict[str, dict[str, Any]]


def origins_json(source: SourceSettings, contract: Contract, adapter: Adapter) -> str:
    """`origins`, to be stored."""
    return orjson.dumps(origins(source, contract, adapter)).decode()


def origins(source: SourceSettings, contract: Contract, adapter: Adapter) -> Origins:
    """Field -> `{"path": [names]}` of the one raw field that it is read from, or `{"by": what makes it}`.

    `sequence` and `deleted` of the source are among them, where the contract has no such fields.
    """
    given = {field: name for name, field in contract.inputs.items()}
    found = {field: _origin(source, given.get(field, field), field, adapter) for field in contract.kinds}
    for name, expression in (("sequence", source.sequence), ("deleted", source.deleted)):
        if expression and name not in found:
            found[name] = _read_by(expression)
    return found


def path_of(expression: str) -> list[str] | None:
    """The names of the one raw field that an expression reads; None for one that does more."""
    return _path(jmespath.compile(expression).parsed)


def _origin(source: SourceSettings, given: str, field: str, adapter: Adapter) -> dict[str, Any]:
    if source.adapter:
        return {"by": f"the adapter {source.adapter}"}
    if given in adapter.constants:
        return {"by": f"constants.{field}"}
    if given in adapter.expressions:
        return _read_by(adapter.expressions[given])
    if given in adapter.consumed:
        return {"by": f"no field: the mapping reads {given} for others"}
    return {"path": [given]}


def _read_by(expression: str) -> dict[str, Any]:
    path = path_of(expression)
    return {"path": path} if path else {"by": f"the expression {expression}"}


def _path(node: dict[str, Any]) -> list[str] | None:
    if node["type"] == "field":
        return [node["value"]]
    if node["type"] != "subexpression":
        return None
    found: list[str] = []
    for child in node["children"]:
        names = _path(child)
        if names is None:
            return None
        found += names
    return found

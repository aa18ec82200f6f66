"""Adapters: one source's field names and time format -> the contract's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import jmespath
from jmespath.exceptions import JMESPathError

from store.text import storable_name
from worker.contract import Contract
from worker.judge.faults import Rejection, invalid, missing
from worker.judge.functions import call, load_function
from worker.judge.parse import Unusable
from worker.settings import SourceSettings

Getter = Callable[[dict[str, Any]], Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
PLAIN_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


class Adapter:
    """One source's mapping, compiled; without one, records pass as they are."""

    def __init__(self, source: SourceSettings, contract: Contract) -> None:
        inputs = {field: given for given, field in contract.inputs.items()}
        named = {inputs.get(name, name): expression for name, expression in source.fields.items()}
        # What the mapping looks at is taken apart; the rest of the record stays as it is.
        self._consumed = {
            root for expression in named.values() for root in roots(jmespath.compile(expression).parsed)
        }
        self._getters = [
            (name, getter(expression, contract.inputs.get(name, name))) for name, expression in named.items()
        ]
        self._constants = {inputs.get(name, name): value for name, value in source.constants.items()}
        self._defaults = {inputs.get(name, name): value for name, value in source.defaults.items()}
        self._function = load_function(source.adapter) if source.adapter else None
        self.changes_records = bool(self._getters or self._constants or self._defaults or self._function)
        self.read_time = time_reader(source)
        self.below_microseconds = digits_reader(source)
        self.read_sequence = sequence_reader(source.sequence) if source.sequence else None
        self.read_besides = frozenset(
            roots(jmespath.compile(source.sequence).parsed) if source.sequence else ()
        )
        self.reads_iso = not source.ts_unit and not source.ts_format

    def adapt(self, raw: dict[str, Any]) -> dict[str, Any]:
        """The raw record under the contract's names; what a mapping does not find is absent.

        Fields that no expression looks at pass as they are. Raises Rejection.
        """
        if not self.changes_records:
            return raw
        if self._function:
            refuse_unusable(raw, raw)
            return call(self._function, raw)
        refuse_unusable(raw, self._consumed)
        adapted = {name: value for name, value in raw.items() if name not in self._consumed}
        for name, get in self._getters:
            value = get(raw)
            if value is None:
                adapted.pop(name, None)
            else:
                adapted[name] = value
        for name, value in self._defaults.items():
            if adapted.get(name) in (None, ""):
                adapted[name] = value
        return adapted | self._constants


def refuse_unusable(raw: dict[str, Any], names: Iterable[str]) -> None:
    """Raises Rejection where one of these fields holds what is no value: no mapping or adapter gets to see it."""
    for name in names:
        value = raw.get(name)
        kind = type(value)
        if (kind is Unusable or kind is dict or kind is list) and (why := unusable_within(value)):
            raise Rejection(invalid(storable_name(name), why))


def holds_decimal(value: Any) -> bool:
    """Whether a number that was read exactly is in a value: JMESPath would bend it, or take it for a text."""
    kind = type(value)
    if kind is dict or kind is list:
        return any(holds_decimal(inner) for inner in (value.values() if kind is dict else value))
    return kind is Decimal


def unusable_within(value: Any) -> str | None:
    """Why a value, or one in it, is none; None where all are."""
    if type(value) is Unusable:
        return value.why
    inner = value.values() if type(value) is dict else value if type(value) is list else ()
    return next((why for each in inner if (why := unusable_within(each))), None)


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


def getter(expression: str, field: str) -> Getter:
    """A function that looks an expression up in a raw record; None where it finds nothing.

    Raises Rejection where the record is not what the expression works on.

    A plain path of names, the usual mapping, is walked here: an interpreter of all of JMESPath takes
    about ten times as long, per field of every record.
    """
    if not PLAIN_PATH.fullmatch(expression):
        compiled = jmespath.compile(expression)
        read = tuple(roots(compiled.parsed))

        def search(raw: dict[str, Any]) -> Any:
            if any(holds_decimal(raw.get(name)) for name in read):
                raise Rejection(invalid(field, "an expression cannot read a number of so many digits"))
            try:
                return compiled.search(raw)
            except (JMESPathError, ArithmeticError, LookupError, TypeError, ValueError) as error:
                why = f"the source's expression for it cannot be evaluated: {type(error).__name__}"
                raise Rejection(invalid(field, why)) from None

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


def time_reader(source: SourceSettings) -> Callable[[Any], datetime]:
    """A function from a raw `ts` to an aware datetime; it raises ValueError with what is wrong."""
    if source.ts_unit:
        per_second = UNITS_PER_SECOND[source.ts_unit]
        return lambda value: from_epoch(value, per_second)
    zone = zone_of(source)
    if layout := source.ts_format:
        return lambda value: from_layout(value, layout, zone)
    return lambda value: from_iso(value, zone)


BELOW_MICROSECONDS = re.compile(r"[.,][0-9]{6}([0-9]{1,12})")
INTEGER = re.compile(r"\s*[+-]?\d{1,30}\s*")
INT64 = 2**63


def digits_reader(source: SourceSettings) -> Callable[[Any], int]:
    """A function from a raw `ts` to what it has below microseconds: it orders versions of one time."""
    if source.ts_unit == "ns":
        return nanoseconds
    if source.ts_unit or source.ts_format:  # read to the nearest microsecond, and no closer
        return lambda _: 0
    return fraction_below_microseconds


def fraction_below_microseconds(value: Any) -> int:
    """The digits of ISO 8601 text below microseconds, up to 12 of them, as an integer."""
    if type(value) is not str or len(value) < 27:
        return 0
    found = BELOW_MICROSECONDS.search(value)
    return int(found[1].ljust(12, "0")) if found else 0


def nanoseconds(value: Any) -> int:
    """What an epoch number of nanoseconds has below microseconds."""
    number = integer_of(value)
    return 0 if number is None else number % 1000


def sequence_reader(expression: str) -> Callable[[dict[str, Any]], int]:
    """A function from a raw record to its sequence; it raises Rejection for what is no 64-bit integer."""
    get = getter(expression, "sequence")

    def read(raw: dict[str, Any]) -> int:
        value = get(raw)
        if value is None or (type(value) is str and not value.strip()):
            raise Rejection(missing("sequence"))
        number = integer_of(value)
        if number is None or not -INT64 <= number < INT64:
            raise Rejection(invalid("sequence", "should be an integer of at most 64 bits"))
        return number

    return read


def integer_of(value: Any) -> int | None:
    """An integer, or the text of one (CSV has nothing else); None for anything else."""
    if type(value) is str and INTEGER.fullmatch(value):
        return int(value)
    return value if type(value) is int else None


def zone_of(source: SourceSettings) -> tzinfo | None:
    """The zone of a ts without offset; None where that is refused."""
    if source.assume_tz == "reject":
        return None
    return UTC if source.assume_tz == "UTC" else ZoneInfo(source.assume_tz)


def from_epoch(value: Any, per_second: int) -> datetime:
    """A number of units since 1970, exactly; text that is a number is one (CSV has nothing else)."""
    if isinstance(value, str):
        try:
            value = int(value) if value.strip().lstrip("+-").isdigit() else float(value)
        except ValueError:
            raise ValueError("should be a number since 1970, as this source's ts_unit says") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("should be a number since 1970, as this source's ts_unit says")
    try:
        # Whole units are kept exact: a float of nanoseconds would be off by hundreds.
        micros = value * 10**6 // per_second if isinstance(value, int) else round(value * 10**6 / per_second)
        return EPOCH + timedelta(microseconds=micros)
    except (OverflowError, ValueError):
        raise ValueError("lies outside the years 1 to 9999: is ts_unit right?") from None


def from_iso(value: Any, zone: tzinfo | None) -> datetime:
    """ISO 8601 / RFC 3339 text; without an offset it is read in `zone`, or refused where that is None."""
    if not isinstance(value, str):
        raise ValueError("should be ISO 8601 text; name ts_unit for a source that sends epoch numbers")
    # fromisoformat would take digits alone for a basic-format date, and any character for the T.
    if value[4:5] != "-" or (len(value) > 10 and value[10] not in "Tt "):
        raise ValueError("should be ISO 8601, like 2025-01-15T12:00:00Z")
    try:
        moment = datetime.fromisoformat(value[:-1] + "Z" if value[-1] == "z" else value)
    except ValueError:
        raise ValueError("should be ISO 8601, like 2025-01-15T12:00:00Z") from None
    return in_utc(moment, zone)


def from_layout(value: Any, layout: str, zone: tzinfo | None) -> datetime:
    """Text in strptime's `layout`; one without an offset is read in `zone`."""
    if not isinstance(value, str):
        raise ValueError(f"should be text like {layout}")
    try:
        moment = datetime.strptime(value, layout)
    except ValueError:
        raise ValueError(f"should be text like {layout}") from None
    return in_utc(moment, zone)


def in_utc(moment: datetime, zone: tzinfo | None) -> datetime:
    """A moment with its offset honoured, or read in `zone`, or refused where that is None."""
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError("has no offset, and this source's assume_tz is reject")
        moment = moment.replace(tzinfo=zone)
    try:
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside the years 1 to 9999") from None

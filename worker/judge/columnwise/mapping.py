"""A source's mapping on a table: the contract's columns, what is beyond them, and the sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import compress
from typing import Any

import jmespath
import orjson

from worker.contract import Contract
from worker.judge.adapt import INT64, PLAIN_PATH, Adapter, Getter, getter, roots
from worker.judge.columns import SORTED, is_true
from worker.judge.columnwise.tables import ABSENT, JsonTable, Table
from worker.judge.faults import Rejection
from worker.judge.functions import Function, call
from worker.judge.notation import Cast
from worker.judge.parse import Unusable, check_extra, needs_exactness
from worker.judge.times import integer_of

NoneType = type(None)


@dataclass(slots=True)
class Slice:
    """Records of a batch on the quick way, as columns; what is odd drops out of all of them."""

    positions: list[int]
    given: dict[str, list[Any]]  # by the names the contract reads its fields by
    fields: dict[str, list[Any]]  # validated, by their own names
    own: dict[str, list[Any]]  # "ts", "sequence", "extra": what every staged row has

    def __len__(self) -> int:
        return len(self.positions)

    def drop(self, odd: Iterable[int]) -> None:
        """Leaves these rows to the careful way."""
        odd = set(odd)
        if not odd:
            return
        stays = [True] * len(self.positions)
        for row in odd:
            stays[row] = False
        self.positions = list(compress(self.positions, stays))
        for columns in (self.given, self.fields, self.own):
            for name, column in columns.items():
                columns[name] = list(compress(column, stays))


class Mapping:
    """A source's mapping, compiled for tables."""

    def __init__(self, adapter: Adapter, contract: Contract, extra: str) -> None:
        self._adapter = adapter
        self._inputs = list(contract.inputs)
        self._extra = extra
        self._readers = {
            name: _reader(expression, get)
            for (name, expression), (_, get) in zip(adapter.expressions.items(), adapter.getters, strict=True)
        }
        named = {*self._readers, *adapter.defaults, *adapter.constants}
        self._named_beyond = sorted(named.difference(self._inputs))
        self._known = {*self._inputs, *named, *adapter.consumed}
        # What comes from JSON text is storable but for its numbers; what an expression or a person makes may not be.
        self._is_from_text = adapter.function is None and not self._named_beyond
        expression = adapter.sequence
        self._sequence = (
            _reader(expression, getter(expression, "sequence", adapter.notation)) if expression else None
        )
        expression = adapter.deleted
        self._deleted = (
            _reader(expression, getter(expression, "deleted", adapter.notation)) if expression else None
        )

    def slice(self, table: Table, positions: list[int]) -> Slice:
        """The table's records under the contract's names, without those that are odd."""
        odd: set[int] = set()
        own: dict[str, list[Any]] = {}
        if self._sequence:
            own["sequence"] = _sequences(self._sequence(table, odd), odd)
        if self._deleted:  # what is deleted, or may be, is left to the careful way
            odd |= _not_alive(self._deleted(table, odd))
        if function := self._adapter.function:
            table = called(function, table, odd, decimals=self._adapter.has_decimals)
        given = {name: self._column(table, name, odd) for name in self._inputs}
        if self._extra != "ignore" and (beyond := self._beyond(table, odd)):
            own["extra"] = self._written(beyond, odd)
        taken = Slice(positions, given, {}, own)
        taken.drop(odd)
        return taken

    def _column(self, table: Table, name: str, odd: set[int]) -> list[Any]:
        adapter = self._adapter
        if adapter.function:
            return table.column(name)
        if name in adapter.constants:
            return [adapter.constants[name]] * len(table)
        if read := self._readers.get(name):
            column = read(table, odd)
        elif name in adapter.consumed:
            column = [ABSENT] * len(table)
        else:
            column = table.column(name)
        if name in adapter.casts:
            column = _cast(column, adapter.casts[name], odd)
        if name in adapter.defaults:
            default = adapter.defaults[name]
            return [default if each is ABSENT or each in (None, "") else each for each in column]
        if read and NoneType in set(map(type, column)):
            return [ABSENT if each is None else each for each in column]
        return column

    def _beyond(self, table: Table, odd: set[int]) -> list[dict[str, Any]] | None:
        """The fields beyond the contract of each record; None where no record has one."""
        beyond = table.beyond(self._inputs if self._adapter.function else self._known)
        if self._adapter.function:
            return beyond
        for name in self._named_beyond:
            beyond = beyond or [{} for _ in range(len(table))]
            for each, value in zip(beyond, self._column(table, name, odd), strict=True):
                if value is not ABSENT and value is not None:
                    each[name] = value
        return beyond

    def _written(self, beyond: list[dict[str, Any]], odd: set[int]) -> list[bytes]:
        """The fields beyond the contract as JSON; nothing where there are none."""
        written: list[bytes] = []
        for row, fields in enumerate(beyond):
            text = b""
            if fields and self._extra == "forbid":
                if fields.keys() - self._adapter.read_besides:
                    odd.add(row)
            elif fields and self._is_storable(fields):
                text = orjson.dumps(fields, option=SORTED)
            elif fields:
                odd.add(row)
            written.append(text)
        return written

    def _is_storable(self, fields: dict[str, Any]) -> bool:
        if self._is_from_text:
            return not needs_exactness(fields.values())
        try:
            for name, value in fields.items():
                check_extra(name, name)
                check_extra(name, value)
        except Rejection:  # the careful way finds out why
            return False
        return not needs_exactness(fields.values())


def called(function: Function, table: Table, odd: set[int], *, decimals: bool) -> JsonTable:
    """What a source's own function makes of the records."""
    adapted: list[dict[str, Any]] = []
    for row, raw in enumerate(table.rows()):
        made: dict[str, Any] = {}
        try:
            if needs_exactness(raw.values()):
                odd.add(row)
            else:
                made = call(function, raw, decimals)
        except Rejection:
            odd.add(row)
        adapted.append(made)
    return JsonTable(adapted)


Reader = Callable[
    [Table, set[int]], list[Any]
]  # a column of a table; rows where there is none are added to the set


def _reader(expression: str, get: Getter) -> Reader:
    """Reads an expression on a whole table."""
    if PLAIN_PATH.fullmatch(expression):
        path = tuple(expression.split("."))
        return lambda table, _: table.at(path)
    read = tuple(roots(jmespath.compile(expression).parsed))

    def search(table: Table, odd: set[int]) -> list[Any]:
        column: list[Any] = []
        for row, raw in enumerate(table.rows()):
            value = None
            try:
                # The careful way gives it a number of many digits exactly.
                if needs_exactness(raw.get(name) for name in read):
                    odd.add(row)
                else:
                    value = get(raw)
            except Rejection:
                odd.add(row)
            column.append(value)
        return column

    return search


def _cast(column: list[Any], read: Cast, odd: set[int]) -> list[Any]:
    """A column under a cast; rows with numbers that are read exactly on the careful way alone are added to `odd`."""
    for row, value in enumerate(column):
        if type(value) is float and needs_exactness((value,)):
            odd.add(row)
    found = list(map(read, column))
    for row, value in enumerate(found):
        kind = type(value)
        if kind is not str and (kind is Decimal or kind is Unusable or needs_exactness((value,))):
            odd.add(row)
    return found


def _not_alive(column: list[Any]) -> set[int]:
    """The rows that are deleted, or say neither."""
    rows: set[int] = set()
    for row, value in enumerate(column):
        try:
            if value is not False and value is not ABSENT and is_true(value):
                rows.add(row)
        except Rejection:
            rows.add(row)
    return rows


def _sequences(column: list[Any], odd: set[int]) -> list[int]:
    """Integers, or texts of integers; 0 where there is none."""
    if set(map(type, column)) == {int} and min(column) > -INT64 and max(column) < INT64:
        return column
    sequences: list[int] = []
    for row, value in enumerate(column):
        number = None if type(value) is Unusable else integer_of(value)
        if number is None or not -INT64 < number < INT64:
            odd.add(row)
            number = 0
        sequences.append(number)
    return sequences

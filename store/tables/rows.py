"""Rows of `target` as programs see them: times that are aware, decimals with all their digits, JSON parsed.

A decimal whose digits the number column does not hold has them in `<field>_exact`; here the two are one field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, select

from store import database, timestamps
from store.database import install
from store.database.records import ContractColumn, Kind, record_tables

PIECE = 10_000  # rows read at a time

FieldKind = Kind | Literal["time", "any"]  # any: as the database gives it
Field = tuple[str, FieldKind]


@dataclass(frozen=True)
class Shape:
    """The fields of a contract, and how each is read from its column, or its two."""

    columns: tuple[ContractColumn, ...]

    @cached_property
    def fields(self) -> tuple[tuple[str, Kind], ...]:
        """The fields and the kinds of their columns, without key and time."""
        return tuple((each.name, each.kind) for each in self.columns if not self._has_digits_of(each.name))

    def values(self, row: Sequence[Any]) -> Iterator[Any]:
        """The value of each field, from those of the columns."""
        for name, kind in self.fields:
            value = row[self._positions[name]]
            digits = self._positions.get(f"{name}_exact") if kind == "decimal" else None
            exact = row[digits] if digits is not None else None
            yield None if value is None else READ[kind](value if exact is None else exact)

    def _has_digits_of(self, name: str) -> bool:
        kinds = {each.name: each.kind for each in self.columns}
        return name.endswith("_exact") and kinds.get(name.removesuffix("_exact")) == "decimal"

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {each.name: position for position, each in enumerate(self.columns)}


def _decimal(value: Any) -> Decimal:
    return Decimal(value) if isinstance(value, str | Decimal | int) else Decimal(repr(value))


READ: dict[Kind, Callable[[Any], Any]] = {
    "text": str,
    "integer": int,
    "real": float,
    "decimal": _decimal,
    "boolean": bool,
    "json": orjson.loads,
}


@dataclass(frozen=True)
class Choice:
    """Which rows."""

    source: str | None = None
    since: str | None = None  # a stored timestamp: only rows of then or later
    deleted: bool = False  # also those that their sources have deleted


FIRST: tuple[Field, ...] = (("source", "text"), ("key", "text"), ("ts", "time"))


def fields_of(connection: Connection, choice: Choice) -> tuple[Field, ...]:
    """All fields of a row, in their order; whether it is deleted, where both kinds are chosen."""
    own = Shape(install.contract_columns(connection)).fields
    last: tuple[Field, ...] = (("extra", "json"), ("deleted", "boolean"))
    return (*FIRST, *own, *last[: 1 + choice.deleted])


def read(connection: Connection, choice: Choice) -> Iterator[list[dict[str, Any]]]:
    """The rows by source and key, some at a time, in constant memory: source, key, ts, the fields, extra, deleted."""
    columns = install.contract_columns(connection)
    shape, target = Shape(columns), record_tables(columns).target
    fixed = (target.c.source, target.c.key, target.c.ts, target.c.extra, target.c.deleted)
    rows = select(*fixed, *(target.c[each.name] for each in columns)).order_by(target.c.source, target.c.key)
    if choice.source is not None:
        rows = rows.where(target.c.source == choice.source)
    if choice.since is not None:
        rows = rows.where(target.c.ts >= choice.since)
    if not choice.deleted:
        rows = rows.where(~target.c.deleted)
    names = [name for name, _ in shape.fields]
    found = connection.execute(rows.execution_options(yield_per=PIECE))
    with database.translated(connection.engine):
        for piece in found.partitions():
            yield [_row(row, names, shape, choice) for row in piece]


def _row(row: Sequence[Any], names: Sequence[str], shape: Shape, choice: Choice) -> dict[str, Any]:
    source, key, ts, extra, deleted, *values = row
    found = {
        "source": source,
        "key": key,
        "ts": timestamps.from_text(ts),
        **dict(zip(names, shape.values(values), strict=True)),
        "extra": orjson.loads(extra) if extra else None,
    }
    return found | {"deleted": bool(deleted)} if choice.deleted else found

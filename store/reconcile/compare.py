"""What a reconciliation compares, as SQL: joins of the target with itself along its key, (source, key).

Each key is looked at once, from its *first holder*: of the compared sources, in order, the first that has
it. The later ones are joined to that row, so nothing is sorted, grouped or held in memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    FromClause,
    Numeric,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
)

from store import database
from store.database import install
from store.database.schema import Kind, record_tables
from store.errors import ConfigError, UsageError

MOST_SOURCES = 50  # SQLite joins 64 tables at most
NUMBERS = ("integer", "real")
# Two reals that differ by the tolerance exactly, as people write them, match: 1.00 and 1.01 within 0.01.
ROUNDING = 2.0**-52
EXACT = Numeric(asdecimal=False)  # the difference of two int64 may not be one


@dataclass(frozen=True, slots=True)
class Field:
    """One compared field; without a tolerance its values must be the same."""

    name: str
    kind: Kind
    tolerance: float | None = None  # the greatest difference that still matches; of `ts`, in seconds


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which sources are compared, by which fields, over which keys."""

    sources: tuple[str, ...]  # in order, none twice
    fields: tuple[Field, ...]
    since: str | None = None  # stored text: only keys of which some source's row is so new

    @property
    def tolerances(self) -> dict[str, float]:
        return {field.name: field.tolerance for field in self.fields if field.tolerance is not None}


@dataclass(frozen=True, slots=True)
class Part:
    """The keys whose first holder is one source, each as one row: that source's, and the later ones'."""

    first: FromClause
    later: tuple[FromClause, ...]
    joined: FromClause
    condition: ColumnElement[bool]


def compared(
    connection: Connection,
    sources: Sequence[str] | None = None,
    tolerances: Mapping[str, float] | None = None,
    since: str | None = None,
) -> Comparison:
    """The comparison of these sources, or of all that have rows.

    Raises ConfigError for a tolerance of what is no number, UsageError for too many sources.
    """
    tolerances = tolerances or {}
    columns = install.contract_columns(connection)
    kinds: dict[str, Kind] = {column.name: column.kind for column in columns}
    check_tolerances(tolerances, kinds, "--tolerance")
    names = tuple(sorted(set(sources))) if sources is not None else sources_with_rows(connection)
    if len(names) > MOST_SOURCES:
        raise UsageError(
            f"{len(names)} sources are too many to compare: choose {MOST_SOURCES} with --sources"
        )
    fields = [Field(name, kind, tolerances.get(name)) for name, kind in kinds.items()]
    if "ts" in tolerances:
        fields.append(Field("ts", "text", tolerances["ts"]))
    return Comparison(names, tuple(fields), since)


def check_tolerances(tolerances: Mapping[str, float], kinds: Mapping[str, Kind], given: str) -> None:
    """Raises ConfigError naming the field and how it was given."""
    for name, tolerance in tolerances.items():
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise ConfigError(f"{given} {name}={tolerance}: a tolerance is a number, 0 or greater")
        if name == "ts" or not kinds or kinds.get(name) in NUMBERS:
            continue  # before the first load no field is known, and there is nothing to compare
        if name in kinds:
            raise ConfigError(
                f"{given} {name}: {name!r} is {kinds[name]}; only numbers and ts have tolerances"
            )
        known = ", ".join([*(name for name, kind in kinds.items() if kind in NUMBERS), "ts"])
        raise ConfigError(
            f"{given} {name}: there is no field {name!r} to compare; those with numbers are {known}"
        )


def sources_with_rows(connection: Connection) -> tuple[str, ...]:
    """The target's sources, in order; one look into its key for each."""
    target = record_tables().target
    found: list[str] = []
    statement = select(func.min(target.c.source))
    while (name := connection.execute(statement).scalar()) is not None:
        found.append(name)
        statement = select(func.min(target.c.source)).where(target.c.source > name)
    return tuple(found)


def parts(connection: Connection, asked: Comparison) -> list[Part]:
    """One part for every source that may be a key's first holder; together they have each key once."""
    return [_part(connection, asked, place) for place in range(len(asked.sources))]


def _part(connection: Connection, asked: Comparison, place: int) -> Part:
    target = record_tables(install.contract_columns(connection)).target
    first = target.alias("first")
    joined: FromClause = first
    later = []
    for number, source in enumerate(asked.sources[place + 1 :]):
        other = target.alias(f"later_{number}")
        joined = joined.outerjoin(other, and_(other.c.source == source, other.c.key == first.c.key))
        later.append(other)
    earlier = target.alias("earlier")
    held_before = exists().where(earlier.c.source.in_(asked.sources[:place]), earlier.c.key == first.c.key)
    conditions = [first.c.source == asked.sources[place]]
    if place:
        conditions.append(~held_before)
    if asked.since is not None:
        conditions.append(or_(*(holder.c.ts >= asked.since for holder in (first, *later))))
    return Part(first, tuple(later), joined, and_(*conditions))


def pairs(
    connection: Connection, asked: Comparison, place: int
) -> tuple[FromClause, FromClause, ColumnElement[bool]]:
    """The rows of one source, those of every later one, and what makes two of them one key's."""
    target = record_tables(install.contract_columns(connection)).target
    one, other = target.alias("one"), target.alias("other")
    conditions = [
        one.c.source == asked.sources[place],
        other.c.source.in_(asked.sources[place + 1 :]),
        other.c.key == one.c.key,
    ]
    if asked.since is not None:
        conditions.append(looked_at(asked, one.c.key))
    return one, other, and_(*conditions)


def looked_at(asked: Comparison, key: ColumnElement[str]) -> ColumnElement[bool]:
    """Some compared source has a row of this key that is not older than `since`."""
    row = record_tables().target.alias("recent")
    return exists().where(row.c.source.in_(asked.sources), row.c.key == key, row.c.ts >= asked.since)


def verdict(
    connection: Connection, field: Field, first: FromClause, others: Sequence[FromClause]
) -> ColumnElement[int]:
    """1 where any two of these rows differ in the field, else 0; a row that is not there agrees with all."""
    value = first.c[field.name]
    unlike = [and_(row.c.key.is_not(None), _unlike(field, value, row.c[field.name])) for row in others]
    if field.tolerance and others:
        values = [value, *(func.coalesce(row.c[field.name], value) for row in others)]
        unlike.append(_spread_too_wide(connection, field, values))
    return case((or_(False, *unlike), 1), else_=0)


def any_of(verdicts: Sequence[ColumnElement[int]]) -> ColumnElement[bool]:
    """The rows differ in some field."""
    return or_(False, *(each == 1 for each in verdicts))


def _unlike(field: Field, one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[bool]:
    """Not the same; where there is a tolerance, only that one is null and the other is not."""
    if not field.tolerance:
        return one.is_distinct_from(other)
    return one.is_(None) != other.is_(None)


def _spread_too_wide(
    connection: Connection, field: Field, values: Sequence[ColumnElement[Any]]
) -> ColumnElement[bool]:
    """The least and the greatest are further apart than the tolerance; null where all are null."""
    least, greatest = database.least(connection, values), database.greatest(connection, values)
    tolerance: ColumnElement[float] = literal(field.tolerance, Double())
    if field.name == "ts":
        micros = [database.microseconds(connection, each) for each in (greatest, least)]
        return and_(greatest != least, micros[0] - micros[1] > round((field.tolerance or 0) * 1_000_000))
    if field.kind == "integer":
        return cast(greatest, EXACT) - cast(least, EXACT) > tolerance
    return greatest - least > tolerance + ROUNDING * (func.abs(greatest) + func.abs(least))

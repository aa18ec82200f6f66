"""The SQL of a reconciliation: joins of the target with itself by its key, (source, key).

Each key is compared once, from its *first holder*: the first of the compared sources, in order, with a row of
the key. The rows of later sources are joined to that row, so the database sorts, groups and buffers nothing.
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
from store.database.records import Kind, record_tables
from store.errors import ConfigError, UsageError

MOST_SOURCES = 50  # SQLite joins at most 64 tables
NUMBERS = ("integer", "real", "decimal")
# Two reals whose decimal forms differ by exactly the tolerance match: 1.00 and 1.01 within 0.01.
ROUNDING = 2.0**-52
EXACT = Numeric(asdecimal=False)  # the difference of two int64 may exceed int64


@dataclass(frozen=True, slots=True)
class Field:
    """One compared field; without a tolerance its values must be equal."""

    name: str
    kind: Kind
    tolerance: float | None = None  # the greatest difference that matches; in seconds for `ts`


@dataclass(frozen=True, slots=True)
class Comparison:
    """The compared sources, the compared fields, and the range of keys."""

    sources: tuple[str, ...]  # in name order, without repetition
    fields: tuple[Field, ...]
    since: str | None = None  # as stored: only keys with a row of this time or later

    @property
    def tolerances(self) -> dict[str, float]:
        return {field.name: field.tolerance for field in self.fields if field.tolerance is not None}


@dataclass(frozen=True, slots=True)
class Part:
    """The keys whose first holder is one source: a row for each, joined with the rows of later sources."""

    first: FromClause
    later: tuple[FromClause, ...]
    joined: FromClause
    condition: ColumnElement[bool]


def comparison_of(
    connection: Connection,
    sources: Sequence[str] | None = None,
    tolerances: Mapping[str, float] | None = None,
    since: str | None = None,
) -> Comparison:
    """The comparison of these sources, or of all sources with rows.

    Raises ConfigError for a tolerance of a field that is not a number, UsageError for too many sources.
    """
    tolerances = tolerances or {}
    columns = install.contract_columns(connection)
    kinds: dict[str, Kind] = {column.name: column.kind for column in columns}
    check_tolerances(tolerances, kinds, "--tolerance")
    names = tuple(sorted(set(sources))) if sources is not None else sources_with_rows(connection)
    if len(names) > MOST_SOURCES:
        raise UsageError(
            f"{len(names)} sources are too many to compare: choose at most {MOST_SOURCES} with --sources"
        )
    # The digits of a decimal that has a tolerance need not agree.
    exact = {f"{name}_exact" for name in tolerances if kinds.get(name) == "decimal"}
    fields = [Field(name, kind, tolerances.get(name)) for name, kind in kinds.items() if name not in exact]
    if "ts" in tolerances:
        fields.append(Field("ts", "text", tolerances["ts"]))
    return Comparison(names, tuple(fields), since)


def check_tolerances(tolerances: Mapping[str, float], kinds: Mapping[str, Kind], given: str) -> None:
    """Raises ConfigError with the field and the option or setting (`given`) of its tolerance."""
    for name, tolerance in tolerances.items():
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise ConfigError(f"{given} {name}={tolerance}: a tolerance is a number, 0 or greater")
        if name == "ts" or not kinds or kinds.get(name) in NUMBERS:
            continue  # before the first load no field is known and there is nothing to compare
        if name in kinds:
            raise ConfigError(
                f"{given} {name}: {name!r} is {kinds[name]}; only numbers and ts have tolerances"
            )
        known = ", ".join([*(name for name, kind in kinds.items() if kind in NUMBERS), "ts"])
        raise ConfigError(f"{given} {name}: there is no field {name!r}; the fields with numbers are {known}")


def sources_with_rows(connection: Connection) -> tuple[str, ...]:
    """The sources of the target, in name order; one index lookup each."""
    target = record_tables().target
    found: list[str] = []
    statement = select(func.min(target.c.source))
    while (name := connection.execute(statement).scalar()) is not None:
        found.append(name)
        statement = select(func.min(target.c.source)).where(target.c.source > name)
    return tuple(found)


def parts(connection: Connection, comparison: Comparison) -> list[Part]:
    """One part for every source that can be a first holder; each key is in exactly one part."""
    return [_part(connection, comparison, index) for index in range(len(comparison.sources))]


def _part(connection: Connection, comparison: Comparison, index: int) -> Part:
    target = record_tables(install.contract_columns(connection)).target
    first = target.alias("first")
    joined: FromClause = first
    later = []
    for number, source in enumerate(comparison.sources[index + 1 :]):
        other = target.alias(f"later_{number}")
        joined = joined.outerjoin(
            other, and_(other.c.source == source, other.c.key == first.c.key, ~other.c.deleted)
        )
        later.append(other)
    earlier = target.alias("earlier")
    held_before = exists().where(
        earlier.c.source.in_(comparison.sources[:index]), earlier.c.key == first.c.key, ~earlier.c.deleted
    )
    conditions = [first.c.source == comparison.sources[index], ~first.c.deleted]  # a deleted row is none
    if index:
        conditions.append(~held_before)
    if comparison.since is not None:
        conditions.append(or_(*(holder.c.ts >= comparison.since for holder in (first, *later))))
    return Part(first, tuple(later), joined, and_(*conditions))


def pairs(
    connection: Connection, comparison: Comparison, index: int
) -> tuple[FromClause, FromClause, ColumnElement[bool]]:
    """The rows of one source, the rows of every later one, and the condition that joins rows of one key."""
    target = record_tables(install.contract_columns(connection)).target
    one, other = target.alias("one"), target.alias("other")
    conditions = [
        one.c.source == comparison.sources[index],
        other.c.source.in_(comparison.sources[index + 1 :]),
        other.c.key == one.c.key,
        ~one.c.deleted,
        ~other.c.deleted,
    ]
    if comparison.since is not None:
        conditions.append(has_recent_row(comparison, one.c.key))
    return one, other, and_(*conditions)


def has_recent_row(comparison: Comparison, key: ColumnElement[str]) -> ColumnElement[bool]:
    """A compared source has a row of this key with a time of `since` or later."""
    row = record_tables().target.alias("recent")
    return exists().where(
        row.c.source.in_(comparison.sources),
        row.c.key == key,
        ~row.c.deleted,
        row.c.ts >= comparison.since,
    )


def verdict(
    connection: Connection, field: Field, first: FromClause, others: Sequence[FromClause]
) -> ColumnElement[int]:
    """1 where any two of these rows differ in the field, else 0; a missing row agrees with all."""
    value = first.c[field.name]
    unlike = [and_(row.c.key.is_not(None), _unlike(field, value, row.c[field.name])) for row in others]
    if field.tolerance and others:
        values = [value, *(func.coalesce(row.c[field.name], value) for row in others)]
        unlike.append(_spread_too_wide(connection, field, values))
    return case((or_(False, *unlike), 1), else_=0)


def any_of(verdicts: Sequence[ColumnElement[int]]) -> ColumnElement[bool]:
    """The rows differ in at least one field."""
    return or_(False, *(each == 1 for each in verdicts))


def _unlike(field: Field, one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[bool]:
    """The values differ; with a tolerance, only whether exactly one of them is null."""
    if not field.tolerance:
        return one.is_distinct_from(other)
    return one.is_(None) != other.is_(None)


def _spread_too_wide(
    connection: Connection, field: Field, values: Sequence[ColumnElement[Any]]
) -> ColumnElement[bool]:
    """The least and the greatest value differ by more than the tolerance; null where all are null."""
    least, greatest = database.least(connection, values), database.greatest(connection, values)
    tolerance: ColumnElement[float] = literal(field.tolerance, Double())
    if field.name == "ts":
        micros = [database.microseconds(connection, each) for each in (greatest, least)]
        return and_(greatest != least, micros[0] - micros[1] > round((field.tolerance or 0) * 1_000_000))
    if field.kind == "integer":
        return cast(greatest, EXACT) - cast(least, EXACT) > tolerance
    return greatest - least > tolerance + ROUNDING * (func.abs(greatest) + func.abs(least))

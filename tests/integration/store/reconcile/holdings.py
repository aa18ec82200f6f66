"""Rows inserted into the target, and a naive comparison of them in Python."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from sqlalchemy import Engine

from store import database, hashing
from store.database import install, records
from store.reconcile import compare
from store.reconcile import runs as reconciliation
from store.reconcile.runs import Difference, Result

FIELDS = ("name", "value", "size")


class Holding(NamedTuple):
    """The row of one source and key."""

    source: str
    key: str
    value: float | None = 1.0
    name: str | None = "pump"
    size: int | None = 7
    ts: str = "2025-01-15T12:00:00.000000Z"


def put(engine: Engine, rows: Sequence[Holding]) -> None:
    """Inserts or replaces rows of the target; the lineage id of a row is its index."""
    with database.transaction(engine) as connection:
        table = records.record_tables(install.contract_columns(connection)).target
        for index, row in enumerate(rows):
            content = hashing.digest(repr(row).encode())
            carried = {"lineage_id": index, "lineage_line": 1, "lineage_run": 1, "lineage_outcome": 1}
            given = {**row._asdict(), "content_hash": content, **carried}
            statement = database.insert(connection, table).values(given)
            changed = {name: given[name] for name in (*FIELDS, "ts", "content_hash", "lineage_id")}
            connection.execute(
                statement.on_conflict_do_update(index_elements=["source", "key"], set_=changed)
            )


def reconciled(
    engine: Engine,
    tolerances: Mapping[str, float] | None = None,
    sources: Sequence[str] | None = None,
    since: str | None = None,
) -> tuple[Result, list[Difference]]:
    """The counts and the rows of `store reconcile`."""
    with database.reading(engine) as connection:
        comparison = compare.comparison_of(connection, sources, tolerances, since)
        rows = list(reconciliation.differences(connection, comparison))
        return reconciliation.reconcile(connection, comparison), rows


def stored(engine: Engine, **options: Any) -> Result:
    """A reconciliation whose result is stored."""
    with database.transaction(engine) as connection:
        return reconciliation.reconcile_and_keep(connection, **options)


def differ(one: Any, other: Any, tolerance: float | None) -> bool:
    if one is None or other is None or isinstance(one, str) or not tolerance:
        return bool(one != other)
    slack = 0 if isinstance(one, int) else math.ulp(1.0) * (abs(one) + abs(other))
    return bool(abs(one - other) > tolerance + slack)


class Verdict(NamedTuple):
    """The result of the oracle."""

    matched: int
    mismatched: list[str]
    single: dict[str, int]
    rows: list[tuple[str, str, str, str]]  # key, field, one source, the other
    fields: dict[str, int]


def oracle(
    rows: Sequence[Holding], tolerances: Mapping[str, float], since: str | None, sources: Sequence[str]
) -> Verdict:
    """Compares every key, every two of its holders and every field, one by one."""
    matched, single, found = 0, dict.fromkeys(sources, 0), []
    for key in sorted({row.key for row in rows}):
        holders = sorted(row for row in rows if row.key == key and row.source in sources)
        if not holders or (since is not None and max(row.ts for row in holders) < since):
            continue
        if len(holders) == 1:
            single[holders[0].source] += 1
            continue
        apart = [
            (key, field, one.source, other.source)
            for one, other in combinations(holders, 2)
            for field in FIELDS
            if differ(getattr(one, field), getattr(other, field), tolerances.get(field))
        ]
        matched += not apart
        found += apart
    by_field = {field: len({row[0] for row in found if row[1] == field}) for field in FIELDS}
    return Verdict(matched, sorted({row[0] for row in found}), single, found, by_field)

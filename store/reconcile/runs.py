"""Reconciliation: counts and lists the keys on which sources agree or differ, and stores the results.

A key is *matched* when at least two sources have a row of it and all these rows agree, *mismatched* when any two
differ in a field, and *single* when exactly one source has a row. The SQL is in `store.reconcile.compare`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    func,
    literal,
    select,
    union_all,
)

from store import database, timestamps
from store.database.schema import reconciled_mismatches, reconciliations
from store.reconcile import compare
from store.reconcile.compare import Comparison, Part

ROWS_AT_ONCE = 1000
PAIR = ("source", "ts", "lineage_id")  # the columns of a row beside its values


@dataclass(frozen=True, slots=True)
class Result:
    """The counts of a reconciliation: keys = matched + mismatched + the sum of `single_source`."""

    sources: tuple[str, ...]
    tolerances: dict[str, float]
    since: str | None
    keys: int
    matched: int
    mismatched: int
    single_source: dict[str, int]  # source -> keys that only this source has
    fields: dict[str, int]  # field -> keys whose rows differ in it
    seconds: float
    new_mismatches: int | None = None  # keys that were not mismatched the last time; None: not stored
    seq: int | None = None  # its number, where it is stored


@dataclass(frozen=True, slots=True)
class Side:
    """The value of one source in a difference."""

    source: str
    value: Any
    ts: str
    lineage_id: str  # the `load` entry of the row


@dataclass(frozen=True, slots=True)
class Difference:
    """Two sources with different values of one field of one key."""

    key: str
    field: str
    one: Side
    other: Side


def reconcile(connection: Connection, comparison: Comparison) -> Result:
    """Counts the matched, the mismatched and the single keys."""
    started = time.perf_counter()
    keys = mismatched = 0
    single = dict.fromkeys(comparison.sources, 0)
    fields = dict.fromkeys((field.name for field in comparison.fields), 0)
    for source, part in zip(comparison.sources, compare.parts(connection, comparison), strict=True):
        keys_here, alone, differing, *by_field = connection.execute(
            _counts(connection, comparison, part)
        ).one()
        keys += keys_here
        mismatched += differing
        single[source] += alone
        for name, number in zip(fields, by_field, strict=True):
            fields[name] += number
    return Result(
        sources=comparison.sources,
        tolerances=comparison.tolerances,
        since=comparison.since,
        keys=keys,
        matched=keys - mismatched - sum(single.values()),
        mismatched=mismatched,
        single_source=single,
        fields=fields,
        seconds=time.perf_counter() - started,
    )


def _counts(connection: Connection, comparison: Comparison, part: Part) -> Select[Any]:
    """Counts of keys: all, those without a later source, the mismatched, and those that differ in each field."""
    verdicts = _verdicts(connection, comparison, part)
    alone = and_(True, *(row.c.key.is_(None) for row in part.later))
    tested = [alone, compare.any_of(verdicts), *(verdict == 1 for verdict in verdicts)]
    columns: list[ColumnElement[Any]] = [func.count(), *(func.count(case((each, 1))) for each in tested)]
    return select(*columns).select_from(part.joined).where(part.condition)


def _verdicts(connection: Connection, comparison: Comparison, part: Part) -> list[ColumnElement[int]]:
    return [compare.verdict(connection, field, part.first, part.later) for field in comparison.fields]


def differences(connection: Connection, comparison: Comparison) -> Iterator[Difference]:
    """Every two sources that differ in a field, in order of keys; a generator over a database cursor."""
    firsts = range(len(comparison.sources) - 1)
    if not firsts or not comparison.fields:
        return
    statement = union_all(*(_differing_pairs(connection, comparison, first) for first in firsts))
    statement = statement.order_by("key", "one_source", "other_source")
    rows = connection.execute(statement, execution_options={"yield_per": ROWS_AT_ONCE})
    names = [field.name for field in comparison.fields]
    size = len(PAIR) + len(names)
    for key, *row in rows:
        one, other, verdicts = row[:size], row[size : 2 * size], row[2 * size :]
        for index, (name, differs) in enumerate(zip(names, verdicts, strict=True), len(PAIR)):
            if differs:
                yield Difference(key, name, _side(one, name, one[index]), _side(other, name, other[index]))


def _differing_pairs(connection: Connection, comparison: Comparison, first: int) -> Select[Any]:
    """The pairs of rows of one source and a later one that differ: both rows, and a verdict on each field."""
    one, other, condition = compare.pairs(connection, comparison, first)
    verdicts = [compare.verdict(connection, field, one, [other]) for field in comparison.fields]
    columns: list[ColumnElement[Any]] = [one.c.key.label("key")]
    for side, row in (("one", one), ("other", other)):
        columns += [row.c[name].label(f"{side}_{name}") for name in PAIR]
        columns += [row.c[field.name].label(f"{side}_value_{n}") for n, field in enumerate(comparison.fields)]
    columns += [verdict.label(f"verdict_{n}") for n, verdict in enumerate(verdicts)]
    return select(*columns).where(condition, compare.any_of(verdicts))


def _side(row: Sequence[Any], field: str, value: Any) -> Side:
    source, ts, lineage_id = row[: len(PAIR)]
    ts = timestamps.to_iso(ts)
    return Side(source, ts if field == "ts" else value, ts, f"load-{lineage_id}")


# --- stored results --------------------------------------------------------------------------------------


def reconcile_and_keep(
    connection: Connection,
    sources: Sequence[str] | None = None,
    tolerances: Mapping[str, float] | None = None,
    since: str | None = None,
) -> Result:
    """Reconciles these sources, or all with rows, and stores the result; within a write transaction.

    The result of fewer than two sources is not stored: `seq` is None. Raises ConfigError for a tolerance of a
    field that is not a number.
    """
    comparison = compare.comparison_of(connection, sources, tolerances, since)
    result = reconcile(connection, comparison)
    return keep(connection, comparison, result) if len(comparison.sources) > 1 else result


def keep(connection: Connection, comparison: Comparison, result: Result) -> Result:
    """Stores the result and the mismatched keys; counts the keys that were not mismatched the last time.

    The last time is the previous reconciliation of the same sources. With `since`, the stored state of keys
    outside the range does not change.
    """
    names = orjson.dumps(comparison.sources).decode()
    seq = _add(connection, names, result)
    _delete_matching(connection, comparison, names)
    new = _insert_mismatched(connection, comparison, names, seq)
    connection.execute(
        reconciliations.update().where(reconciliations.c.seq == seq).values(new_mismatches=new)
    )
    return replace(result, new_mismatches=new, seq=seq)


def _add(connection: Connection, names: str, result: Result) -> int:
    row = {
        "sources": names,
        "tolerances": orjson.dumps(result.tolerances, option=orjson.OPT_SORT_KEYS).decode(),
        "since": result.since,
        "keys": result.keys,
        "matched": result.matched,
        "mismatched": result.mismatched,
        "single_source": orjson.dumps(result.single_source).decode(),
        "new_mismatches": 0,
        "seconds": result.seconds,
        "at": timestamps.now_text(),
    }
    seq: int = connection.execute(
        reconciliations.insert().values(row).returning(reconciliations.c.seq)
    ).scalar_one()
    return seq


def _delete_matching(connection: Connection, comparison: Comparison, names: str) -> None:
    """Deletes the stored keys within the range that are not mismatched any more."""
    stored = reconciled_mismatches
    conditions: list[ColumnElement[bool]] = [stored.c.sources == names]
    for part in compare.parts(connection, comparison):
        differ = compare.any_of(_verdicts(connection, comparison, part))
        mismatched = (
            select(1).select_from(part.joined).where(part.condition, part.first.c.key == stored.c.key, differ)
        )
        conditions.append(~mismatched.correlate(stored).exists())
    if comparison.since is not None:
        conditions.append(compare.has_recent_row(comparison, stored.c.key))
    connection.execute(stored.delete().where(*conditions))


def _insert_mismatched(connection: Connection, comparison: Comparison, names: str, seq: int) -> int:
    """Inserts the keys that are mismatched now and were not before; their number."""
    stored, new = reconciled_mismatches, 0
    for part in compare.parts(connection, comparison):
        key = part.first.c.key
        differ = compare.any_of(_verdicts(connection, comparison, part))
        rows = (
            select(literal(names), key, literal(seq)).select_from(part.joined).where(part.condition, differ)
        )
        statement = database.insert(connection, stored).from_select(["sources", "key", "since_seq"], rows)
        new += connection.execute(statement.on_conflict_do_nothing()).rowcount
    return new


def history(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """The stored reconciliations, newest first."""
    statement = select(reconciliations).order_by(reconciliations.c.seq.desc()).limit(limit)
    rows = [database.as_dict(row) for row in connection.execute(statement).mappings()]
    for row in rows:
        row |= {name: orjson.loads(row[name]) for name in ("sources", "tolerances", "single_source")}
    return rows


def first_found_keys(connection: Connection, seq: int, limit: int) -> list[str]:
    """Keys that this reconciliation was the first to find and that are still mismatched; in order."""
    stored = reconciled_mismatches
    statement = select(stored.c.key).where(stored.c.since_seq == seq).order_by(stored.c.key).limit(limit)
    return list(connection.execute(statement).scalars())

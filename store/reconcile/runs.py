"""Reconciliation: do the sources agree on the keys that they share? Counted, listed and kept.

A key is *matched* when at least two sources hold it and all that do agree, *mismatched* when any two
differ in a field, and *single* when one alone holds it. The database does the work: `store.reconcile.compare`.
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
PAIR = ("source", "ts", "lineage_id")  # what is shown of a row beside its values


@dataclass(frozen=True, slots=True)
class Result:
    """What a reconciliation found: keys = matched + mismatched + the sum of `single_source`."""

    sources: tuple[str, ...]
    tolerances: dict[str, float]
    since: str | None
    keys: int
    matched: int
    mismatched: int
    single_source: dict[str, int]  # source -> keys that it alone holds
    fields: dict[str, int]  # field -> keys whose sources differ in it
    seconds: float
    new_mismatches: int | None = None  # keys that were not mismatched the last time; None: not kept
    seq: int | None = None  # its number, where it is kept


@dataclass(frozen=True, slots=True)
class Side:
    """One source's part in a difference."""

    source: str
    value: Any
    ts: str
    lineage_id: str  # the `load` entry of the row


@dataclass(frozen=True, slots=True)
class Difference:
    """Two sources that differ in one field of one key."""

    key: str
    field: str
    one: Side
    other: Side


def reconcile(connection: Connection, asked: Comparison) -> Result:
    """Counts the keys that match, that do not, and that one source alone holds."""
    started = time.perf_counter()
    keys = mismatched = 0
    single = dict.fromkeys(asked.sources, 0)
    fields = dict.fromkeys((field.name for field in asked.fields), 0)
    for source, part in zip(asked.sources, compare.parts(connection, asked), strict=True):
        held, alone, differing, *by_field = connection.execute(_counts(connection, asked, part)).one()
        keys += held
        mismatched += differing
        single[source] += alone
        for name, number in zip(fields, by_field, strict=True):
            fields[name] += number
    return Result(
        sources=asked.sources,
        tolerances=asked.tolerances,
        since=asked.since,
        keys=keys,
        matched=keys - mismatched - sum(single.values()),
        mismatched=mismatched,
        single_source=single,
        fields=fields,
        seconds=time.perf_counter() - started,
    )


def _counts(connection: Connection, asked: Comparison, part: Part) -> Select[Any]:
    """Keys, those that no later source holds, those mismatched, and for each field those that differ in it."""
    verdicts = _verdicts(connection, asked, part)
    alone = and_(True, *(row.c.key.is_(None) for row in part.later))
    tested = [alone, compare.any_of(verdicts), *(verdict == 1 for verdict in verdicts)]
    columns: list[ColumnElement[Any]] = [func.count(), *(func.count(case((each, 1))) for each in tested)]
    return select(*columns).select_from(part.joined).where(part.condition)


def _verdicts(connection: Connection, asked: Comparison, part: Part) -> list[ColumnElement[int]]:
    return [compare.verdict(connection, field, part.first, part.later) for field in asked.fields]


def differences(connection: Connection, asked: Comparison) -> Iterator[Difference]:
    """Every two sources that differ in a field, in order of keys; read from the database as they are taken."""
    places = range(len(asked.sources) - 1)
    if not places or not asked.fields:
        return
    statement = union_all(*(_differing_pairs(connection, asked, place) for place in places))
    statement = statement.order_by("key", "one_source", "other_source")
    rows = connection.execute(statement, execution_options={"yield_per": ROWS_AT_ONCE})
    names = [field.name for field in asked.fields]
    size = len(PAIR) + len(names)
    for key, *row in rows:
        one, other, verdicts = row[:size], row[size : 2 * size], row[2 * size :]
        for place, (name, differs) in enumerate(zip(names, verdicts, strict=True), len(PAIR)):
            if differs:
                yield Difference(key, name, _side(one, name, one[place]), _side(other, name, other[place]))


def _differing_pairs(connection: Connection, asked: Comparison, place: int) -> Select[Any]:
    """The pairs of rows of one source and a later one that differ: both whole, and a verdict on each field."""
    one, other, condition = compare.pairs(connection, asked, place)
    verdicts = [compare.verdict(connection, field, one, [other]) for field in asked.fields]
    columns: list[ColumnElement[Any]] = [one.c.key.label("key")]
    for side, row in (("one", one), ("other", other)):
        columns += [row.c[name].label(f"{side}_{name}") for name in PAIR]
        columns += [row.c[field.name].label(f"{side}_value_{n}") for n, field in enumerate(asked.fields)]
    columns += [verdict.label(f"verdict_{n}") for n, verdict in enumerate(verdicts)]
    return select(*columns).where(condition, compare.any_of(verdicts))


def _side(row: Sequence[Any], field: str, value: Any) -> Side:
    source, ts, lineage_id = row[: len(PAIR)]
    ts = timestamps.to_iso(ts)
    return Side(source, ts if field == "ts" else value, ts, f"load-{lineage_id}")


# --- kept -------------------------------------------------------------------------------------------------


def reconcile_and_keep(
    connection: Connection,
    sources: Sequence[str] | None = None,
    tolerances: Mapping[str, float] | None = None,
    since: str | None = None,
) -> Result:
    """Reconciles these sources, or all that have rows, and keeps the result; within a write transaction.

    Of fewer than two sources nothing is kept: `seq` is None. Raises ConfigError for a tolerance of what is
    no number.
    """
    asked = compare.compared(connection, sources, tolerances, since)
    result = reconcile(connection, asked)
    return keep(connection, asked, result) if len(asked.sources) > 1 else result


def keep(connection: Connection, asked: Comparison, result: Result) -> Result:
    """Keeps the result and which keys are mismatched; says how many were not so the last time.

    The last time is the reconciliation before of the same sources. With `since`, keys that were not
    looked at stay as they were.
    """
    names = orjson.dumps(asked.sources).decode()
    seq = _add(connection, names, result)
    _forget_mended(connection, asked, names)
    new = _mark_mismatched(connection, asked, names, seq)
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


def _forget_mended(connection: Connection, asked: Comparison, names: str) -> None:
    """Removes the marks of keys that were looked at and are mismatched no more."""
    marks = reconciled_mismatches
    conditions: list[ColumnElement[bool]] = [marks.c.sources == names]
    for part in compare.parts(connection, asked):
        differ = compare.any_of(_verdicts(connection, asked, part))
        there = (
            select(1).select_from(part.joined).where(part.condition, part.first.c.key == marks.c.key, differ)
        )
        conditions.append(~there.correlate(marks).exists())
    if asked.since is not None:
        conditions.append(compare.looked_at(asked, marks.c.key))
    connection.execute(marks.delete().where(*conditions))


def _mark_mismatched(connection: Connection, asked: Comparison, names: str, seq: int) -> int:
    """Marks the keys that are mismatched now and were not; how many they are."""
    marks, new = reconciled_mismatches, 0
    for part in compare.parts(connection, asked):
        key = part.first.c.key
        differ = compare.any_of(_verdicts(connection, asked, part))
        rows = (
            select(literal(names), key, literal(seq)).select_from(part.joined).where(part.condition, differ)
        )
        statement = database.insert(connection, marks).from_select(["sources", "key", "since_seq"], rows)
        new += connection.execute(statement.on_conflict_do_nothing()).rowcount
    return new


def history(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """The kept reconciliations, newest first."""
    statement = select(reconciliations).order_by(reconciliations.c.seq.desc()).limit(limit)
    rows = [database.as_dict(row) for row in connection.execute(statement).mappings()]
    for row in rows:
        row |= {name: orjson.loads(row[name]) for name in ("sources", "tolerances", "single_source")}
    return rows


def found_first_by(connection: Connection, seq: int, limit: int) -> list[str]:
    """Keys that this kept reconciliation was the first to find, and that are mismatched still; in order."""
    marks = reconciled_mismatches
    statement = select(marks.c.key).where(marks.c.since_seq == seq).order_by(marks.c.key).limit(limit)
    return list(connection.execute(statement).scalars())

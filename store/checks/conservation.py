"""The laws of conservation, and the digest.

    1. received = staged + rejected + skipped, for every batch and in total
    2. staged = inserted + updated + duplicates + superseded + pending in staging, for every batch and in total

Counters are held against the rows they count, so a law fails too where a row was lost or made up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Subquery, func, literal, select

from store.database.letters import COUNTED, dead_letters, pruned_letters
from store.database.records import record_tables
from store.database.schema import (
    SHIFT,
    batches,
    lineage_events,
    past_lineage,
    record_lineage,
)
from store.database.schema import run_log as run_log_table
from store.tables import batches as inbox
from store.tables import load_runs, staging, target
from store.tables.batches import AT_LOAD

COUNTERS = inbox.COUNTERS


def totals(connection: Connection) -> dict[str, int]:
    """The counters of all batches, summed."""
    by_source = totals_by_source(connection).values()
    return {name: sum(each[name] for each in by_source) for name in (*COUNTERS, "fresh")}


def totals_by_source(connection: Connection) -> dict[str, dict[str, int]]:
    """source -> the counters of its batches, summed, by the time of records too: see `inbox.by_time`."""
    sums = [func.sum(batches.c[name]) for name in COUNTERS]
    rows = connection.execute(
        select(batches.c.source, *sums).group_by(batches.c.source).order_by(batches.c.source)
    )
    found = {
        source: {name: int(number) for name, number in zip(COUNTERS, numbers, strict=True)}
        for source, *numbers in rows
    }
    rejected = inbox.rejected_for_time(connection)
    return {source: each | inbox.by_time(each, rejected.get(source, {})) for source, each in found.items()}


@dataclass(frozen=True, slots=True)
class Law:
    """A law, and where it does not hold: sentences that name the batch or the run."""

    says: str
    violations: list[str]
    unchecked: str | None = None  # why it could not be looked at
    waiting: str | None = None  # what is still to be done by those who work, and is no violation

    @property
    def holds(self) -> bool:
        return not self.violations


def laws(connection: Connection) -> list[Law]:
    """Both laws, each held against the counters and against the rows they count."""
    return [
        Law(
            "received = staged + rejected + skipped",
            [*_batch_violations(connection), *_rejection_violations(connection)],
        ),
        Law(
            "staged = inserted + updated + duplicates + superseded + pending in staging",
            [
                *_staged_violations(connection),
                *_load_violations(connection),
                *_conflict_violations(connection),
                *_row_violations(connection),
            ],
        ),
    ]


def violations(connection: Connection) -> list[str]:
    """Where a law does not hold; empty where both do."""
    return [violation for law in laws(connection) for violation in law.violations]


def _batch_violations(connection: Connection) -> list[str]:
    """Batches some of whose records have no outcome, or more than one."""
    parts = [batches.c[name] for name in ("staged", "rejected", "skipped")]
    ended = sum(parts, start=literal(0))
    rows = connection.execute(
        select(batches.c.seq, batches.c.id, batches.c.received, ended)
        .where(batches.c.received != ended)
        .order_by(batches.c.seq)
    )
    return [
        f"batch {seq} ({id}): received {received}, but {total} have an outcome"
        for seq, id, received, total in rows
    ]


def _rejection_violations(connection: Connection) -> list[str]:
    """Batches whose rejected or skipped records are not all there."""
    found = []
    for step, name, counter in (
        ("reject", "rejected", batches.c.rejected),
        ("skip", "skipped", batches.c.skipped),
    ):
        entries = (
            select(lineage_events.c.batch_seq.label("seq"), func.count().label("number"))
            .where(lineage_events.c.step == step)
            .group_by(lineage_events.c.batch_seq)
            .subquery()
        )
        found += [
            f"batch {seq} ({id}): {counted} {name}, but {found_entries} {step} entries in lineage"
            for seq, id, counted, found_entries in _unequal(connection, counter, entries)
        ]
    lost = (
        select(batches.c.seq, batches.c.id, func.count())
        .join(lineage_events, lineage_events.c.batch_seq == batches.c.seq)
        .outerjoin(dead_letters, dead_letters.c.id == lineage_events.c.dead_letter_id)
        .outerjoin(pruned_letters, pruned_letters.c.id == lineage_events.c.dead_letter_id)
        .where(lineage_events.c.step == "reject", dead_letters.c.id.is_(None), pruned_letters.c.id.is_(None))
        .group_by(batches.c.seq, batches.c.id)
        .order_by(batches.c.seq)
    )
    return found + [
        f"batch {seq} ({id}): the dead letters of {number} of its rejected records are gone"
        for seq, id, number in connection.execute(lost)
    ]


def _staged_violations(connection: Connection) -> list[str]:
    """Batches whose staged records are not all in staging or loaded, or that the loader counted otherwise."""
    waiting = record_tables().staging
    in_staging, loaded = _count_by_batch(waiting.c.id), _count_by_batch(record_lineage.c.id)
    pending, ended = (func.coalesce(each.c.number, 0) for each in (in_staging, loaded))
    counted = sum((batches.c[name] for name in load_runs.OUTCOMES), start=literal(0))
    rows = (
        select(batches.c.seq, batches.c.id, batches.c.staged, pending, ended, counted)
        .outerjoin(in_staging, in_staging.c.seq == batches.c.seq)
        .outerjoin(loaded, loaded.c.seq == batches.c.seq)
        .where((batches.c.staged != pending + ended) | (ended != counted))
        .order_by(batches.c.seq)
    )
    found = []
    for seq, id, staged, waits, done, total in connection.execute(rows):
        if staged != waits + done:
            found.append(f"batch {seq} ({id}): {staged} staged, but {waits + done} are in staging or loaded")
        if done != total:
            found.append(f"batch {seq} ({id}): {total} have an outcome at load, but lineage has {done}")
    return found


def _count_by_batch(ids: ColumnElement[int]) -> Subquery:
    batch = ids.op(">>")(SHIFT)
    return select(batch.label("seq"), func.count().label("number")).group_by(batch).subquery()


def _unequal(connection: Connection, counter: ColumnElement[int], counted: Subquery) -> Sequence[Any]:
    """(number, id, counter, rows counted) of the batches where the two differ."""
    number = func.coalesce(counted.c.number, 0)
    statement = select(batches.c.seq, batches.c.id, counter, number).outerjoin(
        counted, counted.c.seq == batches.c.seq
    )
    return connection.execute(statement.where(counter != number).order_by(batches.c.seq)).all()


def _load_violations(connection: Connection) -> list[str]:
    """The totals, and runs that did not load what they logged."""
    staged = totals(connection)["staged"]
    loads = load_runs.totals(connection)
    pending = staging.count(connection)
    ended = sum(loads.values()) + pending
    found = []
    if staged != ended:
        counts = " + ".join(f"{number} {name}" for name, number in loads.items())
        found.append(f"in total: staged {staged}, but {counts} + {pending} pending = {ended}")
    outcomes = select(record_lineage.c.run_seq, record_lineage.c.outcome, func.count())
    counted = {
        (run, AT_LOAD[outcome - 1]): number
        for run, outcome, number in connection.execute(
            outcomes.group_by(record_lineage.c.run_seq, record_lineage.c.outcome)
        )
    }
    logged = select(run_log_table.c.seq, *(run_log_table.c[name] for name in loads))
    for run, *numbers in connection.execute(logged.order_by(run_log_table.c.seq)):
        for name, number in zip(loads, numbers, strict=True):
            stored = counted.pop((run, name), 0)
            if number != stored:
                found.append(f"run {run}: logged {number} {name}, but lineage has {stored}")
    return found + [
        f"run {run}: not in the log, but lineage has {n} {name}" for (run, name), n in counted.items()
    ]


def _conflict_violations(connection: Connection) -> list[str]:
    """Runs, and all batches together, whose conflicts are not all listed, or more than they are."""
    run = past_lineage.c.conflict_run
    by_run = select(run, func.count()).where(run.is_not(None)).group_by(run)
    listed = {number: count for number, count in connection.execute(by_run)}
    logs = select(run_log_table.c.seq, run_log_table.c.conflicts)
    logged = {number: sum(orjson.loads(counts).values()) for number, counts in connection.execute(logs)}
    found = [
        f"run {number}: logged {logged.get(number, 0)} conflicts, but lineage has {listed.get(number, 0)}"
        for number in sorted(logged.keys() | listed.keys())
        if logged.get(number, 0) != listed.get(number, 0)
    ]
    counted = connection.execute(select(func.coalesce(func.sum(batches.c.conflicts), 0))).scalar_one()
    if counted != sum(listed.values()):
        found.append(f"in total: batches have {counted} conflicts, but lineage has {sum(listed.values())}")
    return found


def _row_violations(connection: Connection) -> list[str]:
    """Whether the target holds what was inserted."""
    inserted, held = load_runs.totals(connection)["inserted"], target.count(connection)
    if inserted == held:
        return []
    return [f"in total: {inserted} rows were inserted, but the target holds {held}"]


def digest(connection: Connection) -> str:
    """One hash, 64 hex digits, over the target and the dead letters that are open, being replayed or parked.

    It depends on the records alone: not on batches, repeats, lineage, the time of processing, or their format.
    """
    hasher = hashlib.blake2b(digest_size=32)
    held = record_tables().target
    rows = select(held.c.source, held.c.key, held.c.content_hash).order_by(held.c.source, held.c.key)
    for source, key, content in connection.execute(rows.execution_options(yield_per=10_000)):
        hasher.update(f"{len(source)},{len(key)}:{source}{key}".encode())
        hasher.update(content)
    letters = select(dead_letters.c.source, dead_letters.c.content).where(dead_letters.c.status.in_(COUNTED))
    columns = (dead_letters.c.source, dead_letters.c.content)
    for source, content in connection.execute(letters.distinct().order_by(*columns)):
        hasher.update(f"!{len(source)}:{source}{content}".encode())
    return hasher.hexdigest()

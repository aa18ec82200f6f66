"""What monitoring is told of the store, as numbers: from counters and groups, never by counting records or letters.

A counter never falls: batches are never deleted, and a source has the same series for ever. A law is said to hold, or
not, as the last `store check` found it; nothing is said of one that was never checked.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Literal

from sqlalchemy import Connection, func, select

from store import database, timestamps
from store.database import install, schema
from store.database.letters import PRUNED, STATES, letter_groups
from store.database.schema import batches, run_log
from store.errors import SluiceError
from store.settings import StoreSettings
from store.tables import dead_letters, law_checks, watermarks

OTHER = "(other)"  # all that the bounds below leave without series of their own
MOST_SOURCES = 100
MOST_REASONS = 500  # pairs of source and reason
AT_STAGE = ("staged", "rejected", "skipped")
AT_LOAD = {
    "inserted": "inserted",
    "updated": "updated",
    "duplicates": "duplicate",
    "superseded": "superseded",
}

# metric -> the values of its labels -> its value
Say = Callable[[str], object]  # is told why something could not be read
Values = dict[str, dict[tuple[str, ...], float]]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: of which labels, and what it says."""

    name: str
    says: str
    labels: tuple[str, ...] = ()
    kind: Literal["counter", "gauge"] = "gauge"


RECORDS = Metric(
    "sluice_records_total",
    "Records processed, by outcome: staged, rejected or skipped. A letter that is sent back counts again",
    ("source", "outcome"),
    "counter",
)
LOADED = Metric(
    "sluice_loaded_records_total",
    "Records loaded, by outcome: inserted, updated, duplicate or superseded",
    ("outcome",),
    "counter",
)
STAGED = Metric(
    "sluice_staged_records", "Records that are staged and not loaded yet, by the counters of their batches"
)
LETTERS = Metric(
    "sluice_dead_letters",
    "Dead letters in each state; pruned: deleted, and still counted",
    ("source", "reason", "status"),
)
OLDEST_OPEN = Metric(
    "sluice_dead_letters_oldest_open_timestamp_seconds",
    "When the open dead letter that waits longest was first rejected; absent where none is open",
)
WATERMARK = Metric(
    "sluice_watermark_timestamp_seconds", "The greatest event time loaded of a source", ("source",)
)
LAST_LOAD = Metric(
    "sluice_last_load_timestamp_seconds",
    "When the latest run of the loader that merged anything ended, or merged its latest chunk",
)
LAW = Metric("sluice_law_holds", "1: the last `store check` found the law to hold; 0: it did not", ("law",))
LAW_CHECKED = Metric(
    "sluice_law_checked_timestamp_seconds", "When `store check` last looked at the law", ("law",)
)
SUCCESS = Metric(
    "sluice_scrape_success", "1: this part could be read; 0: its metrics are absent, or some are", ("part",)
)
BUILD = Metric("sluice_build_info", "Always 1", ("version", "python", "schema"))

METRICS = (
    RECORDS, LOADED, STAGED, LETTERS, OLDEST_OPEN, WATERMARK, LAST_LOAD, LAW, LAW_CHECKED, SUCCESS, BUILD,
)  # fmt: skip


def store_values(settings: StoreSettings, say: Say) -> Values:
    """All of the store, over one view of it; where it does not answer, `sluice_scrape_success` says so."""
    try:
        with install.opened_for_reading(settings) as engine, database.reading(engine) as connection:
            found = read(connection, say)
    except SluiceError as error:
        found = failed(say, error, "store", "watermarks")
    return found | {BUILD.name: {_build(): 1.0}}


@cache
def _build() -> tuple[str, ...]:
    """What runs; looking it up takes 3 ms."""
    return version("sluice"), platform.python_version(), schema.SCHEMA_REVISION


def failed(say: Say, error: object, *parts: str) -> Values:
    """That these parts could not be read; why, is said."""
    say(f"the metrics of {' and '.join(parts)} cannot be read: {error}")
    return {SUCCESS.name: {(part,): 0.0 for part in parts}}


def joined(one: Values, other: Values) -> Values:
    """Both, each with series of its own."""
    return {name: one.get(name, {}) | other.get(name, {}) for name in [*one, *other]}


def read(connection: Connection, say: Say) -> Values:
    """The store's metrics. A watermark that is no time is left out, and its part is said to have failed."""
    counted, sources = _batches(connection)
    laws = law_checks.stored(connection)
    found = counted | {
        LETTERS.name: _letters(connection, sources),
        OLDEST_OPEN.name: at(dead_letters.oldest_open(connection)),
        LAST_LOAD.name: at(_last_load(connection)),
        LAW.name: {(law,): float(not violations) for law, (violations, _) in laws.items()},
        LAW_CHECKED.name: {(law,): seconds(checked) for law, (_, checked) in laws.items()},
        SUCCESS.name: {("store",): 1.0},
    }
    try:
        found[WATERMARK.name] = {
            (source,): seconds(value)
            for source, value in watermarks.stored(connection).items()
            if source in sources
        }
    except ValueError as error:
        return joined(found, failed(say, error, "watermarks"))
    return joined(found, {SUCCESS.name: {("watermarks",): 1.0}})


def at(moment: str | None) -> dict[tuple[str, ...], float]:
    """A stored time as the one value of a metric; none where there is no time."""
    return {(): seconds(moment)} if moment else {}


def seconds(moment: str) -> float:
    """A stored time as Unix time. Raises ValueError for what is none."""
    return timestamps.from_text(moment).timestamp()


def _batches(connection: Connection) -> tuple[Values, set[str]]:
    """What the counters of all batches say; and the sources with series of their own: the first ones."""
    names = (*AT_STAGE, *AT_LOAD)
    sums = [func.sum(batches.c[name]) for name in names]
    rows = connection.execute(
        select(batches.c.source, *sums).group_by(batches.c.source).order_by(func.min(batches.c.seq))
    )
    records: Counter[tuple[str, ...]] = Counter()
    loaded: Counter[tuple[str, ...]] = Counter({(outcome,): 0 for outcome in AT_LOAD.values()})
    own: set[str] = set()
    staged = 0
    for source, *numbers in rows:
        if len(own) < MOST_SOURCES:
            own.add(source)
        each = {name: int(number) for name, number in zip(names, numbers, strict=True)}
        records.update({(source if source in own else OTHER, name): each[name] for name in AT_STAGE})
        loaded.update({(outcome,): each[name] for name, outcome in AT_LOAD.items()})
        staged += each["staged"] - sum(each[name] for name in AT_LOAD)
    found: Values = {
        RECORDS.name: _floats(records),
        LOADED.name: _floats(loaded),
        STAGED.name: {(): float(staged)},
    }
    return found, own


def _floats(counted: Counter[tuple[str, ...]]) -> dict[tuple[str, ...], float]:
    return {labels: float(number) for labels, number in counted.items()}


def _letters(connection: Connection, sources: set[str]) -> dict[tuple[str, ...], float]:
    """Letters by source, reason and state, from their groups; beyond the bounds, under OTHER."""
    group, states = letter_groups.c, (*STATES, PRUNED)
    rows = connection.execute(
        select(group.source, group.reason, *(func.sum(group[state]) for state in states))
        .group_by(group.source, group.reason)
        .order_by(func.min(group.first_seen_at), group.source, group.reason)
    )
    found: Counter[tuple[str, ...]] = Counter()
    for number, (source, reason, *counts) in enumerate(rows):
        labels = (
            source if source in sources else OTHER,
            reason if number < MOST_REASONS and source in sources else OTHER,
        )
        found.update({(*labels, state): int(count) for state, count in zip(states, counts, strict=True)})
    return _floats(found)


def _last_load(connection: Connection) -> str | None:
    """When the loader last merged something. Runs that merged nothing, as all do while one fails, are passed over."""
    merged = select(run_log.c.finished_at).where(run_log.c.chunks > 0).order_by(run_log.c.seq.desc()).limit(1)
    return connection.execute(merged).scalar()

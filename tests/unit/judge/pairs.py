"""Pairs of judges: one that may take the quick way, and one that may not."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from worker import contract as contracts
from worker.contract import Contract, Record
from worker.judge import functions
from worker.judge.stages import Judge, judge_batch, judge_for
from worker.queue.message import RawRecord
from worker.settings import SourceSettings

from .shapes import (
    MODELS,
    NOW,
    SKEW,
    message,
)  # fmt: skip

EVENT = ("key", "ts", "name", "value")
GOOD = '{"key":"a","name":"n","value":%s,"ts":"2025-01-15T08:00:00Z"}'
ORDER = '{"key":"a","amount":%s,"status":"open","day":"2025-01-15","ts":"2025-01-15T08:00:00Z"}'


@functools.cache
def contract_of(model: type[Record]) -> Contract:
    contracts._load.cache_clear()
    return contracts._load(f"{__name__}:{model.__name__}", None)


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    """The contracts and the adapter of these tests, by name."""
    original, source_of, load = contracts._import, contracts._source_of, functions.load_attribute
    models = {f"{__name__}:{model.__name__}": model for model in MODELS}
    contracts._import = lambda name: models[name]
    contracts._source_of = lambda *_: ""  # the adapter's module is no file
    functions.load_attribute = lambda _, name, __: {"made:up": adapter, "made:exact": exact_adapter}[name]
    yield
    contracts._import, contracts._source_of, functions.load_attribute = original, source_of, load
    contracts._load.cache_clear()


def adapter(raw: dict[str, Any]) -> dict[str, Any]:
    if raw.get("name") == "pump":
        raise KeyError("no pumps")
    return {
        **raw,
        "value": raw["value"] * 2,
        "seen": ["x\0" if raw.get("note") else 10 ** min(raw.get("count", 0), 30)],
    }


def exact_adapter(raw: dict[str, Any]) -> dict[str, Any]:
    return {**raw, "amount": Decimal(str(raw["amount"])) + Decimal("1e-20"), "more": [Decimal("1.5")]}


def judges(model: type[Record], **source: Any) -> tuple[Judge, Judge]:
    """One that may take the quick way, and one that may not."""
    judge = judge_for(contract_of(model), SourceSettings(**source), SKEW)
    return judge, replace(judge, quick=None)


def outcome(judge: Judge, records: list[RawRecord], header: list[str] | None = None) -> str:
    """All that becomes of a batch, types and all."""
    judged = judge_batch(message(records, header), judge, None, NOW)
    judged.seconds = dict.fromkeys(judged.seconds, 0.0)
    return repr(judged)


def assert_alike(
    pair: tuple[Judge, Judge], records: list[RawRecord], header: list[str] | None = None
) -> None:
    quickly, carefully = pair
    assert outcome(quickly, records, header) == outcome(carefully, records, header)


@functools.cache
def names_of(model: type[Record]) -> tuple[str, ...]:
    return tuple(contract_of(model).inputs)

"""Typed tables, read; and what JSON has for their values."""

from __future__ import annotations

import json
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from producer.feed import Feed
from producer.files.open import open_records
from producer.settings import ProducerSettings
from worker.contract import load_contract
from worker.settings import SourceSettings, WorkerSettings

Record = dict[str, Any]


def read(path: Path, **options: Any) -> list[tuple[int, Record]]:
    """(line, record) of each, every number as the digits that are written."""
    with open_records(str(path), check_head=True, **options) as file:
        assert file.wire_format == "json"
        return [
            (line, json.loads(payload, parse_float=Decimal))
            for block in file.blocks()
            for payload, line in zip(block.payloads, block.lines, strict=True)
            if isinstance(payload, bytes)
        ]


def as_written(value: Any) -> Any:
    """What JSON has for a value: times as text of ISO 8601."""
    if isinstance(value, dict):
        return {name: as_written(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [as_written(inner) for inner in value]
    if isinstance(value, date | time):
        return value.isoformat()
    return value


def as_read(value: Any, like: Any) -> Any:
    """A number as the kind that was written."""
    return float(value) if isinstance(like, float) and isinstance(value, Decimal | int) else value


def feed_of(**options: Any) -> Feed:
    worker = WorkerSettings()
    return Feed("plant", SourceSettings(), load_contract(worker), ProducerSettings(), **options)

"""Seeded records and the outcome that is expected of them, computed without any code of Sluice."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
SPAN_SECONDS = 10**7  # some four months
# The kinds of records, and how many in a hundred.
INVALID, DUPLICATES, VERSIONS = 1, 10, 30

Content = tuple[str, str, float]  # ts, name, value


@dataclass
class Expected:
    """What the table and the dead letters must hold when all is done."""

    target: dict[str, Content] = field(default_factory=dict)
    letters: set[str] = field(default_factory=set)
    sent: set[tuple[str, Content]] = field(default_factory=set)  # every valid record, newest or not
    records: int = 0


def ts_text(micros: int) -> str:
    """A moment as the table has it: UTC, microseconds, one width."""
    return (BEGIN + timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.%f")


def generate(number: int, seed: int) -> tuple[list[str], Expected]:
    """The lines of an NDJSON file, and what is expected of them."""
    dice = random.Random(seed)
    expected = Expected(records=number)
    lines: list[str] = []
    keys: list[str] = []
    for position in range(number):
        throw = dice.randrange(100)
        if throw < INVALID:
            line = invalid(dice, position)
            expected.letters.add(line)
        elif throw < INVALID + DUPLICATES and lines:
            line = dice.choice(lines)
        else:
            if throw < INVALID + DUPLICATES + VERSIONS and keys:
                key = dice.choice(keys)
            else:
                keys.append(key := f"key-{position}")
            # No two records have the same time, so the newest of a key is never in doubt.
            micros = dice.randrange(SPAN_SECONDS) * 10**6 + position
            line = valid(dice, key, micros, expected)
        lines.append(line)
    return lines, expected


def valid(dice: random.Random, key: str, micros: int, expected: Expected) -> str:
    content = (ts_text(micros), f"name {dice.randrange(1000)}", dice.randrange(10**6) / 100)
    expected.sent.add((key, content))
    expected.target[key] = max(content, expected.target.get(key, content))
    ts, name, value = content
    return json.dumps({"key": key, "name": name, "value": value, "ts": ts + "Z"})


def invalid(dice: random.Random, position: int) -> str:
    """One of a few ways to break the contract; the same payload comes again now and then."""
    some = position % 500
    return dice.choice(
        [
            json.dumps({"key": f"bad-{some}", "name": "n", "value": "many", "ts": "2024-05-01"}),
            json.dumps({"key": f"bad-{some}", "name": "n", "value": 1}),
            f'{{"key": "cut-{some}", "na',
            f"[{some}]",
        ]
    )


def write(lines: list[str], folder: Path, files: int) -> list[str]:
    """The lines in so many files; their paths."""
    folder.mkdir()
    size = -(-len(lines) // files)
    paths = []
    for number, begin in enumerate(range(0, len(lines), size)):
        path = folder / f"{number:03}.ndjson"
        path.write_text("\n".join(lines[begin : begin + size]) + "\n")
        paths.append(str(path))
    return paths

"""Makes records of the default contract: about 90 bytes each, 1% invalid, 2% repeated; seeded.

python benchmarks/generate.py 1000000 > records.ndjson
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2025, 1, 1, tzinfo=UTC)


def records(count: int, seed: int = 1, invalid: float = 0.01) -> Iterator[str]:
    """`count` lines: keys in random order, each with its own event time; a share of them invalid."""
    chance = random.Random(seed)
    recent: list[str] = []
    for number in range(count):
        roll = chance.random()
        if roll < 0.02 and recent and invalid < 1:
            yield chance.choice(recent)
            continue
        key = f"k{chance.randrange(16**8):08x}{number % 256:02x}"
        value = '"oops"' if roll > 1 - invalid else f"{chance.random() * 1000:.3f}"
        moment = (START + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = f'{{"key":"{key}","name":"sensor-{number % 1000}","value":{value},"ts":"{moment}"}}\n'
        if number % 50 == 0:
            recent = [*recent[-99:], line]
        yield line


def write(file: Path, count: int, **how: float) -> Path:
    """The lines in a file."""
    with file.open("w") as out:
        out.writelines(records(count, **how))  # type: ignore[arg-type]
    return file


def write_csv(file: Path, count: int) -> Path:
    """The same records as CSV."""
    with file.open("w") as out:
        out.write("key,name,value,ts\n")
        for line in records(count):
            out.write(",".join(str(value) for value in json.loads(line).values()) + "\n")
    return file


if __name__ == "__main__":
    sys.stdout.writelines(records(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))

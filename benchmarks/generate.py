"""Makes NDJSON records of the default contract: about 90 bytes each, 1% invalid, 2% repeated; seeded.

python benchmarks/generate.py 1000000 > records.ndjson
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

START = datetime(2025, 1, 1, tzinfo=UTC)


def records(count: int, seed: int = 1) -> Iterator[str]:
    """`count` lines: keys in random order, each with its own event time."""
    chance = random.Random(seed)
    recent: list[str] = []
    for number in range(count):
        roll = chance.random()
        if roll < 0.02 and recent:
            yield chance.choice(recent)
            continue
        key = f"k{chance.randrange(16**8):08x}{number % 256:02x}"
        value = '"oops"' if roll > 0.99 else f"{chance.random() * 1000:.3f}"
        moment = (START + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = f'{{"key":"{key}","name":"sensor-{number % 1000}","value":{value},"ts":"{moment}"}}\n'
        if number % 50 == 0:
            recent = [*recent[-99:], line]
        yield line


if __name__ == "__main__":
    sys.stdout.writelines(records(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))

"""Makes files of records of a shape: 1% of them invalid, 2% repeated; seeded. Plain ones have about 90 bytes each.

python benchmarks/generate.py 1000000 > records.ndjson
python benchmarks/generate.py 1000000 --shape csv --seed 2 > records.csv
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from shapes import SHAPES, Shape

PLAIN = SHAPES["plain"]


def records(count: int, seed: int = 1, invalid: float = 0.01, shape: Shape = PLAIN) -> Iterator[str]:
    """`count` lines: keys in random order, each with its own event time; a share of them invalid."""
    chance = random.Random(seed)
    recent: list[str] = []
    for number in range(count):
        roll = chance.random()
        if roll < 0.02 and recent and invalid < 1:
            yield chance.choice(recent)
            continue
        record = shape.make(chance, number)
        if roll > 1 - invalid:
            shape.spoil(record)
        line = shape.text(record) + "\n"
        if number % 50 == 0:
            recent = [*recent[-99:], line]
        yield line


def lines(count: int, seed: int = 1, invalid: float = 0.01, shape: Shape = PLAIN) -> Iterator[str]:
    """The lines of a file: of CSV with its header."""
    if shape.format == "csv":
        yield ",".join(shape.header) + "\n"
    yield from records(count, seed, invalid, shape)


def write(file: Path, count: int, invalid: float = 0.01, shape: Shape = PLAIN) -> Path:
    """The lines in a file."""
    with file.open("w") as out:
        out.writelines(lines(count, invalid=invalid, shape=shape))
    return file


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", type=int)
    parser.add_argument("--shape", choices=SHAPES, default="plain", metavar="SHAPE", help=", ".join(SHAPES))
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    sys.stdout.writelines(lines(asked.count, asked.seed, shape=SHAPES[asked.shape]))


if __name__ == "__main__":
    main()

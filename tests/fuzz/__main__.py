"""The long form: random examples of every target until the time, or their number, is up.

python -m tests.fuzz --minutes 10
python -m tests.fuzz --examples 2000 --target json --target csv

What fails is shrunk, printed, and kept under tests/fuzz/cases, where the test suite replays it.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections import Counter

from hypothesis import HealthCheck, Phase, given, seed, settings

from .fuzzing import EXAMPLES, Example, check, keep

ROUND = 500
MEMORY_ROUND = 5  # each reads eight megabytes


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, help="how long to go on")
    parser.add_argument("--examples", type=int, help=f"of each target (default: {ROUND})")
    parser.add_argument("--target", action="append", choices=list(EXAMPLES), help="this one alone")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    chance = random.Random(options.seed)
    deadline = time.monotonic() + 60 * options.minutes if options.minutes else None
    run: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    targets = options.target or list(EXAMPLES)
    while True:
        for target in targets:
            number = options.examples or (MEMORY_ROUND if target == "memory" else ROUND)
            failed[target] += not round_of(target, number, chance.randrange(2**32), run)
        if deadline is None or time.monotonic() > deadline:
            break
    for target in targets:
        print(f"{target:8} {run[target]:>9,} examples, {failed[target]} rounds that failed")
    return int(failed.total() > 0)


def round_of(target: str, number: int, start: int, run: Counter[str]) -> bool:
    """So many examples of one target; False where one failed."""
    last: Example = {}

    @seed(start)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(EXAMPLES[target])
    def attempt(example: Example) -> None:
        run[target] += 1
        last.clear()
        last.update(example)
        check(target, example)

    try:
        attempt()
    except KeyboardInterrupt:
        raise
    except BaseException:
        print(f"\n{target} fails; kept as {keep(target, last)}\n{last}", flush=True)
        traceback.print_exc(limit=-6, file=sys.stdout)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())

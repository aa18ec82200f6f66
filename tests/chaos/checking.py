"""Asks `store check` again and again while files come, letters are made and replayed, and everything works.

    python -m tests.chaos.checking --seconds 60 --seed 7

Nothing is killed and nothing is wrong, so each check must hold; and `--repair` must not cost the DLQ a letter.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.commands import Running
from tests.acceptance.sandbox import Sandbox, sandbox

REPAIR_EVERY = 3  # checks
LEAST = REPAIR_EVERY  # checks, so that one of them repairs
LETTERS = 400  # records of a file that break the contract, of
RECORDS = 1200
KEYS = 5000
BATCH_RECORDS = "50"


@dataclass
class Checks:
    """How often `store check` was asked, and what it accused a working system of."""

    asked: int = 0
    unchecked: int = 0
    accusations: list[str] = field(default_factory=list)

    def ask(self, site: Sandbox, *options: str) -> None:
        self.asked += 1
        found = check(site, *options)
        self.unchecked += sum(bool(law["unchecked"]) for law in found["laws"])
        broken = [f"{law['law']}: {law['violations'][:3]}" for law in found["laws"] if not law["holds"]]
        if broken:
            self.accusations.append(f"check {self.asked} {' '.join(options)}: {'; '.join(broken)}")


def check(site: Sandbox, *options: str) -> Any:
    return site.run_here("store", "check", *options, "--json").json


def is_calm(site: Sandbox) -> bool:
    """Whether all that was sent is processed and mirrored."""
    return not site.queued() and not any(law["waiting"] for law in check(site)["laws"])


@dataclass
class Traffic:
    """A command that is run over and over, each time with other words."""

    site: Sandbox
    words: Callable[[], tuple[str, ...]]
    running: Running | None = None
    runs: int = 0

    def tend(self) -> None:
        if self.running is None or not self.running.is_alive:
            self.runs += 1
            self.running = self.site.start(*self.words())


def lines(dice: random.Random) -> str:
    """Records of a file: good ones, and bad ones that may have come before."""
    rows = []
    for _ in range(RECORDS):
        key = f"k{dice.randrange(KEYS)}"
        value: object = "many" if dice.randrange(RECORDS) < LETTERS else dice.randrange(1000)
        rows.append({"key": key, "name": "n", "value": value, "ts": "2025-01-15T08:00:00Z"})
    return "".join(json.dumps(row) + "\n" for row in rows)


def files(site: Sandbox, dice: random.Random) -> Callable[[], tuple[str, ...]]:
    """`producer enqueue` of a new file each time."""
    numbers = iter(range(10**9))
    return lambda: ("producer", "enqueue", site.file(f"{next(numbers)}.ndjson", lines(dice)))


def replays(dice: random.Random) -> Callable[[], tuple[str, ...]]:
    """`producer replay` of the open letters: edited, so that they are accepted, or rejected again."""
    return lambda: ("producer", "replay", "--set", dice.choice(["value=1", "name=m"]))


def campaign(seconds: float, seed: int, site: Sandbox) -> Checks:
    """Traffic for so long, and a check as often as it can be asked: three times at least, on a slow machine too."""
    dice, checks = random.Random(seed), Checks()
    traffic = [Traffic(site, files(site, dice)), Traffic(site, replays(dice))]
    site.enqueue(traffic[0].words()[2])  # starts the private Redis
    up = site.start("worker", "up")
    site.until(site.workers, "a worker takes jobs")
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at or checks.asked < LEAST:
        for each in traffic:
            each.tend()
        checks.ask(site, *["--repair"] * (checks.asked % REPAIR_EVERY == REPAIR_EVERY - 1))
    for each in traffic:
        if each.running:
            each.running.end()
    site.until(lambda: is_calm(site), "all is processed, and the DLQ is told")
    checks.ask(site)  # a letter that a repair has cost the DLQ is missing now
    up.stop()
    return checks


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    given = parser.parse_args(words)
    with sandbox(SLUICE_BATCH_RECORDS=BATCH_RECORDS) as site:
        checks = campaign(given.seconds, given.seed, site)
    for accusation in checks.accusations:
        print(accusation)
    print(
        f"seed {given.seed}: {checks.asked} checks of a working system, {len(checks.accusations)} accused it, "
        f"{checks.unchecked} laws were unchecked"
    )
    return 1 if checks.accusations or checks.unchecked else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

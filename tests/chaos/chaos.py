"""Kills everything at random while records flow, then checks whether one is lost, doubled or made up.

    python -m tests.chaos.chaos --records 200000 --kills 200 --seed 7
    python -m tests.chaos.chaos --short

The seed fixes the records and the order of kills; what a kill hits is up to the machine.
"""

from __future__ import annotations

import argparse
import random
import secrets
import signal
import statistics
import sys
import time
from dataclasses import dataclass

from tests.acceptance.own_redis import own_redis
from tests.acceptance.sandbox import Sandbox, sandbox

from . import records
from .cast import CONTRACT, Cast
from .verdict import Verdict, judge, undisturbed

# Kinds of kills, and how often each comes.
KINDS = {
    "job_process": 5,
    "worker": 3,
    "whole_worker": 5,
    "loader": 2,
    "loader_process": 2,
    "cron": 2,
    "producer": 4,
    "redis": 2,
}
TICK_SECONDS = 0.05
WARM_UP_SECONDS = 2.0
# A campaign that waits longer than this has lost something; a slow machine may need minutes.
DEADLINE_SECONDS = 600.0
BUSY_SHARE = 0.6  # of the time of the kills, the workers have something to do


@dataclass(frozen=True)
class Plan:
    """One campaign."""

    records: int
    kills: int
    seed: int
    workers: int
    files: int
    batch_records: int
    every_seconds: float  # between kills, on average
    abandoned_after: int

    @property
    def pause(self) -> float:
        """How long judging one record takes, so that kills find workers at work."""
        return self.kills * self.every_seconds * BUSY_SHARE * self.workers / self.records

    @property
    def longest_seconds(self) -> float:
        return DEADLINE_SECONDS + 4 * self.kills * self.every_seconds

    def settings(self) -> dict[str, str]:
        return {
            "SLUICE_CONTRACT": "contract:Slowed",
            "SLUICE_BATCH_RECORDS": str(self.batch_records),
            "SLUICE_MAX_PENDING_BATCHES": "24",
            "SLUICE_ABANDONED_AFTER_SECONDS": str(self.abandoned_after),
            "SLUICE_LOAD_EVERY_SECONDS": "1",
        }


def plan(words: list[str]) -> Plan:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="a small campaign, under a minute")
    given = parser.parse_args(words)
    if given.short:
        return Plan(given.records or 9_000, given.kills or 16, given.seed, given.workers, 4, 100, 0.7, 2)
    return Plan(given.records or 200_000, given.kills or 200, given.seed, given.workers, 40, 250, 1.2, 12)


def rampage(cast: Cast, plan: Plan) -> None:
    """Kills until the number is reached, while the producer keeps pace; then lets the rest be sent."""
    began = time.monotonic()
    next_kill = began + WARM_UP_SECONDS
    order = random.Random(plan.seed)
    kinds = order.sample(list(KINDS), len(KINDS))  # each once: a short campaign misses none
    while cast.kills.total() < plan.kills and time.monotonic() - began < plan.longest_seconds:
        share = (cast.kills.total() + 2) / plan.kills
        cast.tend(may_begin=kinds[0] == "producer" or cast.producer.sent < share * plan.files)
        if time.monotonic() >= next_kill:
            if cast.kill(kinds[0]):
                kinds.pop(0)
                next_kill = max(next_kill, time.monotonic() - plan.every_seconds)
                next_kill += order.uniform(0.2, 1.8) * plan.every_seconds
            elif kinds[0] == "producer" and not cast.producer.waiting:
                kinds.pop(0)
            kinds += order.choices(list(KINDS), list(KINDS.values()), k=0 if kinds else 20)
        time.sleep(TICK_SECONDS)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while cast.producer.waiting and time.monotonic() < deadline:
        cast.tend(may_begin=True)
        time.sleep(TICK_SECONDS)


def settle(cast: Cast, plan: Plan) -> float:
    """Waits until all is processed and loaded, or the time is up; how long it took."""
    began = time.monotonic()
    while time.monotonic() - began < DEADLINE_SECONDS:
        cast.tend(may_begin=True)
        if (
            not cast.producer.waiting
            and cast.settled(plan.records)
            and not cast.abandoned
            and cast.redis_back_at is None
        ):
            break
        time.sleep(TICK_SECONDS)
    return time.monotonic() - began


def run(plan: Plan, site: Sandbox) -> bool:
    """A whole campaign; whether every promise held."""
    site.file("contract.py", CONTRACT)
    lines, expected = records.generate(plan.records, plan.seed)
    paths = records.write(lines, site.folder / "in", plan.files)
    with own_redis() as redis:
        site.env["REDIS_URL"] = redis.url
        site.ok("store", "init")
        cast = Cast.of(site, redis, plan.workers, plan.pause, paths, plan.seed)
        began = time.monotonic()
        rampage(cast, plan)
        took = settle(cast, plan)
        seconds = time.monotonic() - began
        cast.unmet_laws(DEADLINE_SECONDS)  # the last letters are published by the loader's next run
        cast.stop()
        verdict = judge(site, expected, undisturbed(paths, site))
    if cast.kills.total() < plan.kills:
        verdict.broken.append(
            f"only {cast.kills.total()} of {plan.kills} kills in {plan.longest_seconds:.0f} s"
        )
    verdict.broken += [f"batch {id} was never taken over" for id in cast.abandoned]
    report(plan, cast, verdict, seconds, took)
    return verdict.holds


def report(plan: Plan, cast: Cast, verdict: Verdict, seconds: float, took: float) -> None:
    kills = ", ".join(f"{kind} {number}" for kind, number in sorted(cast.kills.items()))
    print(
        f"kills: {cast.kills.total()} ({kills}) in {seconds:.0f} s; settled {took:.1f} s after the last file"
    )
    print(f"records: lost {verdict.lost}, doubled {verdict.doubled}, invented {verdict.invented}")
    times = sorted(cast.recoveries)
    if times:
        print(
            f"recovery of {len(times)} batches whose worker was killed whole: p50 "
            f"{statistics.median(times):.1f} s, max {times[-1]:.1f} s (abandoned after {plan.abandoned_after} s)"
        )
    for sentence in verdict.broken:
        print(f"BROKEN: {sentence}")
    print("every promise held" if verdict.holds else f"again with: --seed {plan.seed}")


def main(words: list[str]) -> int:
    given = plan(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # and clears away
    print(
        f"seed {given.seed}: {given.records} records, {given.kills} kills, {given.workers} workers",
        flush=True,
    )
    with sandbox(**given.settings()) as site:
        return 0 if run(given, site) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

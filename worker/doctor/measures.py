"""Clocks and speed: measured, and judged by the limits."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from store import timestamps
from worker.doctor.findings import Finding, Limits, by_verdict, graded

ROUNDS = 3  # of a clock, of which the quickest is the most exact
ANSWERS = 9


def ahead(ask: Callable[[], float]) -> tuple[float, float]:
    """How far this host's clock is ahead of another, and how exactly that is known; in seconds."""
    rounds = []
    for _ in range(ROUNDS):
        began, before = time.monotonic(), timestamps.now().timestamp()
        theirs = ask()
        took = time.monotonic() - began
        rounds.append((took, before + took / 2 - theirs))
    took, difference = min(rounds)
    return difference, took / 2


def clock(check: str, difference: float, error: float, limits: Limits, server: str) -> Finding:
    """Whether two clocks agree."""
    described = (
        f"this host's clock is {abs(difference):.3f} s {'ahead of' if difference >= 0 else 'behind'} that of "
    )
    described += f"{server} (± {error:.3f} s)"
    verdict = graded(abs(difference) - error, limits.clock_warning, limits.clock_failed)
    return by_verdict(
        verdict, check, described,
        f"synchronise the clocks of this host and of {server}, as with chrony: lateness and logs differ by it",
    )  # fmt: skip


def median(ask: Callable[[], object]) -> float:
    """Of the seconds that a few answers took."""
    took = []
    for _ in range(ANSWERS):
        began = time.monotonic()
        ask()
        took.append(time.monotonic() - began)
    return statistics.median(took)


def latency(check: str, seconds: float, limits: Limits) -> Finding:
    """Whether a server answers quickly."""
    verdict = graded(seconds, limits.latency_warning, limits.latency_failed)
    return by_verdict(
        verdict, check, f"median of {ANSWERS} answers: {seconds * 1000:.1f} ms",
        "look at the network between, and at the load of that host: each batch asks several times",
    )  # fmt: skip

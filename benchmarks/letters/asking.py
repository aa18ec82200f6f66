"""How long an answer takes, measured alike for commands, screens and scrapes."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Took:
    """Times of the same question, each in seconds, the least first."""

    wall: list[float]
    cpu: list[float]  # of this process and of those that it has waited for

    @property
    def in_words(self) -> str:
        """The median and the 95th of 100, in milliseconds."""
        return "".join(
            f"{at(each, share) * 1000:>8.0f}" for each in (self.wall, self.cpu) for share in (50, 95)
        )

    HEADER = "".join(f"{each:>8}" for each in ("wall50", "wall95", "cpu50", "cpu95"))


def at(seconds: list[float], share: int) -> float:
    """The time that so many of a hundred do not exceed."""
    return seconds[min(len(seconds) * share // 100, len(seconds) - 1)]


def timed(ask: Callable[[], object], times: int, before: Callable[[], object] = lambda: None) -> Took:
    """Asks so often; what is done before each time is not counted."""
    wall, cpu = [], []
    for _ in range(times):
        before()
        used, started = processor(), time.perf_counter()
        ask()
        wall.append(time.perf_counter() - started)
        cpu.append(processor() - used)
    return Took(sorted(wall), sorted(cpu))


def processor() -> float:
    """Seconds of processor time, of this process and of those that have ended and were waited for."""
    found = [resource.getrusage(each) for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in found)

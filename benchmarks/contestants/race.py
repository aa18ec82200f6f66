"""What a contestant is given, and what it hands back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.02


class TooLate(Exception):
    """What was waited for did not come before the deadline."""


@dataclass(frozen=True)
class Race:
    """The same lines for every contestant, and what the bare loop made of them."""

    file: Path
    records: int
    rows: int  # in the bare loop's table
    rejected: int  # lines that are not an Event
    folder: Path  # the contestant's own, empty
    redis_url: str  # of the contestant's own Redis, empty; "" where it brings its own or needs none
    limit_seconds: float


@dataclass(frozen=True)
class Finish:
    """How long it took, and where the records are now."""

    seconds: float
    database: Path
    rejected: int | None  # lines in its dead letters; None where it keeps none


def wait_until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Polls until it holds. Raises TooLate."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TooLate(f"waited {seconds:g} s until {what}")
        time.sleep(POLL_SECONDS)

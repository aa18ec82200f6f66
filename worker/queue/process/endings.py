"""How a worker's jobs end, to notice a worker that can do none.

A bad record costs itself, a bad batch its attempts, a database that is away is waited for. But where every
job ends the same way at once, it is the worker that is broken (a library it was not written for, a limit
that is too low, a bug in its own code), and it would go through the whole queue and fail all of it.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field

from store.errors import SluiceError

ENDINGS = 5
AT_ONCE_SECONDS = 2.0

DEATH = "its process ended "


class WorkerStuck(SluiceError):
    """Every job of this worker ends the same way at once; who starts it again should know better first."""

    exit_code = 3


def death(status: int | None) -> str:
    """How a process ended, in words, from its `wait` status, where that is known."""
    if status is None:
        return DEATH + "in a way that is not known"
    code = os.waitstatus_to_exitcode(status)
    return DEATH + (f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}")


@dataclass
class Endings:
    """The last jobs of a worker that ended the same way at once, one after another."""

    way: str = ""
    jobs: list[str] = field(default_factory=list)

    def note(self, job: str, way: str, seconds: float) -> None:
        """Notes how a job ended; `way` is empty for an end that says nothing against the worker.

        Raises WorkerStuck after ENDINGS. A job that raises and is tried again counts once, for it may be the only
        one that does; a job that ends its process counts each time.
        """
        if not way or seconds > AT_ONCE_SECONDS:
            self.way, self.jobs = "", []
            return
        if way != self.way:
            self.way, self.jobs = way, []
        if job in self.jobs and not way.startswith(DEATH):
            return
        self.jobs.append(job)
        if len(self.jobs) >= ENDINGS:
            raise WorkerStuck(
                f"each of the last {ENDINGS} jobs failed within {AT_ONCE_SECONDS:.0f} s in the same way ({way}): this "
                "worker stops before it fails all others; find the cause in the log above, then start it again"
            )

"""How many records of one command may be rejected before it stops sending.

Workers judge while the producer sends, so what is counted is behind what is sent. So that it is not far behind, few
batches may wait on the queue. Without a worker nothing is judged, and nothing can stop.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Engine

from store import database
from store.errors import ConfigError
from store.tables import batches
from store.terminal import counted
from store.text import share_of
from worker.queue.message import Message
from worker.settings import SourceSettings

AHEAD = 8  # batches that may wait on the queue
FEWEST = 100  # records that are judged before their ratio counts, but at the end
EVERY_SECONDS = 0.1


@dataclass(frozen=True)
class Limits:
    """What may be rejected, at most; None: any number."""

    rejects: int | None = None
    ratio: float | None = None

    @classmethod
    def of(cls, source: SourceSettings, rejects: int | None, ratio: str | None) -> Limits:
        """The options of a command, or what its source says. Raises ConfigError."""
        if ratio is None:
            share = source.max_reject_ratio
        else:
            try:
                share = share_of(ratio)
            except ValueError as error:
                raise ConfigError(f"--max-reject-ratio {error}") from error
        return cls(source.max_rejects if rejects is None else rejects, share)

    def __bool__(self) -> bool:
        return (self.rejects, self.ratio) != (None, None)


@dataclass
class Budget:
    """What is rejected of the deliveries of one command."""

    engine: Engine
    limits: Limits
    source: str
    deliveries: list[str] = field(default_factory=list)  # ids
    spent: str | None = None  # why nothing more is sent
    _next_look: float = 0.0

    def within(self, messages: Iterator[Message], delivery: str) -> Iterator[Message]:
        """Messages until too much is rejected, of this delivery and of those before it."""
        self.deliveries.append(delivery)
        for message in messages:
            if self.is_spent():
                return
            yield message

    def is_spent(self, *, at_the_end: bool = False) -> bool:
        """Looks, if it has not done so just now."""
        if self.limits and not self.spent and (at_the_end or time.monotonic() >= self._next_look):
            with database.reading(self.engine) as connection:
                judged, rejected = batches.judged(connection, self.deliveries)
            self._next_look = time.monotonic() + EVERY_SECONDS
            self.spent = self._objection(judged, rejected, 1 if at_the_end else FEWEST)
        return self.spent is not None

    def _objection(self, judged: int, rejected: int, fewest: int) -> str | None:
        most, ratio = self.limits.rejects, self.limits.ratio
        allowed = []
        if most is not None and rejected > most:
            allowed.append(f"--max-rejects {most}")
        if ratio is not None and judged >= fewest and rejected > ratio * judged:
            allowed.append(f"--max-reject-ratio {ratio:.4g}")
        if not allowed:
            return None
        return (
            f"{counted(rejected, 'record')} of {judged:,} judged so far "
            f"{'is' if rejected == 1 else 'are'} rejected ({rejected / judged:.1%}), more than {' and '.join(allowed)}"
        )

    def advice(self, *, all_sent: bool) -> str:
        """What the user can do."""
        rest = "" if all_sent else "; the same command with a larger budget, or without one, sends the rest"
        return (
            "more may be rejected than that, for what waits on the queue is judged later; "
            f"`store letters --source {self.source}` shows why; after a fix of the mapping send the file again{rest}"
        )

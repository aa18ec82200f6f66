"""The partitions that one run of the loader works on: one after another, each under a lease of its own.

A store that is not divided has one, the whole. A run that lives holds a lease at any moment: the next one is taken
before the last is given back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from store import database
from store.crash_points import reach
from store.database import install
from store.database.records import Partition
from store.errors import LockHeld, LockLost
from store.tables import leases, staging


@dataclass(frozen=True, slots=True)
class Lease:
    """What a loader has taken, see `leases`, and what waits there."""

    partition: Partition | None
    holder: str
    fence: int
    until: int | None  # the greatest id that was staged when the run began; None: nothing was

    @property
    def name(self) -> str:
        """The lease's name."""
        return leases.loader_of(self.partition)

    def renew(self, connection: Connection, seconds: float) -> None:
        """In each transaction that relies on it. Raises LockLost."""
        leases.renew(connection, self.name, self.holder, seconds, self.fence)


class RunLeases:
    """The leases of one run: of the partitions that nobody else loads, one after another."""

    def __init__(self, engine: Engine, holder: str, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds
        self._held: Lease | None = None
        self.holder = holder

    def each(self, on: Connection) -> Iterator[Lease]:
        """The lease of each partition where something is staged; of the first one where nothing is.

        Raises LockHeld where others hold all of them.
        """
        with database.reading(on) as connection:
            partitions = install.partitions(connection)
            staged = {
                partition: span for partition in partitions if (span := staging.span(connection, partition))
            }
        refused: LockHeld | None = None
        # What has waited longest comes first, for a run may end before its last partition.
        for partition in sorted(staged, key=lambda partition: staged[partition]) or partitions[:1]:
            try:
                yield self._take(on, partition, staged[partition][1] if partition in staged else None)
            except LockHeld as held:  # by another loader
                refused = held
        if refused and not self._held:
            raise refused

    def _take(self, on: Connection, partition: Partition | None, until: int | None) -> Lease:
        name = leases.loader_of(partition)
        with database.transaction(on, "sums") as connection:
            fence = leases.acquire(connection, name, self.holder, self._seconds)
            if not staging.span(connection, partition):  # another loader was quicker
                until = None
            if self._held:
                leases.release(connection, self._held.name, self.holder)
        self._held = Lease(partition, self.holder, fence, until)
        reach("load.locked")
        return self._held

    def end(self) -> None:
        """Gives back what is held."""
        if self._held:
            leases.give_up(self.holder)
            with database.transaction(self._engine, "sums") as connection:
                leases.release(connection, self._held.name, self.holder)
            leases.gave_back(self.holder)


def check(connection: Connection, lease: Lease) -> None:
    """Raises LockLost where the tables are divided otherwise now."""
    if lease.partition not in install.partitions(connection):
        raise LockLost(f"the tables have no partition {lease.partition} any more: this chunk is rolled back")

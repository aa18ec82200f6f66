"""Accepted records: one, as the careful way makes it, and those of a batch, as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Accepted(NamedTuple):
    """A record that keeps its contract, in the form it is stored."""

    key: str
    ts: str  # 27 characters: see store.timestamps
    content_hash: bytes | bytearray  # 16 bytes
    extra: str | None  # JSON: the fields beyond the contract
    values: tuple[Any, ...]  # the contract's columns, in their order
    sequence: int = 0  # orders versions of one time
    deleted: bool = False  # a tombstone: all but key and time is None
    flags: int = 0  # AMBIGUOUS, SHIFTED


class Valid(NamedTuple):
    """An accepted record, and its position in the batch (from 0)."""

    position: int
    record: Accepted
    flags: int  # LATE, STALE, AMBIGUOUS, SHIFTED


@dataclass(slots=True)
class Records:
    """Accepted records as columns, from the parser to the database's driver.

    An object for each record would cost 0.6 to 2.6 µs a record, for the garbage collector visits all that are alive.
    """

    values: list[list[Any]]  # the contract's columns, in their order
    positions: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    # A bytearray is bound as it is; for bytes the driver of SQLite looks for an adapter first, each time.
    contents: list[bytearray] = field(default_factory=list)
    extras: list[str | None] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    tombstones: set[int] = field(default_factory=set)  # their positions in the batch

    @classmethod
    def empty(cls, width: int) -> Records:
        """No records yet, of a contract with so many columns."""
        return cls([[] for _ in range(width)])

    def append(self, position: int, record: Accepted) -> None:
        row = (
            position,
            record.key,
            record.ts,
            bytearray(record.content_hash),
            record.extra,
            record.sequence,
            record.flags,
        )
        for column, value in zip(self._columns(), (*row, *record.values), strict=True):
            column.append(value)
        if record.deleted:
            self.tombstones.add(position)

    def extend(self, others: Records) -> None:
        for column, more in zip(self._columns(), others._columns(), strict=True):
            column.extend(more)
        self.tombstones |= others.tombstones

    def take(self, rows: Sequence[int]) -> Records:
        """These rows alone, in this order."""
        taken = Records.empty(len(self.values))
        for column, values in zip(taken._columns(), self._columns(), strict=True):
            column.extend([values[row] for row in rows])
        taken.tombstones = self.tombstones.intersection(taken.positions)
        return taken

    def in_order(self) -> Records:
        """The same in the order of the batch."""
        order = sorted(range(len(self)), key=self.positions.__getitem__)
        return self if order == list(range(len(self))) else self.take(order)

    def _columns(self) -> tuple[list[Any], ...]:
        fixed = (
            self.positions,
            self.keys,
            self.times,
            self.contents,
            self.extras,
            self.sequences,
            self.flags,
        )
        return (*fixed, *self.values)

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[Valid]:
        """Record by record: for the few of which more than a row is written."""
        for position, key, ts, content, extra, sequence, flags, *values in zip(*self._columns(), strict=True):
            deleted = position in self.tombstones
            yield Valid(position, Accepted(key, ts, content, extra, tuple(values), sequence, deleted), flags)

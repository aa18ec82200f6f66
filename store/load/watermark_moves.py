"""Watermarks moved by a person: set forward or rewound, with why and who, kept like every move."""

from __future__ import annotations

import getpass
import socket
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from store import timestamps
from store.database.schema import watermarks
from store.errors import SluiceError, UsageError
from store.tables.watermarks import Move, check, last_batches, last_moves, write


@dataclass(frozen=True, slots=True)
class ByHand:
    """A person's move of a watermark: to what, why, and who (user@host)."""

    source: str
    value: str
    why: str
    by: str


def set_forward(connection: Connection, move: ByHand, latest: datetime) -> str | None:
    """Moves a watermark forward for a person, to `latest` at most; what it was.

    Raises UsageError, WatermarkCorrupt, and SluiceError for a source of which nothing is known.
    """
    current = _for_moving(connection, move.source, latest)
    if timestamps.from_text(move.value) > latest:
        raise UsageError(
            f"{timestamps.to_iso(move.value)} lies in the future: nothing may be later than now and max_future_skew"
        )
    if current is not None and move.value <= current:
        raise UsageError(
            f"the watermark of {move.source!r} is {timestamps.to_iso(current)} already: `set` moves it forward, "
            "`store watermark rewind` back"
        )
    _move_by_hand(connection, move, current)
    return current


def rewind(connection: Connection, move: ByHand, latest: datetime) -> str:
    """Moves a watermark back for a person; what it was. Raises as `set_forward` does."""
    current = _for_moving(connection, move.source, latest)
    if current is None or move.value >= current:
        stands = f"is {timestamps.to_iso(current)}" if current else "was never moved"
        raise UsageError(
            f"the watermark of {move.source!r} {stands}: `rewind` moves it back, `store watermark set` forward"
        )
    _move_by_hand(connection, move, current)
    return current


def _for_moving(connection: Connection, source: str, latest: datetime) -> str | None:
    """A source's watermark, checked and held until the transaction ends; none where it has none yet."""
    row = select(watermarks.c.value).where(watermarks.c.source == source).with_for_update()
    value = connection.execute(row).scalar()
    last = last_moves(connection).get(source)
    if value is None and last is None:
        if source not in last_batches(connection):
            raise SluiceError(f"nothing is known of source {source!r}: `store watermark` lists the sources")
        return None
    check(source, value, last, latest)
    return value


def _move_by_hand(connection: Connection, move: ByHand, previous: str | None) -> None:
    write(connection, Move(move.source, move.value, None, None), previous, None, move.why, move.by)


def who() -> str:
    """Who runs this command: user@host."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in a container
        user = "unknown"
    return f"{user}@{socket.gethostname()}"

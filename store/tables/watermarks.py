"""`watermarks`: per source the greatest event time loaded. Only forward, and every move is kept.

A loader's run moves it forward; a person may `set` it forward or `rewind` it, saying why; a repair brings it
back to where it should be. What was last moved is told by the moves' ids, never by a clock, which may be set back.
Whether one lies in the future is decided by the database's clock. One that does not hold stops its own source alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping, func, select

from store import database, timestamps
from store.database.schema import batches, watermark_history, watermarks
from store.errors import WatermarkCorrupt
from store.tables import target

# Standing's fields, and the columns of the history that they are read from.
LAST_MOVE = {
    "moved_at": "at",
    "run": "run_seq",
    "record_key": "record_key",
    "lineage_id": "lineage_id",
    "why": "why",
    "by": "by",
}
REPAIR = "run `store watermark repair`, which restores it from its history and the target"


@dataclass(frozen=True, slots=True)
class Move:
    """A source's watermark as it is moved, and the staged record that moves it."""

    source: str
    value: str | None  # none: by a repair alone
    lineage_id: int | None
    record_key: str | None


@dataclass(frozen=True, slots=True)
class Checked:
    """The watermarks of all sources, each checked."""

    sound: dict[str, str]  # source -> watermark
    problems: dict[str, str]  # source -> what is wrong with its watermark, and what to do


@dataclass(frozen=True, slots=True)
class Standing:
    """A source's watermark, its last move, and what is wrong with it, if anything."""

    source: str
    value: str | None
    moved_at: str | None
    run: int | None  # none: moved by a person or a repair
    record_key: str | None
    lineage_id: int | None
    why: str | None
    by: str | None
    problem: str | None


def latest_sound(connection: Connection, max_future: timedelta) -> datetime:
    """What lies later is in the future."""
    return database.now(connection) + max_future


def check(source: str, value: str | None, last_move: str | None, latest: datetime) -> None:
    """Raises WatermarkCorrupt where a stored watermark is gone, does not parse, lies in the future (after `latest`) or
    is not where it was last moved to."""
    if value is None and last_move is None:  # a repair found no sound one: the next load brings one
        return
    if value is None:
        raise WatermarkCorrupt(f"the watermark of {source!r} is gone, last moved to {last_move}: {REPAIR}")
    try:
        moment = timestamps.from_text(value)
    except ValueError as error:
        raise WatermarkCorrupt(
            f"the watermark of {source!r} is {value!r}, which is no timestamp: {REPAIR}"
        ) from error
    if moment > latest:
        raise WatermarkCorrupt(
            f"the watermark of {source!r} is {value}, which lies in the future: by the database's clock and "
            f"max_future_skew, {timestamps.to_text(latest)} is the latest that is sound; if the clock is wrong, set "
            f"it; if it is right, {REPAIR}"
        )
    if last_move is None:
        raise WatermarkCorrupt(f"the watermark of {source!r} is {value}, but nothing ever moved it: {REPAIR}")
    if value != last_move:
        raise WatermarkCorrupt(
            f"the watermark of {source!r} is {value}, but was last moved to {last_move}: {REPAIR}"
        )


def read(connection: Connection, source: str, max_future: timedelta) -> str | None:
    """The watermark of one source, checked; no other is looked at. Raises WatermarkCorrupt."""
    own = select(watermarks.c.value).where(watermarks.c.source == source)
    moves = select(watermark_history.c.value).where(watermark_history.c.source == source)
    value = connection.execute(own).scalar()
    last = connection.execute(moves.order_by(watermark_history.c.id.desc()).limit(1)).scalar()
    check(source, value, last, latest_sound(connection, max_future))
    return value


def read_all(connection: Connection, max_future: timedelta) -> Checked:
    """Those of all sources: which hold, and what is wrong with the others."""
    found = standings(connection, max_future)
    return Checked(
        {each.source: each.value for each in found if each.value is not None and each.problem is None},
        {each.source: each.problem for each in found if each.problem is not None},
    )


def standings(connection: Connection, max_future: timedelta) -> list[Standing]:
    """Every source's watermark as it stands, in name order, with what `read` would raise for it."""
    latest = latest_sound(connection, max_future)
    values, moves = stored(connection), _latest_moves(connection)
    found = []
    for source in sorted(set(values) | set(moves)):
        value, move = values.get(source), moves.get(source)
        last = move["value"] if move else None
        problem = None
        try:
            check(source, value, last, latest)
        except WatermarkCorrupt as error:
            problem = str(error)
        how = {field: move[name] if move else None for field, name in LAST_MOVE.items()}
        found.append(Standing(source=source, value=value, problem=problem, **how))
    return found


def stored(connection: Connection) -> dict[str, str]:
    """source -> watermark, as they stand, unchecked: for looking, and for repair."""
    return {
        source: value for source, value in connection.execute(select(watermarks.c.source, watermarks.c.value))
    }


def last_moves(connection: Connection) -> dict[str, str | None]:
    """source -> what it was last moved to; None where a repair found no sound one."""
    return {source: move["value"] for source, move in _latest_moves(connection).items()}


def _latest_moves(connection: Connection) -> dict[str, RowMapping]:
    latest = select(func.max(watermark_history.c.id)).group_by(watermark_history.c.source)
    statement = select(watermark_history).where(watermark_history.c.id.in_(latest))
    return {move["source"]: move for move in connection.execute(statement).mappings()}


def pipeline(values: Mapping[str, str], idle: Collection[str] = ()) -> str | None:
    """The pipeline's watermark: the least over its active sources; over all of them where all are idle."""
    active = [value for source, value in values.items() if source not in idle]
    return min(active or values.values(), default=None)


def idle_sources(connection: Connection, idle_after: timedelta | None) -> frozenset[str]:
    """Sources of which no batch was processed for so long; none where idleness is not looked for."""
    if idle_after is None:
        return frozenset()
    last = last_batches(connection)
    try:
        since = timestamps.to_text(database.now(connection) - idle_after)
    except OverflowError:  # before the beginning of time
        return frozenset()
    return frozenset(source for source in {*stored(connection), *last} if last.get(source, "") < since)


def last_batches(connection: Connection) -> dict[str, str]:
    """source -> when its latest batch was processed."""
    latest = select(func.max(batches.c.seq)).group_by(batches.c.source)
    rows = connection.execute(
        select(batches.c.source, batches.c.processed_at).where(batches.c.seq.in_(latest))
    )
    return {source: at for source, at in rows}


def advance(connection: Connection, move: Move, current: str | None, run_seq: int) -> bool:
    """Moves a source's watermark forward in the loader's transaction; False where it would not move."""
    if move.value is None or (current is not None and move.value <= current):
        return False
    write(connection, move, current, run_seq, "load")
    return True


def write(
    connection: Connection,
    move: Move,
    previous: str | None,
    run_seq: int | None,
    why: str,
    by: str | None = None,
) -> None:
    """Moves a watermark, wherever to, and keeps the move."""
    at = timestamps.to_text(database.now(connection))
    values = {"source": move.source, "value": move.value, "updated_at": at}
    statement = database.insert(connection, watermarks).values(values)
    if move.value is None:
        connection.execute(watermarks.delete().where(watermarks.c.source == move.source))
    else:
        connection.execute(statement.on_conflict_do_update(index_elements=["source"], set_=values))
    connection.execute(
        watermark_history.insert().values(
            source=move.source,
            previous=previous,
            value=move.value,
            run_seq=run_seq,
            lineage_id=move.lineage_id,
            record_key=move.record_key,
            why=why,
            by=by,
            at=at,
        )
    )


def repair(connection: Connection, max_future: timedelta) -> list[tuple[str, str | None, str | None]]:
    """Restores every watermark that does not hold; (source, was, is) of each that was changed.

    What a source's watermark should be is the greatest of its sound moves and of the times loaded that do not lie in
    the future; after somebody has rewound it, of the moves since. Where there is none, it has none until the next load.
    """
    latest = latest_sound(connection, max_future)
    current, last = stored(connection), last_moves(connection)
    changed: list[tuple[str, str | None, str | None]] = []
    for source in sorted(set(current) | set(last)):
        value = current.get(source)
        try:
            check(source, value, last.get(source), latest)
        except WatermarkCorrupt:
            sound = _greatest_sound(connection, source, latest)
            write(connection, Move(source, sound, None, None), value, None, "repair")
            changed.append((source, value, sound))
    return changed


def _greatest_sound(connection: Connection, source: str, latest: datetime) -> str | None:
    own = watermark_history.c.source == source
    rewinds = watermark_history.c.by.is_not(None) & (watermark_history.c.value < watermark_history.c.previous)
    rewound = connection.execute(select(func.max(watermark_history.c.id)).where(own, rewinds)).scalar()
    since = select(watermark_history.c.value).where(own, watermark_history.c.id >= (rewound or 0))
    moves = list(connection.execute(since).scalars())
    if rewound and (found := _greatest(moves, latest)):
        return found
    loaded = target.newest(connection, source, timestamps.to_text(latest))
    return _greatest([*moves, loaded], latest)


def _greatest(values: Iterable[str | None], latest: datetime) -> str | None:
    return max((value for value in values if value and _is_sound(value, latest)), default=None)


def _is_sound(value: str, latest: datetime) -> bool:
    try:
        return timestamps.from_text(value) <= latest
    except ValueError:  # that is what is asked
        return False


def history(connection: Connection, source: str | None, limit: int) -> list[dict[str, object]]:
    """The latest moves, newest first."""
    statement = select(watermark_history).order_by(watermark_history.c.id.desc()).limit(limit)
    if source:
        statement = statement.where(watermark_history.c.source == source)
    return [database.as_dict(row) for row in connection.execute(statement).mappings()]

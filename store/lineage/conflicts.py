"""Conflicts: two records of a key with equal time and sequence and different content; one won, one lost.

The one that lost is a row of `past_lineage` that names the run which found the conflict. The one that won is in
the target, or in `past_lineage` too where a newer record replaced it. Either leads to its file by its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Subquery, and_, func, select

from store import timestamps
from store.database.records import record_tables
from store.database.schema import MAX_BATCH_RECORDS, RECORD_BITS, SHIFT, batches, past_lineage
from store.tables import batches as inbox

Facts = dict[str, Any]

lost = past_lineage.alias("lost")
NEWEST_FIRST = (lost.c.conflict_run.desc(), lost.c.source, lost.c.key, lost.c.id)


def find(
    connection: Connection,
    *,
    source: str | None = None,
    run: int | None = None,
    key: str | None = None,
    limit: int | None = None,
) -> list[Facts]:
    """The conflicts that match, those of the latest run first."""
    rows = connection.execute(_both(_chosen(_conditions(connection, source, run, key), limit))).mappings()
    return [_facts(row) for row in rows]


def count(
    connection: Connection, *, source: str | None = None, run: int | None = None, key: str | None = None
) -> int:
    """How many conflicts match."""
    matching = select(func.count()).select_from(lost).where(*_conditions(connection, source, run, key))
    return connection.execute(matching).scalar_one()


def _conditions(
    connection: Connection, source: str | None, run: int | None, key: str | None
) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [lost.c.conflict_run.is_not(None)]
    if run is not None:
        found.append(lost.c.conflict_run == run)
    if key is not None:  # with its sources, so that the primary key is used, which begins with them
        sources = inbox.sources(connection) if source is None else [source]
        found += [lost.c.key == key, lost.c.source.in_(sources)]
    elif source is not None:
        # An expression, so that the index of conflicts is used: by the primary key SQLite would read all of the
        # source's past.
        found.append(lost.c.source.concat("") == source)
    return found


def _chosen(conditions: Sequence[ColumnElement[bool]], limit: int | None) -> Subquery:
    """The records that lost, by their keys: with these columns alone, the index of conflicts is enough."""
    keys = select(lost.c.source, lost.c.key, lost.c.id).where(*conditions)
    return keys.order_by(*NEWEST_FIRST).limit(limit).subquery("chosen")


def _both(chosen: Subquery) -> Any:
    """What is known of each of them and of the record that won."""
    target, won = record_tables().target.alias("held"), past_lineage.alias("won")
    of_lost, of_won = batches.alias("of_lost"), batches.alias("of_won")
    loser = and_(*(lost.c[name] == chosen.c[name] for name in ("source", "key", "id")))
    held = and_(
        target.c.source == lost.c.source, target.c.key == lost.c.key, target.c.lineage_id == lost.c.beaten_by
    )
    past = and_(won.c.source == lost.c.source, won.c.key == lost.c.key, won.c.id == lost.c.beaten_by)
    line = func.coalesce(target.c.lineage_line, won.c.line)
    version = func.coalesce(target.c.lineage_version, won.c.version)
    names = ("key", "source", "ts", "sequence", "conflict_run")
    rows = chosen.join(lost, loser)
    rows = rows.join(of_lost, of_lost.c.seq == lost.c.id.op(">>")(SHIFT))
    rows = rows.join(of_won, of_won.c.seq == lost.c.beaten_by.op(">>")(SHIFT))
    rows = rows.outerjoin(target, held).outerjoin(won, past)
    columns = [
        *(lost.c[name] for name in names),
        *_side("won", lost.c.beaten_by, line, version, of_won),
        *_side("lost", lost.c.id, lost.c.line, lost.c.version, of_lost),
    ]
    return select(*columns).select_from(rows).order_by(*NEWEST_FIRST)


def _side(
    prefix: str, id: ColumnElement[int], line: ColumnElement[int], version: ColumnElement[int], batch: Any
) -> list[ColumnElement[Any]]:
    columns = {
        "id": id,
        "line": line,
        "version": version,
        "file": batch.c.file,
        "batch": batch.c.id,
        "delivery": batch.c.delivery_seq,
        "first_record": batch.c.first_record,
    }
    return [column.label(f"{prefix}_{name}") for name, column in columns.items()]


def _facts(row: Any) -> Facts:
    winner, loser = _rank(row, "won"), _rank(row, "lost")
    return {
        "key": row["key"],
        "source": row["source"],
        "ts": timestamps.to_iso(row["ts"]),
        "sequence": row["sequence"],
        "run": row["conflict_run"],
        "decided_by": decided_by(winner, loser),
        "winner": _record(row, "won"),
        "loser": _record(row, "lost"),
    }


def _record(row: Any, side: str) -> Facts:
    return {
        "id": f"stage-{row[f'{side}_id']}",
        "file": row[f"{side}_file"],
        "line": row[f"{side}_line"],
        "batch": row[f"{side}_batch"],
        # An unedited letter that was sent back belongs to the delivery that it was rejected in.
        "delivery": (row[f"{side}_version"] or 0) >> RECORD_BITS or row[f"{side}_delivery"],
    }


def _rank(row: Any, side: str) -> int:
    """As `load.chunk.rank`: the number of the delivery, and of the record in it."""
    version: int | None = row[f"{side}_version"]
    if version is not None:
        return version
    first: int = row[f"{side}_first_record"]
    delivery: int = row[f"{side}_delivery"]
    position: int = row[f"{side}_id"] & (MAX_BATCH_RECORDS - 1)
    return (delivery << RECORD_BITS) + first + position


def decided_by(winner: int, loser: int) -> str:
    """What made the record of the first rank win over that of the second."""
    if winner == loser:
        return "content hash"  # the source has `ties = "hash"`
    if winner < loser:
        return "later repeat"  # of the winner: it counts as a version, but no row names it
    return "later line" if winner >> RECORD_BITS == loser >> RECORD_BITS else "later delivery"

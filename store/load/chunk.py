"""A chunk of staged records and what becomes of each: inserted, updated, duplicate or superseded.

The chunk is sorted into a temporary table by source, key and version, so the greatest version of a key is its
last row there. That one is compared with the target; the others of its key lose against whichever of the two
wins. All of this only reads, and leaves the write lock to the workers.

Versions are ordered by (ts, sequence, rank, content hash), where the rank is the number of the record's
delivery and the record's number in it. Ranks are looked up for the target only where time and sequence are
equal: it counts there as the greatest of its own and of all that was decided of this key, time and sequence
before. A repeat raises it so, without a row written to the target.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    case,
    func,
    literal_column,
    select,
    text,
)

from store import database
from store.database.records import KIND_TYPES, ContractColumn, Partition, RecordTables, record_tables
from store.database.schema import MAX_BATCH_RECORDS, POSITION_BITS, RECORD_BITS, SHIFT, Serial, batches
from store.tables import staging
from store.tables.batches import AT_LOAD
from store.tables.lineage import DUPLICATE, INSERTED, OUTCOMES, SUPERSEDED, UPDATED
from store.tables.watermarks import Move

LAST_MOMENT = "9999-12-31T23:59:59.999999Z"
CHUNK_CACHE_MB = 48  # of a chunk table that is larger, the rest is written to a file

# Outcomes that are not final: another row of the chunk has a greater version; the target has an equal one.
BEATEN, TIED = 0, 5


# The positions of rows of a chunk that another one of their key follows.
BEATEN_ROWS = Table(
    "beaten",
    MetaData(),
    Column("position", Serial, primary_key=True, autoincrement=False),
    prefixes=["TEMPORARY"],
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Staged rows with their outcomes, not yet merged."""

    tables: RecordTables
    table: Table  # temporary: of the connection that took it
    last: int  # the greatest id of its rows
    rows: int
    batches: dict[int, dict[str, int]]  # number of a batch -> outcome -> count
    conflicts: dict[str, int]  # source -> count
    newest: list[Move]
    without: Collection[str]  # sources whose rows were left in staging

    @property
    def outcomes(self) -> dict[str, int]:
        """The count of each outcome."""
        names = AT_LOAD[: len(OUTCOMES)]
        return {name: sum(each.get(name, 0) for each in self.batches.values()) for name in names}


@lru_cache(maxsize=8)
def chunk_table(columns: tuple[ContractColumn, ...]) -> Table:
    """The temporary table that holds a chunk while it is merged."""
    typed = [Column(column.name, KIND_TYPES[column.kind]()) for column in columns]
    return Table(
        "chunk",
        MetaData(),
        Column("_position", Serial, primary_key=True, autoincrement=True),
        Column("source", Text),
        Column("key", Text),
        Column("ts", Text),
        Column("sequence", BigInteger),
        Column("deleted", Boolean),
        Column("content_hash", LargeBinary),
        Column("extra", Text),
        *typed,  # none begins with an underscore: pydantic has no such fields
        Column("id", BigInteger),
        Column("line", BigInteger),
        Column("parent_id", BigInteger),
        Column("version", BigInteger),
        Column("_rank", BigInteger),
        Column("_outcome", Integer, server_default=str(INSERTED)),
        Column("_rival", BigInteger),  # id of what the target holds, or of what beats this row
        Column("_conflict", Integer, server_default="0"),
        prefixes=["TEMPORARY"],
    )


def take(
    connection: Connection,
    columns: tuple[ContractColumn, ...],
    size: int,
    until: int | None = None,
    dedupe: float = 1.0,
    *,
    without: Collection[str] = (),
    latest: str = LAST_MOMENT,
    partition: Partition | None = None,
) -> Chunk | None:
    """Takes up to `size` staged rows, none beyond the id `until`, and decides each; None where there is none.

    Of a divided store, those of one partition.

    Rows of the sources `without` stay where they are. No time after `latest` moves a watermark.

    `dedupe` is the share of records whose repeats are told from superseded ones. It only reads: staged rows
    do not change and one loader alone writes the target, or a partition of it, so the result holds until that loader
    merges it.
    """
    last = staging.bound(connection, size, until, without, partition)
    if last is None:
        return None
    tables, table = record_tables(columns, partition), chunk_table(columns)
    database.create_temporary(connection, table)
    database.keep_temporary(connection, CHUNK_CACHE_MB)
    staged = staging.rows_by_batch(connection, last, without, partition)
    sources = _sources(connection, sorted(staged))
    chosen = staging.of_chunk(connection, last, staged, without, rows=tables.staging, batch=batches.c.seq)
    rows = _fill(connection, tables, table, chosen, sources)
    _decide(connection, tables.target.name)
    if dedupe < 1:
        _count_repeats_as_superseded(connection, dedupe)
    per_batch = _by_batch(connection, table, staged)
    conflicts: dict[str, int] = {}
    if any(each.get("conflicts") for each in per_batch.values()):
        conflicts = _conflicts(connection, table)
    newest = _newest(connection, table, sources, latest)
    return Chunk(tables, table, last, rows, per_batch, conflicts, newest, without)


def rank(rows: str, batch: str, id: str, version: str) -> str:
    """SQL for the rank of a record: `rows` its table, `batch` its batch."""
    number = f"({rows}.{id} & {MAX_BATCH_RECORDS - 1})"
    first = f"{batch}.delivery_seq * {1 << RECORD_BITS} + {batch}.first_record"
    return f"COALESCE({rows}.{version}, {first} + {number})"


def _sources(connection: Connection, numbers: Sequence[int]) -> Sequence[str]:
    """The sources of these batches."""
    of_batch = database.member_of(connection, batches.c.seq, numbers)
    return connection.execute(select(batches.c.source).where(of_batch).distinct()).scalars().all()


def _fill(
    connection: Connection,
    tables: RecordTables,
    chunk: Table,
    chosen: ColumnElement[bool],
    sources: Sequence[str],
) -> int:
    """Fills the chunk table, in the order of versions; how many rows.

    Without a source that is the same in all rows, SQLite sorts a fifth faster: 0.5 µs a row.
    """
    staged = tables.staging
    names = [*tables.data, "id", "line", "parent_id", "version"]
    ranked: ColumnElement[int] = literal_column(rank(staged.name, "batches", "id", "version"), BigInteger)
    order = [staged.c.key, staged.c.ts, staged.c.sequence, ranked, staged.c.content_hash]
    if len(sources) > 1:
        order.insert(0, staged.c.source)
    made: dict[str, ColumnElement[Any]] = {"_rank": ranked}
    if _has_quick_windows(connection):
        made |= {
            "_position": func.row_number().over(order_by=order),
            "_outcome": _beaten_or_not(staged, order),
        }
    rows = (
        select(*(staged.c[name] for name in names), *made.values())
        .join_from(staged, batches, batches.c.seq == staged.c.id.op(">>")(SHIFT))
        .where(chosen)
        .order_by(*order)
    )
    return connection.execute(chunk.insert().from_select([*names, *made], rows)).rowcount


def _has_quick_windows(connection: Connection) -> bool:
    return database.backend_of(connection).has_quick_windows


def _beaten_or_not(staged: Table, order: Sequence[ColumnElement[Any]]) -> ColumnElement[int]:
    """Whether another row of the same key follows, where the rows are sorted anyway."""
    follows = [func.lead(each).over(order_by=order) == each for each in (staged.c.source, staged.c.key)]
    return case((and_(*follows), BEATEN), else_=INSERTED)


# Few rows are beaten: whatever concerns them alone begins with their positions, and does not go through the chunk.
FIND_BEATEN = """
INSERT INTO beaten (position)
SELECT chunk._position FROM chunk JOIN chunk AS later ON later._position = chunk._position + 1
 WHERE later.key = chunk.key AND later.source = chunk.source
"""

# Where the chunk was filled with what is beaten.
LIST_BEATEN = f"INSERT INTO beaten (position) SELECT _position FROM chunk WHERE _outcome = {BEATEN}"  # noqa: S608

# The last row of a key keeps INSERTED, until the target is asked.
FLAG_BEATEN = f"UPDATE chunk SET _outcome = {BEATEN} WHERE _position IN (SELECT position FROM beaten)"  # noqa: S608

# `{target}` is the target, or a partition of it.
COMPARE_WITH_TARGET = f"""
UPDATE chunk SET _rival = t.lineage_id, _outcome = CASE
    WHEN chunk.ts > t.ts OR (chunk.ts = t.ts AND chunk.sequence > t.sequence) THEN {UPDATED}
    WHEN chunk.ts < t.ts OR chunk.sequence < t.sequence THEN {SUPERSEDED}
    WHEN chunk.content_hash = t.content_hash THEN {DUPLICATE}
    ELSE {TIED} END
FROM {{target}} AS t
WHERE t.source = chunk.source AND t.key = chunk.key AND chunk._outcome = {INSERTED}
"""  # noqa: S608

TIES = f"SELECT 1 FROM chunk WHERE _outcome = {TIED} LIMIT 1"  # noqa: S608

# What was decided of this key, time and sequence before never had a greater rank than what then won.
BREAK_TIES = f"""
UPDATE chunk SET _conflict = 1, _outcome = CASE
    WHEN chunk._rank > tie.held_rank AND chunk._rank > COALESCE(tie.past_rank, 0) THEN {UPDATED}
    WHEN chunk._rank = tie.held_rank AND chunk._rank >= COALESCE(tie.past_rank, 0)
         AND chunk.content_hash > tie.content_hash THEN {UPDATED}
    ELSE {SUPERSEDED} END
FROM (
  SELECT c._position AS position, t.content_hash AS content_hash,
         {rank("t", "b", "lineage_id", "lineage_version")} AS held_rank,
         (SELECT MAX({rank("p", "of_past", "id", "version")})
            FROM past_lineage AS p JOIN batches AS of_past ON of_past.seq = (p.id >> {POSITION_BITS})
           WHERE p.source = c.source AND p.key = c.key AND p.ts = c.ts AND p.sequence = c.sequence) AS past_rank
    FROM chunk AS c
    JOIN {{target}} AS t ON t.source = c.source AND t.key = c.key
    JOIN batches AS b ON b.seq = (t.lineage_id >> {POSITION_BITS})
   WHERE c._outcome = {TIED}
) AS tie
WHERE tie.position = chunk._position
"""  # noqa: S608

# What a key ends with: its row of the chunk that wins, or what the target holds. The beaten rows of a key are followed
# by its best one, so they are one streak of positions.
SETTLE_BEATEN = f"""
UPDATE chunk SET _rival = won.id,
  _outcome = CASE WHEN won.ts = chunk.ts AND won.sequence = chunk.sequence
                   AND won.content_hash = chunk.content_hash THEN {DUPLICATE} ELSE {SUPERSEDED} END,
  _conflict = CASE WHEN won.ts = chunk.ts AND won.sequence = chunk.sequence
                    AND won.content_hash <> chunk.content_hash THEN 1 ELSE 0 END
FROM (
  SELECT c.position, CASE WHEN wins THEN c.id ELSE t.lineage_id END AS id,
         CASE WHEN wins THEN c.ts ELSE t.ts END AS ts,
         CASE WHEN wins THEN c.sequence ELSE t.sequence END AS sequence,
         CASE WHEN wins THEN c.content_hash ELSE t.content_hash END AS content_hash
    FROM (
      SELECT followed.position, best.*, best._outcome IN ({INSERTED}, {UPDATED}) AS wins
        FROM (
          SELECT position, MAX(position) OVER (PARTITION BY streak) + 1 AS by_best
            FROM (SELECT position, position - ROW_NUMBER() OVER (ORDER BY position) AS streak FROM beaten)
                 AS numbered
        ) AS followed JOIN chunk AS best ON best._position = followed.by_best
    ) AS c LEFT JOIN {{target}} AS t ON t.source = c.source AND t.key = c.key
) AS won
WHERE won.position = chunk._position
"""  # noqa: S608


def _decide(connection: Connection, target: str) -> None:
    """Gives each row of the chunk its outcome."""
    database.create_temporary(connection, BEATEN_ROWS)
    is_flagged = _has_quick_windows(connection)
    beaten = connection.execute(text(LIST_BEATEN if is_flagged else FIND_BEATEN)).rowcount
    if beaten and not is_flagged:
        connection.execute(text(FLAG_BEATEN))
    met = connection.execute(text(COMPARE_WITH_TARGET.format(target=target))).rowcount
    if met and connection.execute(text(TIES)).first():
        connection.execute(text(BREAK_TIES.format(target=target)))
    if beaten:
        connection.execute(text(SETTLE_BEATEN.format(target=target)))


def _count_repeats_as_superseded(connection: Connection, dedupe: float) -> None:
    """Outside the share of records whose repeats are told apart, a repeat is one more that did not win."""
    bound = min(int(dedupe * 2**32), 2**32 - 1).to_bytes(4, "big")
    statement = (
        f"UPDATE chunk SET _outcome = {SUPERSEDED} WHERE _outcome = {DUPLICATE} AND content_hash >= :bound"  # noqa: S608
    )
    connection.execute(text(statement), {"bound": bound})


def _by_batch(connection: Connection, chunk: Table, staged: Mapping[int, int]) -> dict[int, dict[str, int]]:
    """The outcomes of each batch, counted; `staged` are its rows.

    Most rows are new: only the others are grouped, which sorts them.
    """
    batch, outcome = chunk.c.id.op(">>")(SHIFT), chunk.c["_outcome"]
    found = {number: {"inserted": rows} for number, rows in staged.items()}
    others = select(batch, outcome, func.count(), func.sum(chunk.c["_conflict"])).group_by(batch, outcome)
    conflicts: Counter[int] = Counter()
    for number, kind, count, tied in connection.execute(others.where(outcome != INSERTED)):
        found[number]["inserted"] -= count
        found[number][AT_LOAD[kind - 1]] = count
        conflicts[number] += int(tied)
    return {number: {**counts, "conflicts": conflicts[number]} for number, counts in found.items()}


def _conflicts(connection: Connection, chunk: Table) -> dict[str, int]:
    counted = select(chunk.c.source, func.count()).where(chunk.c["_conflict"] == 1)
    return {source: count for source, count in connection.execute(counted.group_by(chunk.c.source))}


def _newest(connection: Connection, chunk: Table, sources: Sequence[str], latest: str) -> list[Move]:
    """Each source's greatest event time in the chunk that is not after `latest`, and its record (the first by id)."""
    in_time = chunk.c.ts <= latest
    first = select(chunk.c.ts, chunk.c.id, chunk.c.key).order_by(chunk.c.ts.desc(), chunk.c.id).limit(1)
    if len(sources) == 1:  # grouping would sort the chunk
        found = connection.execute(first.where(in_time)).all()
        return [Move(sources[0], ts, id, key) for ts, id, key in found]
    greatest = select(chunk.c.source, func.max(chunk.c.ts)).where(in_time).group_by(chunk.c.source)
    moves = []
    for source, ts in connection.execute(greatest).all():
        newest = first.where(chunk.c.source == source, chunk.c.ts == ts)
        _, id, key = connection.execute(newest).one()
        moves.append(Move(source, ts, id, key))
    return moves

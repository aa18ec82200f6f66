"""The tables with fixed columns; `staging` and `target`, which carry the contract's, are in `records`.

A target row carries its own lineage. When another record replaces it, that moves to `past_lineage`, where
duplicates and superseded records are written at once. The view `record_lineage` shows both, one row a
loaded record, and the view `lineage` presents each as the two entries it stands for (stage, load), beside
the entries of records still in staging and of those rejected, skipped or replayed.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    literal_column,
    text,
)

SCHEMA_REVISION = "0001"
VERSION_TABLE = "sluice_schema"

# A staged record's id is its batch's number and its position in the batch, so no counter is needed and
# any id tells its batch.
POSITION_BITS = 20
SHIFT = literal_column(str(POSITION_BITS), Integer)  # PostgreSQL shifts by a 32-bit number alone
MAX_BATCH_RECORDS = 1 << POSITION_BITS
# A version is a delivery's number and a record's number in it: of versions of one time the greatest wins.
RECORD_BITS = 32
RECORD_SHIFT = literal_column(str(RECORD_BITS), Integer)

# Indexes have SQLite's conditions alone: for others, which the migration has, SQLAlchemy would import their dialect.
# Byte order everywhere: what sorts in SQLite's BINARY collation must sort alike in PostgreSQL.
Name = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite's rowid alias is INTEGER; elsewhere numbers that grow for ever are 64 bits wide.
Serial = BigInteger().with_variant(Integer, "sqlite")


def staged_id(batch_seq: int, position: int) -> int:
    """The id of the record at `position` (from 0) of a batch, and of its `stage` and `load` entries."""
    return batch_seq << POSITION_BITS | position


def batch_of(staged_id: int) -> int:
    """The number of the batch that a staged record came in."""
    return staged_id >> POSITION_BITS


def event_id(batch_seq: int, position: int, step: str) -> int:
    """The id of a `replay`, `reject` or `skip` entry; a replayed record may have one before the other."""
    return staged_id(batch_seq, position) << 1 | (step != "replay")


metadata = MetaData()

deliveries = Table(
    "deliveries",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),  # the order of deliveries
    Column("id", Name, nullable=False, unique=True),  # content-addressed, 32 hex digits
    Column("kind", Text, nullable=False),
    Column("source", Name, nullable=False),
    Column("file", Text, nullable=False),
    Column("content", Name),  # hash of the file's bytes and how they are read; null: not known beforehand
    Column("fingerprint", Text, nullable=False),  # of the contract and mapping it was sent for
    Column("again", Integer, nullable=False),  # how often the same content was sent anew, on purpose, before
    Column("started_at", Text, nullable=False),
    # The receipt of the latest time that it was sent to its end; null until then.
    Column("format", Text),
    Column("records", BigInteger),
    Column("bytes", BigInteger),
    Column("batches", BigInteger),
    Column("sent_batches", BigInteger),
    Column("known_batches", BigInteger),
    Column("seconds", Double),
    Column("waited_seconds", Double),
    Column("finished_at", Text),
    Column("error", Text),  # why not all of it could be read; null: all was
    CheckConstraint("kind IN ('file', 'stream', 'replay')", name="deliveries_kind"),
    Index("deliveries_by_content", "source", "content"),
    sqlite_autoincrement=True,
)

# Each contract and mapping that has judged records: `store check` computes their hashes again, and letters are shown
# with the raw fields that the contract's come from.
contracts = Table(
    "contracts",
    metadata,
    Column("fingerprint", Name, primary_key=True),
    Column("fields", Text, nullable=False),  # JSON: field -> the kind of its column
    # JSON: field -> {path: [names]} of its raw field, or {by: what makes it}; a field that is not there: unknown
    Column("origins", Text, nullable=False, server_default="{}"),
)

batches = Table(
    "batches",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("id", Name, nullable=False, unique=True),  # the inbox: content-addressed, 32 hex digits
    Column("kind", Text, nullable=False),
    # Of which its records are a part; letters that were sent back unedited keep their own: see `dead_letters`.
    Column("delivery_seq", Serial, ForeignKey("deliveries.seq"), nullable=False),
    Column("source", Name, nullable=False),
    Column("file", Text, nullable=False),
    Column("first_record", BigInteger, nullable=False),  # its first record's number in the delivery, from 0
    Column("first_line", BigInteger, nullable=False),
    Column("last_line", BigInteger, nullable=False),
    Column("fingerprint", Text, nullable=False),  # of the contract and mapping that judged it
    Column("received", Integer, nullable=False),
    Column("staged", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    # What the loader has decided of the staged ones so far, in the transactions of its chunks.
    *(
        Column(name, Integer, nullable=False, server_default="0")
        for name in ("inserted", "updated", "duplicates", "superseded", "conflicts")
    ),
    Column("late", Integer, nullable=False),
    Column("stale", Integer, nullable=False),
    Column("ambiguous", Integer, nullable=False, server_default="0"),  # local times that exist twice
    Column("shifted", Integer, nullable=False, server_default="0"),  # local times that do not exist
    Column("reasons", Text, nullable=False),  # JSON: reason -> count
    Column("seconds", Text, nullable=False),  # JSON: stage -> seconds; a stage that did not run is absent
    Column("watermark_before", Text),
    Column("processed_at", Text, nullable=False),
    Column(
        "stages_run", Text, nullable=False, server_default="[]"
    ),  # JSON: names; a stage that is off is absent
    Column("parts", Text, nullable=False, server_default="[]"),  # JSON: the ids of a split batch's halves
    # split: it killed its workers and was cut into two batches of their own; it received nothing itself
    CheckConstraint("kind IN ('file', 'replay', 'split')", name="batches_kind"),
    sqlite_autoincrement=True,
)

lineage_events = Table(
    "lineage_events",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=False),  # see `event_id`
    Column("step", Text, nullable=False),
    Column("source", Name, nullable=False),
    Column("record_key", Name),
    Column("dead_letter_id", Name),
    Column("detail", Text, nullable=False),
    Column("batch_seq", Serial, ForeignKey("batches.seq"), nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("parent_id", BigInteger),
    # Not IN: of more than two values SQLite makes an index anew for each row.
    CheckConstraint("step = 'reject' OR step = 'skip' OR step = 'replay'", name="lineage_events_step"),
    Index("lineage_events_by_key", "record_key"),
    Index(
        "lineage_events_by_dead_letter",
        "dead_letter_id",
        # Skipped records have entries too.
        sqlite_where=text("dead_letter_id IS NOT NULL"),
    ),
)

CONFLICTS = text("conflict_run IS NOT NULL")

past_lineage = Table(
    "past_lineage",
    metadata,
    Column("source", Name, primary_key=True),
    Column("key", Name, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("ts", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("run_seq", BigInteger, nullable=False),
    Column("outcome", Integer, nullable=False),
    Column("parent_id", BigInteger),  # the `replay` entry, where it came from a dead letter
    Column("version", BigInteger),  # null: that of its batch's delivery
    Column("beaten_by", BigInteger, nullable=False),  # id of the record that it repeats, or that replaced it
    # The run that found that one to have the same time and sequence and other content; null: it has not.
    Column("conflict_run", BigInteger),
    CheckConstraint("outcome BETWEEN 1 AND 4", name="past_lineage_outcome"),  # see `lineage.OUTCOMES`
    sqlite_with_rowid=False,
)
# Those of the latest run come first.
Index(
    "past_lineage_conflicts",
    past_lineage.c.conflict_run.desc(),
    sqlite_where=CONFLICTS,
)

# A view: `past_lineage`, and what the target's rows carry.
record_lineage = Table("record_lineage", MetaData(), *(Column(c.name, c.type) for c in past_lineage.columns))

watermarks = Table(
    "watermarks",
    metadata,
    Column("source", Name, primary_key=True),
    Column("value", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
)

watermark_history = Table(
    "watermark_history",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("source", Name, nullable=False),
    Column("previous", Text),
    Column("value", Text),  # null: a repair found no sound one
    Column("run_seq", Serial, ForeignKey("run_log.seq")),  # null: moved by hand
    Column("lineage_id", BigInteger),  # the staged record that moved it
    Column("record_key", Name),
    Column("why", Text, nullable=False),  # load, repair, or what somebody gave as the reason
    Column("by", Text),  # user@host; null: the loader, or a repair
    Column("at", Text, nullable=False),
    Index("watermark_history_by_source", "source", "id"),
    sqlite_autoincrement=True,
)

run_log = Table(
    "run_log",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("status", Text, nullable=False),
    Column("holder", Text, nullable=False),  # host, process and nonce of the loader
    Column("started_at", Text, nullable=False),
    Column("finished_at", Text),
    Column("chunks", Integer, nullable=False),
    Column("inserted", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("superseded", BigInteger, nullable=False),
    Column("conflicts", Text, nullable=False, server_default="{}"),  # JSON: source -> count
    Column("seconds", Double, nullable=False),
    Column("watermark_before", Text),
    Column("watermark_after", Text),
    Column("error", Text),
    Column("stage_seconds", Text, nullable=False, server_default="{}"),  # JSON: step of the merge -> seconds
    # running -> succeeded | failed; running -> interrupted: found by the next run after a crash
    CheckConstraint("status IN ('running', 'succeeded', 'failed', 'interrupted')", name="run_log_status"),
    sqlite_autoincrement=True,
)

flags = Table(
    "flags",
    metadata,
    Column("name", Name, primary_key=True),
    Column("share", Double, nullable=False),  # 0 off, 1 on, between: of the records whose hash falls there
)

flag_history = Table(
    "flag_history",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("name", Name, nullable=False),
    Column("previous", Double),
    Column("share", Double),  # null: back to what the configuration says
    Column("why", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", Text, nullable=False),
    sqlite_autoincrement=True,
)

source_priorities = Table(
    "source_priorities",
    metadata,
    Column("source", Name, primary_key=True),
    Column("priority", Integer, nullable=False),  # 1 is the best; a source without one comes last
)

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("sources", Text, nullable=False),  # JSON: names, in order
    Column("tolerances", Text, nullable=False),  # JSON: field -> greatest difference that still matches
    Column("since", Text),
    Column("keys", BigInteger, nullable=False),
    Column("matched", BigInteger, nullable=False),
    Column("mismatched", BigInteger, nullable=False),
    Column("single_source", Text, nullable=False),  # JSON: source -> keys that it alone has
    Column(
        "new_mismatches", BigInteger, nullable=False
    ),  # keys that matched, or were not there, the last time
    Column("seconds", Double, nullable=False),
    Column("at", Text, nullable=False),
    sqlite_autoincrement=True,
)

# Which keys the latest reconciliation of some sources found in disagreement: what the next one compares with.
reconciled_mismatches = Table(
    "reconciled_mismatches",
    metadata,
    Column("sources", Text, primary_key=True),  # JSON, as in `reconciliations`
    Column("key", Name, primary_key=True),
    Column("since_seq", Serial, ForeignKey("reconciliations.seq"), nullable=False),  # the first that found it
    Index("reconciled_mismatches_by_seq", "since_seq"),
    sqlite_with_rowid=False,
)

# What `store check` found last: metrics say it, and check nothing themselves.
law_checks = Table(
    "law_checks",
    metadata,
    Column("law", Name, primary_key=True),  # as it says
    Column("violations", BigInteger, nullable=False),
    Column("checked_at", Text, nullable=False),
)

locks = Table(
    "locks",
    metadata,
    Column("name", Name, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    Column("fence", BigInteger, nullable=False, server_default="0"),  # how often it was taken
)

contract_columns = Table(
    "contract_columns",
    metadata,
    Column("name", Name, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("position", Integer, nullable=False),
)

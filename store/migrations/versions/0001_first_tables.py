"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

LINEAGE_VIEW = """
CREATE VIEW lineage AS
WITH passed AS (
  SELECT source, key, id, ts, line, parent_id, CAST(NULL AS BIGINT) AS run_seq, 0 AS outcome FROM staging
  UNION ALL
  SELECT source, key, id, ts, line, parent_id, run_seq, outcome FROM record_lineage
)
SELECT 'stage-' || CAST(p.id AS TEXT) AS id, 'stage' AS step, p.key AS key, p.source AS source,
       CASE WHEN p.parent_id IS NULL THEN 'file' ELSE 'dead_letters' END AS from_place, 'staging' AS to_place,
       'ts ' || p.ts AS detail, b.id AS batch, CAST(NULL AS BIGINT) AS run, b.file AS file, p.line AS line,
       b.processed_at AS at,
       CASE WHEN p.parent_id IS NULL THEN NULL ELSE 'event-' || CAST(p.parent_id AS TEXT) END AS parent_id
  FROM passed p JOIN batches b ON b.seq = (p.id >> 20)
UNION ALL
SELECT 'load-' || CAST(r.id AS TEXT), 'load', r.key, r.source, 'staging',
       CASE r.outcome WHEN 3 THEN 'superseded' ELSE 'target' END,
       CASE r.outcome WHEN 1 THEN 'inserted' WHEN 2 THEN 'updated' ELSE 'superseded' END, b.id, r.run_seq,
       b.file, r.line, COALESCE(l.finished_at, l.started_at), 'stage-' || CAST(r.id AS TEXT)
  FROM record_lineage r JOIN batches b ON b.seq = (r.id >> 20) JOIN run_log l ON l.seq = r.run_seq
UNION ALL
SELECT 'event-' || CAST(e.id AS TEXT), e.step, e.record_key, e.source,
       CASE e.step WHEN 'replay' THEN 'dead_letters' ELSE 'file' END,
       CASE e.step WHEN 'reject' THEN 'dead_letters' WHEN 'replay' THEN 'queue' ELSE 'nowhere' END,
       e.detail, b.id, CAST(NULL AS BIGINT), b.file, e.line, b.processed_at,
       CASE WHEN e.parent_id IS NULL THEN NULL ELSE 'event-' || CAST(e.parent_id AS TEXT) END
  FROM lineage_events e JOIN batches b ON b.seq = e.batch_seq
"""


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("id", NAME, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("first_line", sa.BigInteger(), nullable=False),
        sa.Column("last_line", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("received", sa.Integer(), nullable=False),
        sa.Column("staged", sa.Integer(), nullable=False),
        sa.Column("duplicates", sa.Integer(), nullable=False),
        sa.Column("superseded", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("late", sa.Integer(), nullable=False),
        sa.Column("stale", sa.Integer(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Text(), nullable=False),
        sa.Column("watermark_before", sa.Text(), nullable=True),
        sa.Column("processed_at", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('file', 'replay', 'split')", name="batches_kind"),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "contract_columns",
        sa.Column("name", NAME, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "locks",
        sa.Column("name", NAME, nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "record_lineage",
        sa.Column("source", NAME, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ts", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("run_seq", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("outcome IN (1, 2, 3)", name="record_lineage_outcome"),
        sa.PrimaryKeyConstraint("source", "key", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run_log",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.Text(), nullable=True),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("inserted", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("superseded", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("watermark_before", sa.Text(), nullable=True),
        sa.Column("watermark_after", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('running', 'succeeded', 'failed', 'interrupted')", name="run_log_status"
        ),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "staging",
        sa.Column("source", NAME, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("ts", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("extra", sa.Text(), nullable=True),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("flags", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("source", "key", "content_hash"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "target",
        sa.Column("source", NAME, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("ts", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("extra", sa.Text(), nullable=True),
        sa.Column("lineage_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "watermarks",
        sa.Column("source", NAME, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", NAME, nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("errors", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("encoding", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("payload_digest", sa.Text(), nullable=True),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("header", sa.Text(), nullable=True),
        sa.Column("content", NAME, nullable=False),
        sa.Column("record_key", NAME, nullable=True),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("batch_seq", SERIAL, nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("occurrences", sa.Integer(), nullable=False),
        sa.Column("replays", sa.Integer(), nullable=False),
        sa.Column("first_seen_at", sa.Text(), nullable=False),
        sa.Column("last_seen_at", sa.Text(), nullable=False),
        sa.Column("resolved_at", sa.Text(), nullable=True),
        sa.Column("published_at", sa.Text(), nullable=True),
        sa.CheckConstraint("encoding IN ('utf-8', 'base64')", name="dead_letters_encoding"),
        sa.CheckConstraint("format IN ('json', 'csv')", name="dead_letters_format"),
        sa.CheckConstraint("status IN ('open', 'resolved')", name="dead_letters_status"),
        sa.ForeignKeyConstraint(["batch_seq"], ["batches.seq"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("dead_letters_by_status", "dead_letters", ["status", "source", "reason"], unique=False)
    op.create_index("dead_letters_outbox", "dead_letters", ["status", "published_at"], unique=False)
    op.create_table(
        "lineage_events",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("record_key", NAME, nullable=True),
        sa.Column("dead_letter_id", NAME, nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("batch_seq", SERIAL, nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("step IN ('reject', 'skip', 'replay')", name="lineage_events_step"),
        sa.ForeignKeyConstraint(["batch_seq"], ["batches.seq"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("lineage_events_by_dead_letter", "lineage_events", ["dead_letter_id"], unique=False)
    op.create_index("lineage_events_by_key", "lineage_events", ["record_key"], unique=False)
    op.create_table(
        "watermark_history",
        sa.Column("id", SERIAL, autoincrement=True, nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("previous", sa.Text(), nullable=True),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("run_seq", SERIAL, nullable=True),
        sa.Column("lineage_id", sa.BigInteger(), nullable=True),
        sa.Column("record_key", NAME, nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_seq"], ["run_log.seq"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("watermark_history_by_source", "watermark_history", ["source", "id"], unique=False)
    op.execute(LINEAGE_VIEW)

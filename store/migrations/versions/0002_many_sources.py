"""Many sources: receipts, flags, priorities, reconciliation; a repeat's lineage points at what it repeats."""

import sqlalchemy as sa
from alembic import op

from store.database import install

revision = "0002"
down_revision = "0001"

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
       CASE WHEN p.parent_id IS NULL THEN NULL ELSE 'event-' || CAST(p.parent_id AS TEXT) END AS parent_id,
       CAST(NULL AS TEXT) AS repeats_id, p.id AS number
  FROM passed p JOIN batches b ON b.seq = (p.id >> 20)
UNION ALL
SELECT 'load-' || CAST(r.id AS TEXT), 'load', r.key, r.source, 'staging',
       CASE r.outcome WHEN 3 THEN 'superseded' ELSE 'target' END,
       CASE r.outcome WHEN 1 THEN 'inserted' WHEN 2 THEN 'updated' ELSE 'superseded' END, b.id, r.run_seq,
       b.file, r.line, COALESCE(l.finished_at, l.started_at), 'stage-' || CAST(r.id AS TEXT),
       CAST(NULL AS TEXT), r.id
  FROM record_lineage r JOIN batches b ON b.seq = (r.id >> 20) JOIN run_log l ON l.seq = r.run_seq
UNION ALL
SELECT 'event-' || CAST(e.id AS TEXT), e.step, e.record_key, e.source,
       CASE e.step WHEN 'replay' THEN 'dead_letters' ELSE 'file' END,
       CASE e.step WHEN 'reject' THEN 'dead_letters' WHEN 'replay' THEN 'queue' ELSE 'nowhere' END,
       e.detail, b.id, CAST(NULL AS BIGINT), b.file, e.line, b.processed_at,
       CASE WHEN e.parent_id IS NOT NULL THEN 'event-' || CAST(e.parent_id AS TEXT)
            WHEN e.repeats_id IS NOT NULL THEN 'stage-' || CAST(e.repeats_id AS TEXT) END,
       CASE WHEN e.repeats_id IS NOT NULL THEN 'stage-' || CAST(e.repeats_id AS TEXT) END, e.id
  FROM lineage_events e JOIN batches b ON b.seq = e.batch_seq
"""


def upgrade() -> None:
    op.execute("DROP VIEW lineage")
    op.add_column("batches", sa.Column("stages_run", sa.Text(), nullable=False, server_default="[]"))
    op.add_column("run_log", sa.Column("stage_seconds", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("lineage_events", sa.Column("repeats_id", sa.BigInteger()))
    op.add_column("watermark_history", sa.Column("by", sa.Text()))
    op.create_table(
        "enqueues",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("batches", sa.BigInteger(), nullable=False),
        sa.Column("sent_batches", sa.BigInteger(), nullable=False),
        sa.Column("known_batches", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("waited_seconds", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('file', 'replay')", name="enqueues_kind"),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "flag_history",
        sa.Column("id", SERIAL, autoincrement=True, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("previous", sa.Double(), nullable=True),
        sa.Column("share", sa.Double(), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "flags",
        sa.Column("name", NAME, nullable=False),
        sa.Column("share", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "reconciliations",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("sources", sa.Text(), nullable=False),
        sa.Column("tolerances", sa.Text(), nullable=False),
        sa.Column("since", sa.Text(), nullable=True),
        sa.Column("keys", sa.BigInteger(), nullable=False),
        sa.Column("matched", sa.BigInteger(), nullable=False),
        sa.Column("mismatched", sa.BigInteger(), nullable=False),
        sa.Column("single_source", sa.Text(), nullable=False),
        sa.Column("new_mismatches", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "source_priorities",
        sa.Column("source", NAME, nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )
    op.create_table(
        "reconciled_mismatches",
        sa.Column("sources", sa.Text(), nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("since_seq", SERIAL, nullable=False),
        sa.ForeignKeyConstraint(["since_seq"], ["reconciliations.seq"]),
        sa.PrimaryKeyConstraint("sources", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index("reconciled_mismatches_by_seq", "reconciled_mismatches", ["since_seq"])
    op.execute(LINEAGE_VIEW)
    install.create_golden(op.get_bind())

"""Rows that carry their lineage: one row a record where there were two, and staging that only grows at its end."""

import sqlalchemy as sa
from alembic import op

from store.database import install, schema

revision = "0003"
down_revision = "0002"

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

RECORD_LINEAGE_VIEW = """
CREATE VIEW record_lineage AS
SELECT source, key, lineage_id AS id, ts, lineage_line AS line, lineage_run AS run_seq,
       lineage_outcome AS outcome, lineage_parent AS parent_id FROM target
UNION ALL
SELECT source, key, id, ts, line, run_seq, outcome, parent_id FROM past_lineage
"""

LINEAGE_VIEW = """
CREATE VIEW lineage AS
WITH passed AS (
  SELECT source, key, id, ts, line, parent_id, CAST(NULL AS BIGINT) AS run_seq, 0 AS outcome FROM staging
  UNION ALL
  SELECT source, key, lineage_id, ts, lineage_line, lineage_parent, lineage_run, lineage_outcome FROM target
  UNION ALL
  SELECT source, key, id, ts, line, parent_id, run_seq, outcome FROM past_lineage
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
       CASE WHEN e.step = 'replay' OR e.parent_id IS NOT NULL THEN 'dead_letters' ELSE 'file' END,
       CASE e.step WHEN 'reject' THEN 'dead_letters' WHEN 'replay' THEN 'queue' ELSE 'nowhere' END,
       e.detail, b.id, CAST(NULL AS BIGINT), b.file, e.line, b.processed_at,
       CASE WHEN e.parent_id IS NOT NULL THEN 'event-' || CAST(e.parent_id AS TEXT)
            WHEN e.repeats_id IS NOT NULL THEN 'stage-' || CAST(e.repeats_id AS TEXT) END,
       CASE WHEN e.repeats_id IS NOT NULL THEN 'stage-' || CAST(e.repeats_id AS TEXT) END, e.id
  FROM lineage_events e JOIN batches b ON b.seq = e.batch_seq
"""

# Of the loaded records of a key the target's row is one; the others are past.
PAST = """
INSERT INTO past_lineage (source, key, id, ts, line, run_seq, outcome, parent_id)
SELECT r.source, r.key, r.id, r.ts, r.line, r.run_seq, r.outcome, r.parent_id FROM record_lineage r
WHERE NOT EXISTS (
  SELECT 1 FROM target t WHERE t.source = r.source AND t.key = r.key AND t.lineage_id = r.id
)
"""


def upgrade() -> None:
    connection = op.get_bind()
    quote = connection.dialect.identifier_preparer.quote
    kept = install.contract_columns(connection)
    op.execute("DROP VIEW lineage")
    op.execute("DROP VIEW golden")
    op.create_table(
        "past_lineage",
        sa.Column("source", NAME, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ts", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("run_seq", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("outcome IN (1, 2, 3)", name="past_lineage_outcome"),
        sa.PrimaryKeyConstraint("source", "key", "id"),
        sqlite_with_rowid=False,
    )
    op.execute(PAST)
    op.create_table(
        "target_0003",
        sa.Column("source", NAME, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("ts", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("extra", sa.Text(), nullable=True),
        sa.Column("lineage_id", sa.BigInteger(), nullable=False),
        sa.Column("lineage_line", sa.BigInteger(), nullable=False),
        sa.Column("lineage_run", sa.BigInteger(), nullable=False),
        sa.Column("lineage_outcome", sa.Integer(), nullable=False),
        sa.Column("lineage_parent", sa.BigInteger(), nullable=True),
        *contract_columns(kept),
        sa.CheckConstraint("lineage_outcome IN (1, 2)", name="target_lineage_outcome"),
        sa.PrimaryKeyConstraint("source", "key"),
        sqlite_with_rowid=False,
    )
    same = ["source", "key", "ts", "content_hash", "extra", *(quote(column.name) for column in kept)]
    op.execute(
        f"INSERT INTO target_0003 ({', '.join(same)}, lineage_id, lineage_line, lineage_run, lineage_outcome, "  # noqa: S608
        f"lineage_parent) SELECT {', '.join(f't.{name}' for name in same)}, r.id, r.line, r.run_seq, r.outcome, "
        "r.parent_id FROM target t "
        "JOIN record_lineage r ON r.source = t.source AND r.key = t.key AND r.id = t.lineage_id"
    )
    op.create_table(
        "staging_0003",
        sa.Column("id", SERIAL, autoincrement=False, nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("ts", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("extra", sa.Text(), nullable=True),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("flags", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        *contract_columns(kept),
        sa.PrimaryKeyConstraint("id"),
    )
    moved = ", ".join([*same, "id", "line", "flags", "parent_id"])
    op.execute(f"INSERT INTO staging_0003 ({moved}) SELECT {moved} FROM staging ORDER BY id")  # noqa: S608
    for name in ("record_lineage", "target", "staging"):
        op.drop_table(name)
    op.rename_table("target_0003", "target")
    op.rename_table("staging_0003", "staging")
    op.create_index("staging_by_key", "staging", ["key"])
    op.drop_index("lineage_events_by_dead_letter", "lineage_events")
    of_letters = sa.text("dead_letter_id IS NOT NULL")
    op.create_index(
        "lineage_events_by_dead_letter",
        "lineage_events",
        ["dead_letter_id"],
        sqlite_where=of_letters,
        postgresql_where=of_letters,
    )
    op.execute(RECORD_LINEAGE_VIEW)
    op.execute(LINEAGE_VIEW)
    install.create_golden(connection)


def contract_columns(kept: tuple[schema.ContractColumn, ...]) -> list[sa.Column[object]]:
    """The contract's columns as they are now."""
    return [sa.Column(column.name, schema.KIND_TYPES[column.kind](), nullable=True) for column in kept]

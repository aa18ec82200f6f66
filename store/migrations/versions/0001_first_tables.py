"""The tables and views, as they are at first: frozen, whatever the code says later."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

RECORD_LINEAGE_VIEW = """
CREATE VIEW record_lineage AS
SELECT source, key, lineage_id AS id, ts, sequence, lineage_line AS line, lineage_run AS run_seq,
       lineage_outcome AS outcome, lineage_parent AS parent_id, lineage_version AS version,
       CAST(NULL AS BIGINT) AS beaten_by, CAST(NULL AS BIGINT) AS conflict_run FROM target
UNION ALL
SELECT source, key, id, ts, sequence, line, run_seq, outcome, parent_id, version, beaten_by, conflict_run
  FROM past_lineage
"""

LINEAGE_VIEW = """
CREATE VIEW lineage AS
WITH passed AS (
  SELECT source, key, id, ts, line, parent_id FROM staging
  UNION ALL
  SELECT source, key, lineage_id, ts, lineage_line, lineage_parent FROM target
  UNION ALL
  SELECT source, key, id, ts, line, parent_id FROM past_lineage
)
SELECT 'stage-' || CAST(p.id AS TEXT) AS id, 'stage' AS step, p.key AS key, p.source AS source,
       CASE WHEN p.parent_id IS NULL THEN 'file' ELSE 'dead_letters' END AS comes_from, 'staging' AS goes_to,
       'ts ' || p.ts AS detail, b.id AS batch, CAST(NULL AS BIGINT) AS run, b.file AS file, p.line AS line,
       b.processed_at AS at,
       CASE WHEN p.parent_id IS NULL THEN NULL ELSE 'event-' || CAST(p.parent_id AS TEXT) END AS parent_id,
       CAST(NULL AS TEXT) AS beaten_by, p.id AS number
  FROM passed p JOIN batches b ON b.seq = (p.id >> 20)
UNION ALL
SELECT 'load-' || CAST(r.id AS TEXT), 'load', r.key, r.source, 'staging',
       CASE WHEN r.outcome <= 2 THEN 'target' ELSE 'nowhere' END,
       CASE r.outcome WHEN 1 THEN 'inserted' WHEN 2 THEN 'updated' WHEN 3 THEN 'superseded' ELSE 'duplicate' END,
       b.id, r.run_seq, b.file, r.line, COALESCE(l.finished_at, l.started_at),
       'stage-' || CAST(r.id AS TEXT),
       CASE WHEN r.beaten_by IS NOT NULL THEN 'stage-' || CAST(r.beaten_by AS TEXT) END, r.id
  FROM record_lineage r JOIN batches b ON b.seq = (r.id >> 20) JOIN run_log l ON l.seq = r.run_seq
UNION ALL
SELECT 'event-' || CAST(e.id AS TEXT), e.step, e.record_key, e.source,
       CASE WHEN e.step = 'replay' OR e.parent_id IS NOT NULL THEN 'dead_letters' ELSE 'file' END,
       CASE e.step WHEN 'reject' THEN 'dead_letters' WHEN 'replay' THEN 'queue' ELSE 'nowhere' END,
       e.detail, b.id, CAST(NULL AS BIGINT), b.file, e.line, b.processed_at,
       CASE WHEN e.parent_id IS NOT NULL THEN 'event-' || CAST(e.parent_id AS TEXT) END,
       CAST(NULL AS TEXT), e.id
  FROM lineage_events e JOIN batches b ON b.seq = e.batch_seq
"""

# Made again with the contract's columns, when there are some.
GOLDEN_VIEW = """
CREATE VIEW golden AS
SELECT source, key, ts, sequence, deleted, content_hash, extra, lineage_id, lineage_line, lineage_run,
       lineage_outcome, lineage_parent, lineage_version FROM (
  SELECT t.*, ROW_NUMBER() OVER (
    PARTITION BY t.key ORDER BY COALESCE(p.priority, 2147483647), t.ts DESC, t.sequence DESC, t.content_hash DESC,
             t.source
  ) AS rank
  FROM target t LEFT JOIN source_priorities p ON p.source = t.source WHERE NOT t.deleted
) AS ranked WHERE rank = 1
"""

CURRENT_VIEW = """
CREATE VIEW current AS
SELECT source, key, ts, sequence, deleted, content_hash, extra, lineage_id, lineage_line, lineage_run,
       lineage_outcome, lineage_parent, lineage_version FROM target WHERE NOT deleted
"""


def divide(partitions: int) -> None:
    for partition in range(partitions):
        for table in ("staging", "target"):
            op.execute(
                f"CREATE TABLE {table}_{partition}_of_{partitions} PARTITION OF {table} "
                f"FOR VALUES WITH (MODULUS {partitions}, REMAINDER {partition})"
            )
        op.execute(f"CREATE UNIQUE INDEX ON staging_{partition}_of_{partitions} (id)")


def upgrade() -> None:
    partitions = op.get_context().opts.get("partitions", 1)
    by_hash: Any = {"postgresql_partition_by": "HASH (source, key)"} if partitions > 1 else {}
    op.create_table(
        "contract_columns",
        sa.Column("name", NAME, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "deliveries",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("id", NAME, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("content", NAME, nullable=True),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("again", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=True),
        sa.Column("records", sa.BigInteger(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("batches", sa.BigInteger(), nullable=True),
        sa.Column("sent_batches", sa.BigInteger(), nullable=True),
        sa.Column("known_batches", sa.BigInteger(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("waited_seconds", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('file', 'stream', 'replay')", name="deliveries_kind"),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("deliveries_by_content", "deliveries", ["source", "content"], unique=False)
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
        "law_checks",
        sa.Column("law", NAME, nullable=False),
        sa.Column("violations", sa.BigInteger(), nullable=False),
        sa.Column("checked_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("law"),
    )
    op.create_table(
        "locks",
        sa.Column("name", NAME, nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "past_lineage",
        sa.Column("source", NAME, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ts", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("run_seq", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("beaten_by", sa.BigInteger(), nullable=False),
        sa.Column("conflict_run", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("outcome BETWEEN 1 AND 4", name="past_lineage_outcome"),
        sa.PrimaryKeyConstraint("source", "key", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "past_lineage_conflicts",
        "past_lineage",
        [sa.text("conflict_run DESC")],
        unique=False,
        sqlite_where=sa.text("conflict_run IS NOT NULL"),
        postgresql_where=sa.text("conflict_run IS NOT NULL"),
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
        "run_log",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.Text(), nullable=True),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("inserted", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), nullable=False),
        sa.Column("superseded", sa.BigInteger(), nullable=False),
        sa.Column("conflicts", sa.Text(), server_default="{}", nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("watermark_before", sa.Text(), nullable=True),
        sa.Column("watermark_after", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("stage_seconds", sa.Text(), server_default="{}", nullable=False),
        sa.CheckConstraint(
            "status IN ('running', 'succeeded', 'failed', 'interrupted')", name="run_log_status"
        ),
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
        "staging",
        sa.Column("id", SERIAL, autoincrement=False, nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("ts", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("deleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("extra", sa.Text(), nullable=True),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("flags", sa.Integer(), server_default="0", nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=True),
        # Of a divided table a key holds what divides it: each partition has its own index of ids, see `divide`.
        *([] if partitions > 1 else [sa.PrimaryKeyConstraint("id")]),
        **by_hash,
    )
    op.create_table(
        "target",
        sa.Column("source", NAME, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("ts", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("deleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("extra", sa.Text(), nullable=True),
        sa.Column("lineage_id", sa.BigInteger(), nullable=False),
        sa.Column("lineage_line", sa.BigInteger(), nullable=False),
        sa.Column("lineage_run", sa.BigInteger(), nullable=False),
        sa.Column("lineage_outcome", sa.Integer(), nullable=False),
        sa.Column("lineage_parent", sa.BigInteger(), nullable=True),
        sa.Column("lineage_version", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("lineage_outcome IN (1, 2)", name="target_lineage_outcome"),
        sa.PrimaryKeyConstraint("source", "key"),
        **by_hash,
    )
    if partitions > 1:
        divide(partitions)
    op.create_table(
        "watermarks",
        sa.Column("source", NAME, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )
    op.create_table(
        "contracts",
        sa.Column("fingerprint", NAME, nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.Column("origins", sa.Text(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("fingerprint"),
    )
    op.create_table(
        "batches",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("id", NAME, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("delivery_seq", SERIAL, nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("first_record", sa.BigInteger(), nullable=False),
        sa.Column("first_line", sa.BigInteger(), nullable=False),
        sa.Column("last_line", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("received", sa.Integer(), nullable=False),
        sa.Column("staged", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("inserted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("updated", sa.Integer(), server_default="0", nullable=False),
        sa.Column("duplicates", sa.Integer(), server_default="0", nullable=False),
        sa.Column("superseded", sa.Integer(), server_default="0", nullable=False),
        sa.Column("conflicts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("late", sa.Integer(), nullable=False),
        sa.Column("stale", sa.Integer(), nullable=False),
        sa.Column("ambiguous", sa.Integer(), server_default="0", nullable=False),
        sa.Column("shifted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Text(), nullable=False),
        sa.Column("watermark_before", sa.Text(), nullable=True),
        sa.Column("processed_at", sa.Text(), nullable=False),
        sa.Column("stages_run", sa.Text(), server_default="[]", nullable=False),
        sa.Column("parts", sa.Text(), server_default="[]", nullable=False),
        sa.CheckConstraint("kind IN ('file', 'replay', 'split')", name="batches_kind"),
        sa.ForeignKeyConstraint(
            ["delivery_seq"],
            ["deliveries.seq"],
        ),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "reconciled_mismatches",
        sa.Column("sources", sa.Text(), nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("since_seq", SERIAL, nullable=False),
        sa.ForeignKeyConstraint(
            ["since_seq"],
            ["reconciliations.seq"],
        ),
        sa.PrimaryKeyConstraint("sources", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index("reconciled_mismatches_by_seq", "reconciled_mismatches", ["since_seq"], unique=False)
    op.create_table(
        "watermark_history",
        sa.Column("id", SERIAL, autoincrement=True, nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("previous", sa.Text(), nullable=True),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("run_seq", SERIAL, nullable=True),
        sa.Column("lineage_id", sa.BigInteger(), nullable=True),
        sa.Column("record_key", NAME, nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=True),
        sa.Column("at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_seq"],
            ["run_log.seq"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("watermark_history_by_source", "watermark_history", ["source", "id"], unique=False)
    op.create_table(
        "letter_groups",
        sa.Column("id", NAME, nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("faults", sa.Text(), nullable=False),
        sa.Column("open", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("replaying", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("parked", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("resolved", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("discarded", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("pruned", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("occurrences", sa.BigInteger(), nullable=False),
        sa.Column("first_seen_at", sa.Text(), nullable=False),
        sa.Column("last_seen_at", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("sample", NAME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("letter_groups_by_source", "letter_groups", ["source", "reason"], unique=False)
    op.create_table(
        "actions",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("token", NAME, nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("edit", sa.Text(), nullable=True),
        sa.Column("proof", sa.Text(), nullable=True),
        sa.Column("terms", sa.Text(), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("letters", sa.BigInteger(), nullable=False),
        sa.Column("resolved", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("rejected", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("refused", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("withdrawn", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.Text(), nullable=True),
        sa.Column("unpark_at", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "verb IN ('replay', 'discard', 'park', 'unpark', 'undo', 'prune')", name="actions_verb"
        ),
        sa.CheckConstraint("status IN ('running', 'finished', 'stopped')", name="actions_status"),
        sa.UniqueConstraint("token"),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "proofs",
        sa.Column("digest", NAME, nullable=False),
        sa.Column("made_at", sa.Text(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=True),
        sa.Column("edit", sa.Text(), nullable=True),
        sa.Column("fingerprints", sa.Text(), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("token", NAME, nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "proof_letters",
        sa.Column("token", NAME, nullable=False),
        sa.Column("page", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.Text(), nullable=False),
        sa.Column("letters", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("token", "page"),
    )
    op.create_table(
        "action_letters",
        sa.Column("action_seq", SERIAL, autoincrement=False, nullable=False),
        sa.Column("letter_id", NAME, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("batch_id", NAME, nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('resolved', 'rejected', 'refused', 'withdrawn', 'done')",
            name="action_letters_outcome",
        ),
        sa.ForeignKeyConstraint(["action_seq"], ["actions.seq"]),
        sa.PrimaryKeyConstraint("action_seq", "letter_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("action_letters_by_position", "action_letters", ["action_seq", "position"], unique=True)
    op.create_table(
        "action_payloads",
        sa.Column("action_seq", SERIAL, autoincrement=False, nullable=False),
        sa.Column("letter_id", NAME, nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["action_seq"], ["actions.seq"]),
        sa.PrimaryKeyConstraint("action_seq", "letter_id"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", NAME, nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("errors", sa.Text(), nullable=False),
        sa.Column("group_id", NAME, nullable=False),
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
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("action_seq", SERIAL, nullable=True),
        sa.Column("occurrences", sa.Integer(), nullable=False),
        sa.Column("replays", sa.Integer(), nullable=False),
        sa.Column("first_seen_at", sa.Text(), nullable=False),
        sa.Column("last_seen_at", sa.Text(), nullable=False),
        sa.Column("resolved_at", sa.Text(), nullable=True),
        sa.Column("published_at", sa.Text(), nullable=True),
        sa.CheckConstraint("(status = 'replaying') = (action_seq IS NOT NULL)", name="dead_letters_action"),
        sa.CheckConstraint("encoding IN ('utf-8', 'base64')", name="dead_letters_encoding"),
        sa.CheckConstraint("format IN ('json', 'csv')", name="dead_letters_format"),
        sa.CheckConstraint(
            "status IN ('open', 'replaying', 'parked', 'resolved', 'discarded')", name="dead_letters_status"
        ),
        sa.ForeignKeyConstraint(["action_seq"], ["actions.seq"]),
        sa.ForeignKeyConstraint(["batch_seq"], ["batches.seq"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "dead_letters_by_group",
        "dead_letters",
        ["group_id", "status", "first_seen_at", "id"],
        unique=False,
    )
    op.create_index("dead_letters_by_age", "dead_letters", ["status", "first_seen_at", "id"], unique=False)
    op.create_index(
        "dead_letters_unpublished",
        "dead_letters",
        ["status", "published_at"],
        unique=False,
        sqlite_where=sa.text("status = 'open' AND published_at IS NULL"),
        postgresql_where=sa.text("status = 'open' AND published_at IS NULL"),
    )
    op.create_index(
        "dead_letters_unremoved",
        "dead_letters",
        ["status", "published_at"],
        unique=False,
        sqlite_where=sa.text("status <> 'open' AND published_at IS NOT NULL"),
        postgresql_where=sa.text("status <> 'open' AND published_at IS NOT NULL"),
    )
    op.create_table(
        "letter_events",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("letter_id", NAME, nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("action_seq", SERIAL, nullable=True),
        sa.Column("batch_seq", SERIAL, nullable=True),
        sa.Column("errors", sa.Text(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=True),
        sa.Column("record_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["batch_seq"], ["batches.seq"]),
        sa.ForeignKeyConstraint(["action_seq"], ["actions.seq"]),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("letter_events_by_letter", "letter_events", ["letter_id", "seq"], unique=False)
    op.create_index(
        "letter_events_by_record",
        "letter_events",
        ["record_id"],
        unique=False,
        sqlite_where=sa.text("record_id IS NOT NULL"),
        postgresql_where=sa.text("record_id IS NOT NULL"),
    )
    op.create_table(
        "pruned_letters",
        sa.Column("id", NAME, nullable=False),
        sa.Column("group_id", NAME, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("occurrences", sa.BigInteger(), nullable=False),
        sa.Column("pruned_at", sa.Text(), nullable=False),
        sa.CheckConstraint("status IN ('resolved', 'discarded')", name="pruned_letters_status"),
        sa.PrimaryKeyConstraint("id", "group_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "lineage_events",
        sa.Column("id", SERIAL, autoincrement=False, nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("record_key", NAME, nullable=True),
        sa.Column("dead_letter_id", NAME, nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("batch_seq", SERIAL, nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("step = 'reject' OR step = 'skip' OR step = 'replay'", name="lineage_events_step"),
        sa.ForeignKeyConstraint(
            ["batch_seq"],
            ["batches.seq"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "lineage_events_by_dead_letter",
        "lineage_events",
        ["dead_letter_id"],
        unique=False,
        sqlite_where=sa.text("dead_letter_id IS NOT NULL"),
        postgresql_where=sa.text("dead_letter_id IS NOT NULL"),
    )
    op.create_index(
        "lineage_events_by_key", "lineage_events", ["record_key"], unique=False, postgresql_using="hash"
    )
    # ### end Alembic commands ###
    op.execute(RECORD_LINEAGE_VIEW)
    op.execute(LINEAGE_VIEW)
    op.execute(GOLDEN_VIEW)
    op.execute(CURRENT_VIEW)

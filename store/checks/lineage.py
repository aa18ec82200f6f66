"""Whether lineage is whole: every target row's chain, every chain's beginning, no gap, no orphan.

Each check is one statement that finds what is wrong, set against set; the first few are named.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from store.checks.conservation import Law

MOST_NAMED = 5

# (id >> 20) is a staged record's batch, and the rest its position there; an event's id has one bit more.
PASSED = """
  SELECT source, key, id, line, parent_id FROM record_lineage
  UNION ALL SELECT source, key, id, line, parent_id FROM staging
"""


@dataclass(frozen=True, slots=True)
class Check:
    """What should never be found, and the statement that looks for it: each row one thing's name."""

    says: str  # what `{}` things have
    finds: str


CHAINS = (
    Check(
        "loaded, but not the target's newest",
        """
        SELECT t.source || ' ' || t.key AS named FROM target t
        WHERE EXISTS (
          SELECT 1 FROM past_lineage r WHERE r.source = t.source AND r.key = t.key
             AND (r.ts > t.ts OR (r.ts = t.ts AND r.sequence > t.sequence))
        )
        """,
    ),
    Check(
        "loaded by a run that is not in the log",
        """
        SELECT 'load-' || CAST(r.id AS TEXT) AS named FROM record_lineage r
        WHERE r.run_seq NOT IN (SELECT seq FROM run_log)
        """,
    ),
)
BEGINNINGS = (
    Check(
        "staged, but not in a batch of its source with a file",
        f"""
        SELECT 'stage-' || CAST(p.id AS TEXT) AS named FROM ({PASSED}) p
        LEFT JOIN batches b ON b.seq = (p.id >> 20)
        WHERE b.seq IS NULL OR b.source <> p.source OR b.file = ''
        """,  # noqa: S608
    ),
    Check(
        "staged from a line that is not in its batch",
        f"""
        SELECT 'stage-' || CAST(p.id AS TEXT) AS named FROM ({PASSED}) p JOIN batches b ON b.seq = (p.id >> 20)
        WHERE b.kind <> 'replay' AND (p.line < b.first_line OR p.line > b.last_line)
        """,  # noqa: S608
    ),
    Check(
        "an event, but not in a batch of its source with a file",
        """
        SELECT 'event-' || CAST(e.id AS TEXT) AS named FROM lineage_events e
        LEFT JOIN batches b ON b.seq = e.batch_seq
        WHERE b.seq IS NULL OR (e.id >> 21) <> e.batch_seq OR b.source <> e.source OR b.file = ''
           OR (b.kind <> 'replay' AND (e.line < b.first_line OR e.line > b.last_line))
        """,
    ),
    Check(
        "sent back, but follows no rejection",
        """
        SELECT 'event-' || CAST(e.id AS TEXT) AS named FROM lineage_events e
        LEFT JOIN lineage_events above ON above.id = e.parent_id AND above.step = 'reject'
        WHERE e.step = 'replay' AND above.id IS NULL
        """,
    ),
    Check(
        "in a batch of letters sent back, but follows no replay",
        f"""
        SELECT 'stage-' || CAST(p.id AS TEXT) AS named FROM batches b
        JOIN ({PASSED}) p ON (p.id >> 20) = b.seq
        WHERE b.kind = 'replay' AND p.parent_id IS NULL
        """,  # noqa: S608
    ),
    Check(
        "an event that follows what is not there",
        """
        SELECT 'event-' || CAST(e.id AS TEXT) AS named FROM lineage_events e
        LEFT JOIN lineage_events above ON above.id = e.parent_id
        WHERE e.parent_id IS NOT NULL AND above.id IS NULL
        """,
    ),
    Check(
        "staged, but follows a replay that is not there",
        f"""
        SELECT 'stage-' || CAST(p.id AS TEXT) AS named FROM ({PASSED}) p
        LEFT JOIN lineage_events e ON e.id = p.parent_id AND e.step = 'replay'
        WHERE p.parent_id IS NOT NULL AND e.id IS NULL
        """,  # noqa: S608
    ),
)
# Positions in a batch are 0 … received - 1: their number, sum and sum of squares tell whether each is there once.
GAPS = (
    Check(
        "a batch whose records do not each have one entry",
        f"""
        WITH positions AS (
          SELECT id >> 20 AS seq, id & 1048575 AS position FROM ({PASSED}) p
          UNION ALL
          SELECT id >> 21, (id >> 1) & 1048575 FROM lineage_events WHERE step <> 'replay'
        ), counted AS (
          SELECT seq, count(*) AS number, max(position) AS last,
                 sum(position) AS total, sum(position * position) AS squares
          FROM positions GROUP BY seq
        )
        SELECT b.id AS named FROM batches b LEFT JOIN counted k ON k.seq = b.seq
        WHERE NOT (b.received = COALESCE(k.number, 0) AND (b.received = 0 OR (
                   k.last = b.received - 1
                   AND k.total * 2 = CAST(b.received AS BIGINT) * (b.received - 1)
                   AND k.squares * 6 = CAST(b.received AS BIGINT) * (b.received - 1) * (2 * b.received - 1))))
        """,  # noqa: S608
    ),
)
ORPHANS = (
    Check(
        "loaded, but not in the target",
        """
        SELECT r.source || ' ' || r.key AS named FROM past_lineage r
        LEFT JOIN target t ON t.source = r.source AND t.key = r.key WHERE t.key IS NULL
        """,
    ),
    Check(
        "beaten by a record that is not there",
        """
        SELECT 'load-' || CAST(p.id AS TEXT) AS named FROM past_lineage p
        WHERE NOT EXISTS (SELECT 1 FROM target t WHERE t.source = p.source AND t.key = p.key
                          AND t.lineage_id = p.beaten_by)
          AND NOT EXISTS (SELECT 1 FROM past_lineage r WHERE r.source = p.source AND r.key = p.key
                          AND r.id = p.beaten_by)
        """,
    ),
    Check(
        "a dead letter without its rejection",
        """
        SELECT d.id AS named FROM dead_letters d
        LEFT JOIN lineage_events e ON e.id = d.event_id AND e.step = 'reject' AND e.dead_letter_id = d.id
        WHERE e.id IS NULL
        """,
    ),
    Check(
        "a dead letter that was closed by a record that is not there",
        f"""
        SELECT e.letter_id AS named FROM letter_events e
        WHERE e.verb = 'arrive' AND COALESCE(e.record_id, -1) NOT IN (SELECT p.id FROM ({PASSED}) p)
        """,  # noqa: S608
    ),
    Check(
        "a rejection without its dead letter",
        """
        SELECT 'event-' || CAST(e.id AS TEXT) AS named FROM lineage_events e
        LEFT JOIN dead_letters d ON d.id = e.dead_letter_id WHERE e.step = 'reject' AND d.id IS NULL
          AND NOT EXISTS (SELECT 1 FROM pruned_letters p WHERE p.id = e.dead_letter_id)
        """,
    ),
)
LAWS = {
    "every target row has a whole chain": CHAINS,
    "every chain begins at a file and line": BEGINNINGS,
    "no gaps: every record of a batch has one entry": GAPS,
    "no orphans: what an entry speaks of is there": ORPHANS,
}


def laws(connection: Connection) -> list[Law]:
    """The laws of lineage, each with the first things that break it."""
    return [Law(says, _violations(connection, checks)) for says, checks in LAWS.items()]


def _violations(connection: Connection, checks: tuple[Check, ...]) -> list[str]:
    found = []
    for check in checks:
        # The statements are constants of this module.
        counted = (
            f"SELECT named, count(*) OVER () FROM ({check.finds}) AS f ORDER BY named LIMIT {MOST_NAMED}"  # noqa: S608
        )
        rows = connection.execute(text(counted)).all()
        if rows:
            more = ", …" if rows[0][1] > len(rows) else ""
            found.append(f"{rows[0][1]:,} {check.says}: {', '.join(row[0] for row in rows)}{more}")
    return found

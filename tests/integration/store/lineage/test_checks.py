from __future__ import annotations

import pytest

from store import database
from store.checks import lineage as lineage_checks
from store.database.schema import event_id, staged_id
from tests.integration.store.conftest import Bad, Ledger, Record
from tests.integration.store.copied import filled
from tests.integration.store.lineage.test_trace import send_back

BATCH = 1 << 20


def broken(ledger: Ledger) -> list[str]:
    with database.reading(ledger.engine) as connection:
        return [reported for law in lineage_checks.laws(connection) for reported in law.violations]


def fill(ledger: Ledger) -> None:
    ledger.receive([Record(key, "2025-01-02") for key in "abc"], id="b1")
    ledger.load()
    ledger.receive(
        [Record("a", "2025-01-01"), Record("b", "2025-01-03"), Record("c", "2025-01-02"), Bad("{")], id="b2"
    )
    ledger.load()
    send_back(ledger, Record("d", "2025-01-04"), line=4)
    ledger.load()
    ledger.receive([Record("e", "2025-01-05"), Record("e", "2025-01-05")], id="b4")
    ledger.receive([], id="b5")
    ledger.tamper("UPDATE batches SET received = 1, skipped = 1 WHERE id = 'b5'")
    ledger.tamper(
        "INSERT INTO lineage_events (id, step, source, detail, batch_seq, line) "
        "VALUES (:id, 'skip', 'shop', 'late', 5, 1)",
        id=event_id(5, 0, "skip"),
    )
    ledger.tamper("UPDATE batches SET last_line = 1 WHERE id = 'b5'")


@pytest.fixture
def whole(ledger: Ledger) -> Ledger:
    """Loaded, updated, beaten, repeated, rejected, sent back and skipped; one batch still in staging."""
    return filled(ledger, fill)


def test_lineage_that_is_whole_breaks_no_law(whole: Ledger) -> None:
    assert broken(whole) == []


def test_an_empty_store_breaks_no_law(ledger: Ledger) -> None:
    assert broken(ledger) == []


@pytest.mark.parametrize(
    ("statement", "reported"),
    [
        ("UPDATE target SET lineage_id = 5 WHERE key = 'c'", "of its source with a file: stage-5"),
        ("DELETE FROM past_lineage", "do not each have one entry: b1"),
        (
            "UPDATE target SET ts = '2025-01-01T00:00:00.000000Z' WHERE key = 'b'",
            "but not the target's newest: shop b",
        ),
        (
            "UPDATE target SET lineage_run = 77 WHERE key = 'c'",
            f"run that is not in the log: load-{BATCH + 2}",
        ),
        ("UPDATE batches SET file = '' WHERE id = 'b4'", f"with a file: stage-{4 * BATCH}"),
        ("UPDATE batches SET source = 'x' WHERE id = 'b4'", f"of its source with a file: stage-{4 * BATCH}"),
        ("UPDATE target SET lineage_line = 99 WHERE key = 'c'", f"not in its batch: stage-{BATCH + 2}"),
        ("UPDATE lineage_events SET line = 99 WHERE step = 'reject'", "1 an event, but not in a batch"),
        ("UPDATE lineage_events SET parent_id = NULL WHERE step = 'replay'", "follows no rejection"),
        (
            "UPDATE lineage_events SET parent_id = 77 WHERE step = 'skip'",
            "1 an event that follows what is not there",
        ),
        ("UPDATE target SET lineage_parent = NULL WHERE key = 'd'", "follows no replay"),
        ("DELETE FROM lineage_events WHERE step = 'replay'", "follows a replay that is not there"),
        ("DELETE FROM staging", "1 a batch whose records do not each have one entry: b4"),
        (
            "DELETE FROM lineage_events WHERE detail = 'late'",
            "1 a batch whose records do not each have one entry: b5",
        ),
        (
            "DELETE FROM past_lineage WHERE outcome = 4",
            "1 a batch whose records do not each have one entry: b2",
        ),
        ("UPDATE batches SET received = 4 WHERE id = 'b1'", "do not each have one entry: b1"),
        ("DELETE FROM target WHERE key = 'b'", "1 loaded, but not in the target: shop b"),
        (
            "UPDATE past_lineage SET beaten_by = 7 WHERE outcome = 3",
            f"1 beaten by a record that is not there: load-{2 * BATCH}",
        ),
        (
            "UPDATE past_lineage SET beaten_by = 7 WHERE outcome = 4",
            f"1 beaten by a record that is not there: load-{2 * BATCH + 2}",
        ),
        (
            "UPDATE past_lineage SET beaten_by = 7 WHERE outcome = 1",
            f"1 beaten by a record that is not there: load-{BATCH + 1}",
        ),
        (
            "UPDATE past_lineage SET beaten_by = (SELECT lineage_id FROM target WHERE key = 'a') WHERE key = 'b'",
            f"1 beaten by a record that is not there: load-{BATCH + 1}",
        ),
        (
            "UPDATE past_lineage SET sequence = 1 WHERE outcome = 4",
            "but not the target's newest: shop c",
        ),
        ("UPDATE dead_letters SET event_id = 7", "1 a dead letter without its rejection"),
        ("DELETE FROM dead_letters", "1 a rejection without its dead letter"),
    ],
)
def test_a_chain_that_is_broken_is_named(whole: Ledger, statement: str, reported: str) -> None:
    whole.tamper(statement)
    assert any(reported in violation for violation in broken(whole)), broken(whole)


def test_two_records_at_one_position_are_a_gap_though_their_number_is_right(whole: Ledger) -> None:
    whole.tamper("UPDATE target SET lineage_id = :id WHERE key = 'c'", id=staged_id(1, 1))
    assert any("do not each have one entry: b1" in reported for reported in broken(whole))


def test_only_the_first_few_are_named_and_all_are_counted(ledger: Ledger) -> None:
    ledger.receive([Record(f"k{number}", "2025-01-01") for number in range(9)])
    ledger.load()
    ledger.tamper("UPDATE target SET lineage_run = 77")
    named = ", ".join(f"load-{BATCH + position}" for position in range(5))
    assert f"9 loaded by a run that is not in the log: {named}, …" in broken(ledger)

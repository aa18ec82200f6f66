from __future__ import annotations

import pytest

from store import database
from store.checks import conservation
from store.tables import dead_letters
from tests.integration.store.conftest import Bad, Ledger, Record

OLD, NEW = "2025-01-01", "2025-01-02"


@pytest.fixture
def full(ledger: Ledger) -> Ledger:
    """Two batches: of the first all is loaded, of the second one record waits and one is rejected."""
    ledger.receive([Record("a", OLD), Record("b", OLD), Bad("{")], id="first")
    ledger.load()
    ledger.receive([Record("a", NEW), Bad("[")], id="second")
    ledger.tamper("UPDATE batches SET received = received + 1, skipped = 1 WHERE id = 'second'")
    ledger.tamper(
        "INSERT INTO lineage_events (id, step, source, detail, batch_seq, line) "
        "SELECT 5, 'skip', 'shop', 'late', seq, 9 FROM batches WHERE id = 'second'"
    )
    assert ledger.violations() == []
    return ledger


def test_the_laws_hold_in_an_empty_store(ledger: Ledger) -> None:
    assert ledger.violations() == []
    with database.reading(ledger.engine) as connection:
        assert [law.holds for law in conservation.laws(connection)] == [True, True]


@pytest.mark.parametrize(
    ("law", "tampering", "reported"),
    [
        (0, "UPDATE batches SET received = 4 WHERE id = 'first'", "batch 1 (first): received 4, but 3"),
        (0, "UPDATE batches SET skipped = 2 WHERE id = 'second'", "batch 2 (second): received 3, but 4"),
        (0, "DELETE FROM lineage_events WHERE batch_seq = 1", "batch 1 (first): 1 rejected, but 0"),
        (0, "DELETE FROM lineage_events WHERE step = 'skip'", "batch 2 (second): 1 skipped, but 0"),
        (0, "DELETE FROM dead_letters WHERE payload = '['", "batch 2 (second): the dead letters of 1"),
        (1, "DELETE FROM staging", "batch 2 (second): 1 staged, but 0 are in staging or loaded"),
        (
            1,
            "DELETE FROM staging",
            "in total: staged 3, but 2 inserted + 0 updated + 0 duplicates + 0 superseded + 0 pending",
        ),
        (1, "DELETE FROM target WHERE key = 'a'", "batch 1 (first): 2 staged, but 1"),
        (1, "DELETE FROM target WHERE key = 'a'", "run 1: logged 2 inserted, but lineage has 1"),
        (1, "UPDATE run_log SET inserted = 3", "run 1: logged 3 inserted, but lineage has 2"),
        (1, "UPDATE run_log SET inserted = 1, updated = 1", "run 1: logged 1 updated, but lineage has 0"),
        (1, "UPDATE target SET lineage_run = 9", "run 9: not in the log, but lineage has 2 inserted"),
        (1, "DELETE FROM target WHERE key = 'a'", "2 rows were inserted, but the target holds 1"),
    ],
)
def test_a_law_that_is_broken_is_reported_where_it_is(
    full: Ledger, law: int, tampering: str, reported: str
) -> None:
    full.tamper(tampering)
    with database.reading(full.engine) as connection:
        found = conservation.laws(connection)
    assert any(reported in violation for violation in found[law].violations), found
    assert not found[law].holds
    assert found[1 - law].holds


def test_totals_are_over_all_batches_and_by_source(full: Ledger) -> None:
    full.receive([Record("q", OLD)], source="usgs")
    with database.reading(full.engine) as connection:
        assert conservation.totals(connection)["received"] == 7
        by_source = conservation.totals_by_source(connection)
    assert {name: counters["staged"] for name, counters in by_source.items()} == {"shop": 3, "usgs": 1}


def test_totals_before_the_first_batch_are_noughts(ledger: Ledger) -> None:
    with database.reading(ledger.engine) as connection:
        assert set(conservation.totals(connection).values()) == {0}


def test_the_digest_is_64_hex_digits(ledger: Ledger) -> None:
    assert len(ledger.digest()) == 64
    assert int(ledger.digest(), 16)


def test_the_digest_does_not_change_where_nothing_new_comes(full: Ledger) -> None:
    full.load()
    before = full.digest()
    full.receive([Record("a", NEW), Record("b", OLD), Bad("{")], id="again", file="copy.json", first_line=70)
    full.load()
    assert full.digest() == before


@pytest.mark.parametrize(
    "more",
    [Record("c", OLD), Record("a", "2025-01-03"), Bad("nul")],
    ids=["new key", "newer version", "dead letter"],
)
def test_the_digest_changes_with_what_it_is_over(full: Ledger, more: Record | Bad) -> None:
    full.load()
    before = full.digest()
    full.receive([more])
    full.load()
    assert full.digest() != before


def test_the_digest_is_the_same_for_a_rejection_in_another_format(ledger: Ledger) -> None:
    digests = []
    for payload, file in (('{"value": "x"}', "a.json"), ("k,x", "a.csv")):
        ledger.wipe()
        ledger.receive([Bad(payload)], file=file)
        ledger.tamper("UPDATE dead_letters SET content = 'the same'")
        digests.append(ledger.digest())
    assert digests[0] == digests[1]


def test_a_resolved_letter_is_not_in_the_digest(ledger: Ledger) -> None:
    before = ledger.digest()
    ledger.receive([Bad("{")])
    assert ledger.digest() != before
    with database.reading(ledger.engine) as connection:
        ids = dead_letters.open_ids(connection)
    ledger.replay(*ids)
    assert ledger.digest() == before


def test_a_name_moved_from_the_source_to_the_key_is_another_digest(ledger: Ledger) -> None:
    ledger.receive([Record("ba", OLD)], source="a")
    ledger.load()
    before = ledger.digest()
    ledger.tamper("UPDATE target SET source = 'ab', key = 'a'")
    assert ledger.digest() != before

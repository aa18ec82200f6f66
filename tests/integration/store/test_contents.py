"""`store check` computes content hashes again: a row that was changed behind our back is found."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from store import database
from store.checks import contents
from store.checks.conservation import Law

from ..plant import Plant, ndjson, row

CONFIG = '[sources.shop]\ndeleted = "gone"\n'


@pytest.fixture
def loaded(plant: Plant) -> Plant:
    """A target with extra fields and a tombstone."""
    plant.configure(CONFIG)
    plant.send(ndjson(row("a"), row("b", unit="mm"), row("c"), row("d", gone=True)), source="shop")
    plant.work()
    plant.load()
    return plant


def law(plant: Plant) -> Law:
    with database.reading(plant.engine) as connection:
        return contents.law(connection)


def tamper(plant: Plant, statement: str) -> None:
    with database.transaction(plant.engine) as connection:
        connection.execute(text(statement))


def test_rows_that_nobody_changed_hold_what_was_validated(loaded: Plant) -> None:
    assert (law(loaded).violations, law(loaded).unchecked) == ([], None)


@pytest.mark.parametrize(
    "change",
    [
        "value = 2", "value = NULL", "name = 'x'", "ts = '2025-01-15T08:00:00.000001Z'", "key = 'z'",
        "extra = '{\"unit\":\"mm\"}'", "deleted = TRUE",
        "content_hash = (SELECT b.content_hash FROM target AS b WHERE b.key = 'b')",
    ],
)  # fmt: skip
def test_a_changed_row_of_the_target_is_found(loaded: Plant, change: str) -> None:
    tamper(loaded, f"UPDATE target SET {change} WHERE key = 'a'")  # noqa: S608 - the test's own words
    [found] = law(loaded).violations
    assert found.startswith("1 rows of target were changed: shop ")


def test_a_tombstone_that_is_taken_back_is_found(loaded: Plant) -> None:
    tamper(loaded, "UPDATE target SET deleted = FALSE WHERE key = 'd'")
    assert law(loaded).violations == ["1 rows of target were changed: shop d"]


def test_a_changed_row_of_staging_is_found(loaded: Plant) -> None:
    loaded.send(ndjson(row("e")), source="shop")
    loaded.work()
    assert law(loaded).holds
    tamper(loaded, "UPDATE staging SET value = 9")
    assert law(loaded).violations == ["1 rows of staging were changed: shop e"]


def test_many_changed_rows_are_counted_and_the_first_named(plant: Plant) -> None:
    plant.send(ndjson(*(row(f"k{number}") for number in range(9))))
    plant.work()
    plant.load()
    tamper(plant, "UPDATE target SET value = 7")
    [found] = law(plant).violations
    assert found.startswith("9 rows of target were changed: ")
    assert found.count(" k") == 5
    assert found.endswith(", …")


def test_rows_whose_contract_is_not_stored_break_the_law(loaded: Plant) -> None:
    loaded.send(ndjson(row("e")), source="shop")
    loaded.work()
    tamper(loaded, "DELETE FROM contracts")
    first, second = law(loaded).violations
    assert first.endswith(
        "of 1 rows of staging is not in the table contracts: what they hold cannot be checked"
    )
    assert "of 4 rows of target is not in the table contracts" in second
    assert law(loaded).unchecked is None


def test_rows_of_no_batch_break_the_law(loaded: Plant) -> None:
    tamper(loaded, "UPDATE target SET lineage_id = 99 << 20 WHERE key = 'a'")
    assert law(loaded).violations == [
        "the contract (no batch) of 1 rows of target is not in the table contracts: what they hold cannot be checked"
    ]

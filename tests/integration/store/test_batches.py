from __future__ import annotations

import pytest
from sqlalchemy import Engine

from store import database
from store.tables import batches, deliveries
from tests.integration.store.conftest import Bad, Ledger, Record, a_batch, a_delivery


@pytest.fixture
def engine(engine: Engine) -> Engine:
    """A database with the delivery that the batches of these tests are parts of."""
    with database.transaction(engine) as connection:
        assert deliveries.begin(connection, a_delivery()) == a_batch().delivery_seq
    return engine


def test_a_batch_is_recorded_once(engine: Engine) -> None:
    with database.transaction(engine) as connection:
        assert batches.record(connection, a_batch("b1")) == 1
    with database.transaction(engine) as connection:
        assert batches.record(connection, a_batch("b1", received=9)) is None
        assert batches.record(connection, a_batch("b2")) is not None
    with database.reading(engine) as connection:
        assert [row["received"] for row in batches.recent(connection, 9)] == [0, 0]


def test_a_batch_whose_transaction_fails_was_never_there(ledger: Ledger) -> None:
    try:
        with database.transaction(ledger.engine) as connection:
            batches.record(connection, a_batch("b1"))
            raise RuntimeError("the worker is killed")
    except RuntimeError:
        pass
    with database.transaction(ledger.engine) as connection:
        assert batches.known(connection, ["b1"]) == set()
        assert batches.record(connection, a_batch("b1")) is not None


def test_known_tells_the_processed_ids_from_the_others(engine: Engine) -> None:
    with database.transaction(engine) as connection:
        numbers = [batches.record(connection, a_batch(id)) for id in ("b1", "b2")]
        assert batches.known(connection, ["b1", "b2", "b3"]) == {"b1", "b2"}
        assert sorted(batches.numbers(connection, ["b1", "b2", "b3"])) == numbers
        assert batches.known(connection, []) == set()


def test_more_ids_than_a_statement_takes_parameters_can_be_asked_for(engine: Engine) -> None:
    with database.reading(engine) as connection:
        assert batches.known(connection, [f"b{number}" for number in range(100_000)]) == set()


def test_an_id_may_hold_any_text(engine: Engine) -> None:
    hostile = "a'b\"c\\d\n;--💧"
    with database.transaction(engine) as connection:
        batches.record(connection, a_batch(hostile))
        assert batches.known(connection, [hostile]) == {hostile}


def test_the_latest_batches_come_first_with_their_json_read(engine: Engine) -> None:
    with database.transaction(engine) as connection:
        batches.record(connection, a_batch("b1"))
        batches.record(connection, a_batch("b2", reasons={"late": 2}, seconds={"judge": 0.5}))
        (latest,) = batches.recent(connection, 1)
    assert (latest["id"], latest["reasons"], latest["seconds"]) == ("b2", {"late": 2}, {"judge": 0.5})


def test_sources_are_those_that_ever_sent_a_batch(engine: Engine) -> None:
    with database.transaction(engine) as connection:
        for id, source in (("1", "usgs"), ("2", "shop"), ("3", "usgs")):
            batches.record(connection, a_batch(id, source=source))
        assert batches.sources(connection) == ["shop", "usgs"]


def test_the_sum_over_batches_counts_each_once(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-01"), Bad("{")], id="b1")
    ledger.receive([Record("b", "2025-01-01"), Record("b", "2025-01-01")], id="b2")
    ledger.receive([Record("c", "2025-01-01")], id="b3")
    ledger.load()
    with database.reading(ledger.engine) as connection:
        found = batches.sum_of(connection, ["b1", "b2", "b2", "none"])
    assert (found["received"], found["staged"], found["rejected"]) == (4, 3, 1)
    assert (found["inserted"], found["duplicates"], found["superseded"]) == (2, 1, 0)


def test_a_number_is_never_given_twice_even_when_its_batch_is_gone(ledger: Ledger) -> None:
    ledger.receive([], id="b1")
    ledger.tamper("DELETE FROM batches")
    assert ledger.receive([], id="b2") == 2

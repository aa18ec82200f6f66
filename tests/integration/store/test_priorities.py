from __future__ import annotations

import pytest
from sqlalchemy import Engine

from store import database
from store.database import install
from store.database.records import ContractColumn
from store.errors import ConfigError
from store.tables import priorities
from tests.integration.store.conftest import Ledger
from tests.integration.store.reconcile.holdings import Holding, put


@pytest.fixture
def store(engine: Engine) -> Engine:
    install.add_contract_columns(engine, [ContractColumn("size", "integer")])
    return engine


def prefer(engine: Engine, **given: int) -> bool:
    with database.transaction(engine) as connection:
        return priorities.replace(connection, given)


def golden(engine: Engine) -> list[tuple[str, str]]:
    return [tuple(row) for row in Ledger(engine).rows("SELECT key, source FROM golden ORDER BY key")]


def test_golden_has_the_best_sources_row_of_each_key(store: Engine) -> None:
    put(store, [Holding("a", "k"), Holding("b", "k", ts="2025-02-01T00:00:00.000000Z"), Holding("b", "l")])
    prefer(store, a=1, b=2)
    assert golden(store) == [("k", "a"), ("l", "b")]
    prefer(store, a=2, b=1)
    assert golden(store) == [("k", "b"), ("l", "b")]


def test_of_sources_of_one_priority_the_newest_row_is_golden(store: Engine) -> None:
    put(store, [Holding("a", "k", ts="2025-02-01T00:00:00.000000Z"), Holding("b", "k")])
    prefer(store, a=1, b=1)
    assert golden(store) == [("k", "a")]
    put(store, [Holding("b", "k", ts="2025-03-01T00:00:00.000000Z")])
    assert golden(store) == [("k", "b")]


def test_of_rows_of_one_time_one_is_golden_and_always_the_same(store: Engine) -> None:
    put(store, [Holding("a", "k"), Holding("b", "k", 2.0), Holding("c", "k", 3.0)])
    [[greatest]] = Ledger(store).rows("SELECT source FROM target ORDER BY content_hash DESC LIMIT 1")
    assert golden(store) == [("k", greatest)]


def test_a_source_without_a_priority_comes_last(store: Engine) -> None:
    put(store, [Holding("a", "k", ts="2025-02-01T00:00:00.000000Z"), Holding("b", "k")])
    prefer(store, b=1000)
    assert golden(store) == [("k", "b")]
    prefer(store)
    assert golden(store) == [("k", "a")]


def test_golden_has_a_column_that_the_contract_got_later(store: Engine) -> None:
    put(store, [Holding("a", "k")])
    install.add_contract_columns(store, [ContractColumn("colour", "text")])
    Ledger(store).tamper("UPDATE target SET colour = 'blue'")
    assert Ledger(store).rows("SELECT key, size, colour FROM golden") == [("k", 7, "blue")]


def test_replacing_forgets_what_was_and_says_whether_it_changed_anything(store: Engine) -> None:
    assert prefer(store, a=1, b=2)
    assert not prefer(store, b=2, a=1)
    assert prefer(store, b=2)
    with database.reading(store) as connection:
        assert priorities.stored(connection) == {"b": 2}


@pytest.mark.parametrize("priority", [0, -1, 2**31])
def test_a_priority_below_one_or_beyond_the_column_is_refused(store: Engine, priority: int) -> None:
    with pytest.raises(ConfigError, match=rf"\[sources.shop\] priority = {priority}"):
        prefer(store, shop=priority)

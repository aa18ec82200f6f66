from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from store import database
from store.database import install
from store.database.records import ContractColumn
from store.errors import ConfigError, UsageError
from store.reconcile import compare
from store.reconcile import runs as reconciliation
from tests.examples import examples
from tests.integration.store.conftest import Ledger
from tests.integration.store.reconcile.holdings import FIELDS, Holding, oracle, put, reconciled, stored

SOURCES = ("a", "b", "c", "d")
TIMES = tuple(f"2025-01-{day}T00:00:00.000000Z" for day in (10, 11, 12))


@pytest.fixture
def store(engine: Engine) -> Engine:
    """A store whose contract has a text, a real and an integer."""
    install.add_contract_columns(engine, [ContractColumn("size", "integer")])
    return engine


def rows_of(table: dict[tuple[str, str], tuple[Any, ...]]) -> list[Holding]:
    return [Holding(*identity, *values) for identity, values in table.items()]


# Few values, so that many agree, and steps about as wide as the tolerances, so that agreement is not passed on.
TABLES = st.dictionaries(
    st.tuples(st.sampled_from(SOURCES), st.sampled_from(["k1", "k2", "k'3", 'k"4', "é"])),
    st.tuples(
        st.sampled_from([None, 0.0, 1.0, 1.01, 1.02, -1.0, 1e300]),
        st.sampled_from([None, "pump", "Pump", ""]),
        st.sampled_from([None, 1, 2, 3, 2**63 - 1, -(2**63)]),
        st.sampled_from(TIMES),
    ),
).map(rows_of)
TOLERANCES = st.fixed_dictionaries(
    {}, optional={"value": st.sampled_from([0, 0.01, 2]), "size": st.sampled_from([0, 1, 1.5])}
)


@settings(max_examples=examples(30))
@given(
    rows=TABLES,
    tolerances=TOLERANCES,
    since=st.sampled_from([None, *TIMES]),
    sources=st.sets(st.sampled_from(SOURCES), min_size=2).map(sorted),
)
def test_the_database_finds_what_a_naive_comparison_finds(
    store: Engine, rows: list[Holding], tolerances: dict[str, float], since: str | None, sources: list[str]
) -> None:
    Ledger(store).wipe()
    put(store, rows)
    result, found = reconciled(store, tolerances, sources, since)
    expected = oracle(rows, tolerances, since, sources)
    assert (result.matched, result.single_source, result.fields) == (
        expected.matched,
        expected.single,
        expected.fields,
    )
    assert result.mismatched == len(expected.mismatched) == len({row.key for row in found})
    assert result.keys == expected.matched + len(expected.mismatched) + sum(expected.single.values())
    listed = [(row.key, row.field, row.one.source, row.other.source) for row in found]
    assert sorted(listed) == sorted(expected.rows)
    assert [row.key for row in found] == sorted((row.key for row in found), key=str.encode)
    held = {(row.source, row.key): row for row in rows}
    for row in found:
        for side in (row.one, row.other):
            assert side.value == getattr(held[side.source, row.key], row.field)


@settings(max_examples=examples(10))
@given(tables=st.lists(TABLES, min_size=2, max_size=4), since=st.sampled_from([None, TIMES[1]]))
def test_new_are_the_keys_that_were_not_mismatched_the_last_time(
    store: Engine, tables: list[list[Holding]], since: str | None
) -> None:
    Ledger(store).wipe()
    known: set[str] = set()
    held: dict[tuple[str, str], Holding] = {}
    for number, table in enumerate(tables):
        put(store, table)
        held |= {(row.source, row.key): row for row in table}
        window = since if number else None
        now = set(oracle(list(held.values()), {}, window, SOURCES).mismatched)
        in_range = {row.key for row in held.values() if window is None or row.ts >= window}
        result = stored(store, sources=SOURCES, since=window)
        assert result.new_mismatches == len(now - known)
        known = now | (known - in_range)
        mismatches = Ledger(store).rows("SELECT key FROM reconciled_mismatches")
        assert {key for (key,) in mismatches} == known


def test_a_row_names_both_values_times_and_lineage_entries(store: Engine) -> None:
    put(store, [Holding("a", "k", 1.0), Holding("b", "k", 2.5, ts="2025-01-15T12:00:00.500000Z")])
    _, [row] = reconciled(store)
    assert (row.key, row.field) == ("k", "value")
    assert row.one == reconciliation.Side("a", 1.0, "2025-01-15T12:00:00Z", "load-0")
    assert row.other == reconciliation.Side("b", 2.5, "2025-01-15T12:00:00.5Z", "load-1")


def test_the_lineage_id_of_a_row_is_an_entry_of_the_lineage(ledger: Ledger) -> None:
    from tests.integration.store.conftest import Record

    ledger.receive([Record("k", "2025-01-01", value=1.0)], source="a")
    ledger.receive([Record("k", "2025-01-01", value=2.0)], source="b")
    ledger.load()
    _, [row] = reconciled(ledger.engine)
    for side in (row.one, row.other):
        assert ledger.rows("SELECT source, step FROM lineage WHERE id = :id", id=side.lineage_id) == [
            (side.source, "load")
        ]


def test_null_equals_null_and_nothing_else(store: Engine) -> None:
    put(store, [Holding("a", "k", None), Holding("b", "k", None)])
    assert reconciled(store, {"value": 100.0})[0].matched == 1
    put(store, [Holding("b", "k", 0.0)])
    assert reconciled(store, {"value": 100.0})[0].mismatched == 1


def test_two_that_each_agree_with_a_third_but_not_with_each_other_are_a_mismatch(store: Engine) -> None:
    put(store, [Holding("a", "k", 1.0), Holding("b", "k", 1.4), Holding("c", "k", 0.6)])
    result, [row] = reconciled(store, {"value": 0.5})
    assert (result.mismatched, row.one.source, row.other.source) == (1, "b", "c")


@pytest.mark.parametrize(
    ("one", "other"), [(1.0, 1.01), (1.01, 1.0), (10.0, 10.01), (-1.0, -1.01), (0.0, 0.01)]
)
def test_a_difference_that_equals_the_tolerance_matches(store: Engine, one: float, other: float) -> None:
    put(store, [Holding("a", "k", one), Holding("b", "k", other)])
    assert reconciled(store, {"value": 0.01})[0].matched == 1
    assert reconciled(store, {"value": 0.0099})[0].mismatched == 1


def test_integers_of_any_size_are_exact(store: Engine) -> None:
    put(store, [Holding("a", "k", size=2**63 - 1), Holding("b", "k", size=2**63 - 3)])
    assert reconciled(store, {"size": 2})[0].matched == 1
    assert reconciled(store, {"size": 1})[0].mismatched == 1


def test_times_matter_only_with_a_tolerance_in_seconds(store: Engine) -> None:
    put(store, [Holding("a", "k"), Holding("b", "k", ts="2025-01-15T12:00:00.000003Z")])
    assert reconciled(store)[0].matched == 1
    assert reconciled(store, {"ts": 0.000003})[0].matched == 1
    result, [row] = reconciled(store, {"ts": 0.000002})
    assert (result.mismatched, row.field) == (1, "ts")
    assert (row.one.value, row.other.value) == ("2025-01-15T12:00:00Z", "2025-01-15T12:00:00.000003Z")
    assert reconciled(store, {"ts": 0})[0].mismatched == 1


def test_since_looks_at_a_key_of_which_any_source_has_something_new(store: Engine) -> None:
    put(store, [Holding("a", "old", ts=TIMES[0]), Holding("b", "old", ts=TIMES[0]),
                Holding("a", "half", ts=TIMES[2]), Holding("b", "half", 5.0, ts=TIMES[0])])  # fmt: skip
    result, rows = reconciled(store, since=TIMES[2])
    assert (result.keys, result.mismatched, [row.key for row in rows]) == (1, 1, ["half"])


def test_fields_beyond_the_contract_are_ignored(store: Engine) -> None:
    put(store, [Holding("a", "k"), Holding("b", "k")])
    Ledger(store).tamper("UPDATE target SET extra = '{\"x\": 1}' WHERE source = 'a'")
    assert reconciled(store)[0].matched == 1


def test_a_column_may_have_a_keyword_of_sql_as_its_name(store: Engine) -> None:
    install.add_contract_columns(
        store, [ContractColumn('select "x"', "boolean"), ContractColumn("order", "text")]
    )
    put(store, [Holding("a", "k"), Holding("b", "k")])
    Ledger(store).tamper('UPDATE target SET "select ""x""" = (source = \'a\'), "order" = \'first\'')
    result, [row] = reconciled(store)
    assert result.fields == {"name": 0, "value": 0, "size": 0, 'select "x"': 1, "order": 0}
    assert (row.one.value, row.other.value) == (True, False)


def test_a_source_named_like_sql_is_bound(store: Engine) -> None:
    put(store, [Holding("a' OR '1'='1", "k"), Holding("b; DROP TABLE target", "k", 2.0)])
    assert reconciled(store)[0].mismatched == 1


def test_the_greatest_number_of_sources_works(store: Engine) -> None:
    names = [f"s{number:02}" for number in range(compare.MOST_SOURCES)]
    put(store, [Holding(name, "k", float(number == 49)) for number, name in enumerate(names)])
    result, rows = reconciled(store, {"value": 0.5})
    assert (result.mismatched, len(rows)) == (1, 49)
    put(store, [Holding("one more", "k")])
    with pytest.raises(UsageError, match="51 sources are too many to compare"):
        reconciled(store)


def test_the_result_of_one_source_or_none_is_not_stored(store: Engine) -> None:
    assert reconciled(store)[0].keys == 0
    put(store, [Holding("a", "k")])
    result, rows = reconciled(store)
    assert (result.keys, result.single_source, rows) == (1, {"a": 1}, [])
    assert stored(store).seq is None
    assert Ledger(store).rows("SELECT * FROM reconciliations") == []


@pytest.mark.parametrize(
    ("tolerances", "message"),
    [
        ({"name": 1.0}, "'name' is text; only numbers and ts have tolerances"),
        ({"nothing": 1.0}, "there is no field 'nothing'; the fields with numbers are value, size, ts"),
        ({"value": -1.0}, "--tolerance value=-1.0: a tolerance is a number, 0 or greater"),
        ({"value": float("nan")}, "--tolerance value=nan"),
        ({"value": float("inf")}, "--tolerance value=inf"),
    ],
)
def test_a_tolerance_that_makes_no_sense_is_refused_by_name(
    store: Engine, tolerances: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        reconciled(store, tolerances)


# --- stored ---------------------------------------------------------------------------------------------------


def test_the_stored_result_is_what_was_found(store: Engine) -> None:
    put(store, [Holding("a", "k"), Holding("b", "k", 2.0), Holding("a", "l")])
    result = stored(store, tolerances={"value": 0.5})
    with database.reading(store) as connection:
        [row] = reconciliation.history(connection, 10)
        assert reconciliation.first_found_keys(connection, row["seq"], 10) == ["k"]
    assert row["sources"] == ["a", "b"]
    assert (row["tolerances"], row["single_source"]) == ({"value": 0.5}, {"a": 1, "b": 0})
    assert (row["keys"], row["matched"], row["mismatched"], row["new_mismatches"]) == (2, 0, 1, 1)
    assert (result.seq, result.new_mismatches) == (row["seq"], 1)


def test_a_mismatch_is_new_once_and_again_after_it_was_mended(store: Engine) -> None:
    put(store, [Holding("a", "k"), Holding("b", "k", 2.0)])
    assert [stored(store).new_mismatches for _ in range(2)] == [1, 0]
    put(store, [Holding("b", "k")])
    assert stored(store).new_mismatches == 0
    put(store, [Holding("b", "k", 3.0)])
    assert stored(store).new_mismatches == 1


def test_other_sources_have_a_history_of_their_own(store: Engine) -> None:
    put(store, [Holding("a", "k"), Holding("b", "k", 2.0), Holding("c", "k")])
    assert stored(store, sources=["a", "b"]).new_mismatches == 1
    assert stored(store, sources=["b", "c"]).new_mismatches == 1
    assert stored(store, sources=["b", "a", "a"]).new_mismatches == 0


def test_keeping_that_is_rolled_back_leaves_nothing(store: Engine) -> None:
    put(store, [Holding("a", "k"), Holding("b", "k", 2.0)])

    def interrupted() -> None:
        with database.transaction(store) as connection:
            reconciliation.reconcile_and_keep(connection)
            connection.execute(text("SELECT * FROM nowhere"))

    with pytest.raises(Exception, match="nowhere"):
        interrupted()
    assert stored(store).new_mismatches == 1


def test_the_oracle_knows_the_fields_of_the_contract(store: Engine) -> None:
    with database.reading(store) as connection:
        asked = compare.comparison_of(connection)
    assert {field.name for field in asked.fields} == set(FIELDS)

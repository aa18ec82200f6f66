from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from store import database
from store.database import install
from store.database.records import ContractColumn
from store.database.schema import RECORD_BITS
from store.errors import SluiceError
from store.load import chunk, merge
from store.settings import StoreSettings
from store.tables import deliveries, load_runs, staging
from tests import postgresql as servers
from tests.examples import examples
from tests.integration.conftest import BACKEND
from tests.integration.store.conftest import COLUMNS, Bad, Ledger, Record, a_delivery, install_tables

OLD, MIDDLE, NEW = "2025-01-01", "2025-01-02", "2025-01-03"


def shop(ledger: Ledger) -> dict[str, str]:
    """key -> name."""
    return {key: name for (_, key), (_, name, _) in ledger.target().items()}


def outcomes(ledger: Ledger) -> tuple[int, int, int]:
    with database.reading(ledger.engine) as connection:
        totals = load_runs.totals(connection)
    return totals["inserted"], totals["updated"], totals["superseded"]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_an_older_record_never_overwrites(ledger: Ledger, size: int) -> None:
    ledger.receive([Record("a", NEW, "new")])
    ledger.load(size)
    ledger.receive([Record("b", NEW, "b"), Record("a", OLD, "old")])
    ledger.load(size)
    assert shop(ledger) == {"a": "new", "b": "b"}
    assert outcomes(ledger) == (2, 0, 1)


def test_a_newer_record_overwrites_every_column(ledger: Ledger) -> None:
    ledger.receive([Record("a", OLD, "old", 1.0)])
    ledger.load()
    number = ledger.receive([Record("z", OLD), Record("a", NEW, "new", 2.5)])
    ledger.load()
    assert ledger.target()["shop", "a"] == (f"{NEW}T00:00:00.000000Z", "new", 2.5)
    assert ledger.rows("SELECT lineage_id FROM target WHERE key = 'a'") == [(number << 20 | 1,)]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_of_several_versions_in_one_chunk_the_newest_is_written(ledger: Ledger, size: int) -> None:
    ledger.receive([Record("a", MIDDLE, "m"), Record("a", NEW, "n"), Record("a", OLD, "o")])
    ledger.load(size)
    assert shop(ledger) == {"a": "n"}
    inserted, updated, superseded = outcomes(ledger)
    assert inserted == 1
    assert updated + superseded == 2


def test_versions_of_one_chunk_make_one_insert_and_the_others_superseded(ledger: Ledger) -> None:
    ledger.receive([Record("a", MIDDLE, "m"), Record("a", NEW, "n"), Record("a", OLD, "o")])
    ledger.load()
    assert outcomes(ledger) == (1, 0, 2)


def test_the_same_key_of_two_sources_is_two_rows(ledger: Ledger) -> None:
    ledger.receive([Record("a", OLD, "shop")])
    ledger.receive([Record("a", NEW, "usgs")], source="usgs")
    ledger.load(1)
    assert {row: name for row, (_, name, _) in ledger.target().items()} == {
        ("shop", "a"): "shop",
        ("usgs", "a"): "usgs",
    }


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("order", ["xyz", "zyx"])
def test_of_equal_timestamps_the_later_delivery_wins_and_in_one_the_later_line(
    ledger: Ledger, size: int, order: str
) -> None:
    ledger.receive([Record("a", NEW, name) for name in order])
    ledger.load(size)
    assert shop(ledger) == {"a": order[-1]}
    for name in order:
        ledger.receive([Record("a", NEW, name)])
        ledger.load(size)
        assert shop(ledger) == {"a": name}


def test_a_chunk_is_no_larger_than_it_should_be_and_staging_is_empty_after_the_last(ledger: Ledger) -> None:
    ledger.receive([Record(f"k{number}", OLD) for number in range(7)])
    run = ledger.load(3)
    assert ledger.rows("SELECT chunks FROM run_log WHERE seq = :run", run=run) == [(3,)]
    assert ledger.rows("SELECT count(*) FROM staging") == [(0,)]


def test_nothing_staged_is_nothing_merged(ledger: Ledger) -> None:
    with database.transaction(ledger.engine) as connection:
        assert chunk.take(connection, COLUMNS, 10) is None


def test_a_chunk_that_is_rolled_back_leaves_everything_as_it_was(ledger: Ledger) -> None:
    ledger.receive([Record("a", OLD), Record("b", NEW)])
    before = ledger.digest()
    with database.transaction(ledger.engine) as connection:
        run = load_runs.start(connection, "host:1:00", None)
    with pytest.raises(RuntimeError), database.transaction(ledger.engine) as connection:
        taken = chunk.take(connection, COLUMNS, 10)
        assert taken is not None
        merged = merge.merge_chunk(connection, taken, run)
        assert merged.outcomes == {"inserted": 2, "updated": 0, "duplicates": 0, "superseded": 0}
        raise RuntimeError("the loader is killed")
    assert ledger.digest() == before
    assert ledger.rows("SELECT count(*) FROM staging") == [(2,)]
    assert ledger.rows("SELECT count(*) FROM record_lineage") == [(0,)]
    ledger.load()
    assert outcomes(ledger) == (2, 0, 0)


def test_the_newest_of_each_source_is_named_with_its_record(ledger: Ledger) -> None:
    number = ledger.receive([Record("a", OLD), Record("b", NEW), Record("c", NEW, "other")])
    ledger.receive([Record("a", MIDDLE)], source="usgs")
    with database.transaction(ledger.engine) as connection:
        run = load_runs.start(connection, "host:1:00", None)
        taken = chunk.take(connection, COLUMNS, 10)
        assert taken is not None
        merged = merge.merge_chunk(connection, taken, run)
    newest = {move.source: move for move in merged.newest}
    assert (newest["shop"].value, newest["shop"].record_key) == (f"{NEW}T00:00:00.000000Z", "b")
    assert newest["shop"].lineage_id == number << 20 | 1
    assert newest["usgs"].value == f"{MIDDLE}T00:00:00.000000Z"


def test_holds_batches_tells_whether_any_record_of_them_waits(ledger: Ledger) -> None:
    first, second = ledger.receive([Record("a", OLD)]), ledger.receive([Bad("{")])
    with database.reading(ledger.engine) as connection:
        assert staging.holds_batches(connection, [first, second])
        assert not staging.holds_batches(connection, [second])
    ledger.load()
    with database.reading(ledger.engine) as connection:
        assert not staging.holds_batches(connection, [first, second])


def test_a_key_may_hold_any_text(ledger: Ledger) -> None:
    keys = ["'", '"', "\\", "%", "a\nb", "💧", "\u00e9", "e\u0301", " a", "a ", "A", "\x7f", "\u0661"]
    ledger.receive([Record(key, OLD) for key in keys])
    ledger.load(2)
    assert {key for _, key in ledger.target()} == set(keys)


def test_a_merge_that_writes_other_than_was_decided_is_refused(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.receive([Record("a", OLD)])
    monkeypatch.setattr(merge, "_write_target", lambda *_: 0)
    with pytest.raises(SluiceError, match="rolled back"):
        ledger.load()
    assert ledger.rows("SELECT count(*) FROM staging") == [(1,)]


@pytest.fixture(scope="module", params=[BACKEND])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One database for all examples: each wipes it first."""
    settings = StoreSettings(home=tmp_path_factory.mktemp("shared"), synchronous="NORMAL")
    name = f"shared_{os.getpid()}"
    if request.param == "postgresql":
        url = servers.create(request.getfixturevalue("postgresql"), name)
        settings = settings.model_copy(update={"database_url": url})
    engine = install_tables(settings)
    yield engine
    engine.dispose()
    if request.param == "postgresql":
        servers.drop(request.getfixturevalue("postgresql"), name)


RECORDS = st.builds(
    Record,
    key=st.sampled_from("abc"),
    ts=st.sampled_from([OLD, MIDDLE, NEW]),
    name=st.sampled_from(["x", "y"]),
    value=st.sampled_from([1.0, -2.0]),
    sequence=st.sampled_from([0, 0, 7]),
)
BAD = st.builds(
    Bad, payload=st.sampled_from(["{", "[", "nul"]), reason=st.just("malformed_json"), key=st.none()
)
SENT = st.lists(RECORDS | BAD, max_size=10)


@settings(max_examples=examples(12), deadline=None)
@given(data=st.data(), sent=SENT)
def test_where_hashes_decide_ties_order_cuts_repeats_and_chunks_do_not_change_the_digest(
    shared: Engine, data: st.DataObject, sent: list[Record | Bad]
) -> None:
    ledger = Ledger(shared)
    digests = set()
    for size in data.draw(st.permutations([1, 2, 3, 100]), label="chunk sizes"):
        ledger.wipe()
        again = data.draw(st.lists(st.sampled_from(sent), max_size=3) if sent else st.just([]), label="again")
        order = data.draw(st.permutations([*sent, *again]), label="order")
        cut = data.draw(st.integers(1, 11), label="batch size")
        for start in range(0, len(order), cut):
            ledger.receive(order[start : start + cut], first_line=start + 1, version=0)
            if data.draw(st.booleans(), label="load now"):
                ledger.load(size)
        ledger.load(size)
        assert ledger.violations() == []
        assert ledger.target() == greatest_by_hash(sent)
        digests.add(ledger.digest())
    assert len(digests) == 1


def greatest_by_hash(sent: Sequence[Record | Bad]) -> dict[tuple[str, str], tuple[str, str, float]]:
    """The model: of each key the greatest (ts, sequence, content hash)."""
    records = [each for each in sent if isinstance(each, Record)]
    found = {each.key: each for each in sorted(records, key=lambda r: (r.ts, r.sequence, r.content_hash))}
    return {("shop", key): (each.stored_ts, each.name, each.value) for key, each in found.items()}


@settings(max_examples=examples(10), deadline=None)
@given(data=st.data(), sent=st.lists(SENT, min_size=1, max_size=3))
def test_where_deliveries_decide_ties_arrival_cuts_repeats_and_chunks_do_not_change_the_digest(
    shared: Engine, data: st.DataObject, sent: list[list[Record | Bad]]
) -> None:
    ledger = Ledger(shared)
    digests = set()
    for size in data.draw(st.permutations([1, 2, 100]), label="chunk sizes"):
        ledger.wipe()
        names = [f"d{number}" for number in range(len(sent))]
        with database.transaction(ledger.engine) as connection:
            for name in names:
                deliveries.begin(connection, a_delivery(name))
        cut = data.draw(st.integers(1, 11), label="batch size")
        batches = [
            (name, start, content[start : start + cut])
            for name, content in zip(names, sent, strict=True)
            for start in range(0, len(content), cut)
        ]
        repeated = st.lists(st.sampled_from(batches), max_size=3) if batches else st.just([])
        again = data.draw(repeated, label="again")
        for name, first, records in data.draw(st.permutations([*batches, *again]), label="arrival"):
            ledger.receive(records, delivery=name, first_record=first, first_line=first + 1)
            if data.draw(st.booleans(), label="load now"):
                ledger.load(size)
        ledger.load(size)
        assert ledger.violations() == []
        digests.add(ledger.digest())
    assert len(digests) == 1


def test_a_letter_sent_back_unedited_keeps_the_version_of_its_rejection(ledger: Ledger) -> None:
    with database.transaction(ledger.engine) as connection:
        numbers = [deliveries.begin(connection, a_delivery(name)) for name in ("rejected", "later")]
    ledger.receive([Record("a", OLD, "later")], delivery="later")
    ledger.load()
    ledger.receive([Record("a", OLD, "sent back")], delivery="replay", version=numbers[0] << RECORD_BITS)
    ledger.load()
    assert shop(ledger) == {"a": "later"}
    ledger.receive([Record("a", OLD, "edited")], delivery="another replay")
    ledger.load()
    assert shop(ledger) == {"a": "edited"}


def test_a_column_that_is_added_between_two_loads_is_loaded(ledger: Ledger) -> None:
    ledger.receive([Record("a", OLD)])
    ledger.load()
    install.add_contract_columns(ledger.engine, [ContractColumn("size", "integer")])
    ledger.receive([Record("b", OLD)])
    ledger.tamper("UPDATE staging SET size = 7")
    ledger.load()
    assert ledger.rows("SELECT key, size FROM target ORDER BY key") == [("a", None), ("b", 7)]


def test_a_key_that_came_after_a_chunk_was_decided_takes_the_whole_chunk_back(ledger: Ledger) -> None:
    ledger.receive([Record("a", OLD), Record("b", OLD)])
    ledger.load()
    row = "SELECT * FROM target WHERE key = 'b'"
    with database.transaction(ledger.engine) as connection:
        run = load_runs.start(connection, "host:1:00", None)
        connection.exec_driver_sql(f"CREATE TABLE kept AS {row}")
        connection.exec_driver_sql("DELETE FROM target WHERE key = 'b'")
    ledger.receive([Record("b", MIDDLE), Record("c", MIDDLE)])
    with pytest.raises(IntegrityError), database.transaction(ledger.engine) as connection:
        taken = chunk.take(connection, COLUMNS, 10)
        assert taken is not None
        connection.exec_driver_sql("INSERT INTO target SELECT * FROM kept")
        merge.merge_chunk(connection, taken, run)
    assert ledger.rows("SELECT key FROM staging ORDER BY key") == [("b",), ("c",)]
    assert ledger.rows("SELECT key FROM target") == [("a",)]


def test_what_was_written_to_the_target_after_a_chunk_was_decided_is_not_overwritten(ledger: Ledger) -> None:
    ledger.receive([Record("a", OLD)])
    ledger.load()
    ledger.receive([Record("a", MIDDLE)])
    with database.transaction(ledger.engine) as connection:
        run = load_runs.start(connection, "host:1:00", None)
    with pytest.raises(SluiceError, match="rolled back"), database.transaction(ledger.engine) as connection:
        taken = chunk.take(connection, COLUMNS, 10)
        assert taken is not None
        connection.exec_driver_sql("UPDATE target SET lineage_id = lineage_id + 1")  # every write changes it
        merge.merge_chunk(connection, taken, run)
    assert ledger.rows("SELECT count(*) FROM staging") == [(1,)]

"""PostgreSQL: staging and target in partitions by a hash of source and key, each with a loader of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from typer.testing import CliRunner

from producer.resources import record, registered
from store import database
from store.cli.app import app
from store.database import install
from store.errors import ConfigError, LockHeld, LockLost
from store.load import merge
from store.settings import StoreSettings
from store.tables import leases
from store.tables.deliveries import Delivery
from tests import postgresql as servers
from worker import loader
from worker.doctor import store_asked
from worker.queue.send import Sent

from ...conftest import EmptyStore, MakeDatabase
from ...plant import Plant, ndjson, row

pytestmark = pytest.mark.postgresql("SQLite has one writer")

PARTITIONS = 3
SECONDS = 20.0
WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
ELSEWHERE = "elsewhere/00:1:aa"
LEASES = [f"loader {number}_of_{PARTITIONS}" for number in range(PARTITIONS)]


@pytest.fixture(scope="module")
def divided(postgresql: str) -> Iterator[str]:
    """The name of a database in partitions, with nothing in it."""

    url = servers.create(postgresql, name := f"divided_{threading.get_native_id()}")
    install.prepare(StoreSettings(database_url=url, partitions=PARTITIONS)).dispose()
    yield name
    servers.drop(postgresql, name)


@pytest.fixture
def empty_store(divided: str, postgresql_database: MakeDatabase) -> EmptyStore:
    return lambda: postgresql_database(divided)


@pytest.fixture
def staged(plant: Plant) -> Plant:
    """Rows in every partition, of one batch, and their corrections, of another."""
    many = [row(f"k{number}", value=number) for number in range(30)]
    plant.send(ndjson(*many), "first.ndjson")
    plant.work()
    plant.send(ndjson(*(each | {"value": -1.5} for each in many)), "second.ndjson")
    plant.work()
    return plant


def in_partitions(plant: Plant, table: str) -> list[int]:
    return [len(plant.rows(f"{table}_{number}_of_{PARTITIONS}")) for number in range(PARTITIONS)]


def hold(plant: Plant, *names: str) -> None:
    with database.transaction(plant.engine) as connection:
        for name in names:
            leases.acquire(connection, name, ELSEWHERE, 60)


def test_a_key_is_in_one_part_of_staging_and_in_the_same_of_the_target(staged: Plant) -> None:
    def keys(table: str) -> list[set[str]]:
        return [
            {each["key"] for each in staged.rows(f"{table}_{n}_of_{PARTITIONS}")} for n in range(PARTITIONS)
        ]

    waiting = keys("staging")
    assert all(waiting) and sum(map(len, waiting)) == 30
    staged.load()
    assert keys("target") == waiting
    assert in_partitions(staged, "staging") == [0] * PARTITIONS
    assert {each["value"] for each in staged.rows()} == {-1.5}
    assert staged.violations() == []


def test_one_loader_goes_through_all_partitions_in_one_run(staged: Plant) -> None:
    run = loader.load(staged.engine, staged.settings)
    assert (run.number, run.chunks, run.rows, run.inserted, run.superseded) == (1, PARTITIONS, 60, 30, 30)
    assert [(each["status"], each["chunks"]) for each in staged.rows("run_log", "seq")] == [("succeeded", 3)]
    assert sorted(each["name"] for each in staged.rows("locks", "name")) == LEASES
    with database.reading(staged.engine) as connection:
        assert leases.loaders(connection) == []


def test_a_part_that_another_loader_works_on_is_left_to_it(staged: Plant) -> None:
    hold(staged, LEASES[1])
    waiting = in_partitions(staged, "staging")
    run = loader.load(staged.engine, staged.settings)
    assert in_partitions(staged, "staging") == [0, waiting[1], 0]
    assert run.rows == waiting[0] + waiting[2]
    assert staged.violations() == []
    with pytest.raises(LockHeld, match="elsewhere"):
        loader.load(staged.engine, staged.settings)
    with database.transaction(staged.engine) as connection:
        leases.release(connection, LEASES[1], ELSEWHERE)
    staged.load()
    assert in_partitions(staged, "staging") == [0] * PARTITIONS


def test_where_nothing_is_staged_in_a_free_part_nothing_is_logged(plant: Plant) -> None:
    plant.send(ndjson(row("only")))
    plant.work()
    partition = in_partitions(plant, "staging").index(1)
    hold(plant, LEASES[partition])
    with pytest.raises(LockHeld):
        loader.load(plant.engine, plant.settings)
    assert plant.rows("run_log", "seq") == []


class Halted:
    """A loader in a thread of its own, which waits inside its first chunk at a point until it may go on."""

    def __init__(self, plant: Plant, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
        self.is_there, self.may_go_on = threading.Event(), threading.Event()
        self.pool = ThreadPoolExecutor(1)
        self.engine = install.prepare(StoreSettings.load())

        def reach(reached: str) -> None:
            if reached == point and threading.current_thread() in self.pool._threads:
                self.is_there.set()
                assert self.may_go_on.wait(SECONDS)

        monkeypatch.setattr(loader, "reach", reach)
        monkeypatch.setattr(merge, "reach", reach)
        self.result = self.pool.submit(loader.load, self.engine, plant.settings, "slow/00:2:bb")
        assert self.is_there.wait(SECONDS), self.result.result(0)

    def go_on(self) -> loader.Run:
        self.may_go_on.set()
        return self.result.result(SECONDS)

    def close(self) -> None:
        self.may_go_on.set()
        self.pool.shutdown()
        self.engine.dispose()


Halt = Callable[[str], Halted]


@pytest.fixture
def halt(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Iterator[Halt]:
    made: list[Halted] = []

    def begin(point: str) -> Halted:
        made.append(Halted(plant, monkeypatch, point))
        return made[-1]

    yield begin
    for each in made:
        each.close()


@pytest.mark.parametrize("point", ["load.judged", "load.lineage_written", "load.merged"])
def test_a_loader_does_not_wait_for_the_rows_of_another(staged: Plant, halt: Halt, point: str) -> None:
    halted = halt(point)
    waiting = in_partitions(staged, "staging")
    run = loader.load(staged.engine, staged.settings)
    assert run.chunks == PARTITIONS - 1
    assert sorted(in_partitions(staged, "staging")) == sorted([0, 0, 60 - run.rows])
    assert halted.go_on().rows == 60 - run.rows in waiting
    assert in_partitions(staged, "staging") == [0] * PARTITIONS
    assert staged.violations() == []


def test_a_new_file_does_not_wait_for_a_chunk_that_is_written(staged: Plant, halt: Halt) -> None:
    halted = halt("load.merged")
    found = Delivery("d" * 32, "file", "default", "new.ndjson", "c" * 32, "f")
    impatient = database.existing(StoreSettings.load(busy_timeout_seconds=1.0))
    assert registered(lambda _: found, impatient, print) == found
    record(Sent(), impatient, found, format="ndjson", bytes=1, seconds=0.1)
    impatient.dispose()
    assert not halted.result.done()
    assert [each["file"] for each in staged.rows("deliveries", "seq")][-1] == "new.ndjson"


def test_what_loaders_share_is_that_of_both(staged: Plant, halt: Halt) -> None:
    """Both count the same batches, move one watermark and have each their run."""
    halted = halt("load.merged")
    quick = loader.load(staged.engine, staged.settings)
    slow = halted.go_on()
    assert (slow.number, quick.number) == (1, 2)
    first, second = staged.rows("batches", "seq")
    assert (first["superseded"], second["inserted"]) == (30, 30)
    runs = staged.rows("run_log", "seq")
    assert [each["status"] for each in runs] == ["succeeded", "succeeded"]
    assert [each["inserted"] for each in runs] == [slow.inserted, quick.inserted]
    assert staged.violations() == []


def test_the_watermark_is_the_greatest_whoever_comes_last(plant: Plant, halt: Halt) -> None:
    many = [row(f"k{number}", ts=f"2025-01-{number + 1:02}T00:00:00Z") for number in range(30)]
    plant.send(ndjson(*many))
    plant.work()
    halted = halt("load.merged")
    loader.load(plant.engine, plant.settings)
    halted.go_on()
    [watermark] = plant.rows("watermarks", "source")
    assert watermark["value"] == "2025-01-30T00:00:00.000000Z"
    moves = plant.rows("watermark_history", "id")
    assert [each["previous"] for each in moves[1:]] == [each["value"] for each in moves[:-1]]
    assert sorted(each["value"] for each in moves) == [each["value"] for each in moves]
    assert plant.violations() == []


def test_a_watermark_is_not_moved_back_by_a_loader_that_read_it_before_another_moved_it(
    plant: Plant, halt: Halt
) -> None:
    """Each partition has a batch of its own: they share nothing but the source's watermark."""
    plant.send(ndjson(*(row(f"k{number}") for number in range(30))))
    plant.work()
    late, early = [next(each["key"] for each in plant.rows(f"staging_{n}_of_{PARTITIONS}")) for n in (0, 1)]
    plant.load()
    for key, ts in ((late, "2025-03-01T00:00:00Z"), (early, "2025-02-01T00:00:00Z")):
        plant.send(ndjson(row(key, ts=ts)), f"{key}.ndjson")
        plant.work()
    halted = halt("load.watermark_moved")
    with ThreadPoolExecutor(1) as pool:
        quick = pool.submit(loader.load, plant.engine, plant.settings)
        deadline = time.monotonic() + SECONDS
        while not quick.done() and not somebody_waits():
            assert time.monotonic() < deadline
        halted.go_on()
        quick.result(SECONDS)
    [watermark] = plant.rows("watermarks", "source")
    assert watermark["value"] == "2025-03-01T00:00:00.000000Z"
    assert plant.violations() == []


def somebody_waits() -> bool:
    """For a lock of this database."""
    other = database.open_engine(StoreSettings.load())
    with database.reading(other) as connection:
        found = connection.exec_driver_sql(WAITING).scalar_one()
    other.dispose()
    return bool(found)


def test_a_run_whose_loader_lives_is_not_interrupted_and_one_whose_lease_ran_out_is(
    staged: Plant, halt: Halt
) -> None:
    halted = halt("load.judged")
    loader.load(staged.engine, staged.settings)
    assert [each["status"] for each in staged.rows("run_log", "seq")] == ["running", "succeeded"]
    with database.transaction(staged.engine) as connection:
        connection.execute(leases.locks.update().values(expires_at="2025-01-01T00:00:00.000000Z"))
    staged.run(ndjson(row("more")), "third.ndjson")
    assert staged.rows("run_log", "seq")[0]["status"] == "interrupted"
    halted.may_go_on.set()


def test_a_loader_that_slept_through_its_lease_of_a_part_writes_nothing(staged: Plant, halt: Halt) -> None:
    halted = halt("load.judged")
    with database.transaction(staged.engine) as connection:
        connection.execute(leases.locks.update().values(expires_at="2025-01-01T00:00:00.000000Z"))
    loader.load(staged.engine, staged.settings)
    with pytest.raises(LockLost):
        halted.go_on()
    assert len(staged.rows()) == 30
    assert staged.violations() == []


def test_where_a_run_has_no_time_for_all_partitions_what_has_waited_longest_comes_first(
    staged: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(PARTITIONS):
        has_time = iter([True, False, False])  # for one chunk
        monkeypatch.setattr(loader, "_has_time", lambda *_, answers=has_time: next(answers))
        assert loader.load(staged.engine, staged.settings).chunks == 1
        staged.send(ndjson(*(row(f"k{each}", value=number) for each in range(30))), f"more{number}.ndjson")
        staged.work()
    for each in staged.rows("batches", "seq")[:2]:
        assert each["staged"] == each["inserted"] + each["superseded"] == 30
    assert staged.violations() == []


def test_tables_that_have_other_partitions_now_end_a_chunk(
    staged: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reach(point: str) -> None:
        if point == "load.chunk_begun":
            monkeypatch.setattr(install, "partitions", lambda _: (None,))

    monkeypatch.setattr(loader, "reach", reach)
    with pytest.raises(LockLost, match=r"no partition \d_of_3 any more"):
        loader.load(staged.engine, staged.settings)
    assert staged.rows() == []


def test_digest_and_outcomes_are_those_of_whole_tables(
    staged: Plant, make_plant: Callable[[], Plant], empty_template: str, postgresql_database: MakeDatabase
) -> None:
    staged.load()
    digest = staged.digest()
    whole = make_plant()
    whole.move_to(postgresql_database(empty_template))
    many = [row(f"k{number}", value=number) for number in range(30)]
    whole.run(ndjson(*many), "first.ndjson")
    whole.run(ndjson(*(each | {"value": -1.5} for each in many)), "second.ndjson")
    assert whole.digest() == digest
    with database.reading(whole.engine) as connection:
        assert install.partitions(connection) == (None,)


def test_init_says_the_partitions_and_refuses_to_change_them(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"in {PARTITIONS} partitions" in CliRunner().invoke(app, ["init"]).stdout
    monkeypatch.setenv("SLUICE_PARTITIONS", "5")
    with pytest.raises(ConfigError, match=r"partitions = 5, .* made in 3 partitions: .*`store copy --to`"):
        CliRunner().invoke(app, ["init"], catch_exceptions=False, standalone_mode=False)
    found = store_asked.schema_of(plant.engine, (), 5, may_change=True)
    assert (found.verdict, "in 3 partitions" in found.found) == ("warning", True)
    found = store_asked.schema_of(plant.engine, (), 1, may_change=True)
    assert (found.verdict, "in 3 partitions" in found.found) == ("ok", True)

"""PostgreSQL: batches are staged at the same time; what they share, they write one after another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from store import database
from store.database import install, records
from store.dead_letters import actions
from store.tables import batches, deliveries
from worker import jobs, loader
from worker.batch import receive
from worker.queue.message import Message
from worker.workplace import Workplace

from ...plant import Plant, ndjson, row

pytestmark = pytest.mark.postgresql("SQLite has one writer")

SECONDS = 20.0


class Halted:
    """A batch in a thread of its own, which waits at a point of its transaction until it may go on."""

    def __init__(self, message: Message, point: str, pool: ThreadPoolExecutor) -> None:
        self.message = message
        self.point = point
        self.is_there, self.may_go_on = threading.Event(), threading.Event()
        self._thread: int | None = None
        self.result: Future[Any] = pool.submit(self._process)

    def _process(self) -> Any:
        self._thread = threading.get_ident()
        return jobs.process_batch(self.message.to_wire())

    def reach(self, point: str) -> None:
        if point == self.point and threading.get_ident() == self._thread:
            self.is_there.set()
            assert self.may_go_on.wait(SECONDS)

    def go_on(self) -> Any:
        self.may_go_on.set()
        return self.result.result(SECONDS)


Halt = Callable[..., Halted]


@pytest.fixture
def halt(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Iterator[Halt]:
    """Halts batches where they have written rows of their own, and nothing that they share."""
    monkeypatch.setattr(Workplace, "redis", lambda _: plant.redis)
    halted: list[Halted] = []
    pool = ThreadPoolExecutor(4)

    def begin(message: Message, point: str = "batch.staged") -> Halted:
        halted.append(Halted(message, point, pool))
        assert halted[-1].is_there.wait(SECONDS), halted[-1].result.result(0)
        return halted[-1]

    monkeypatch.setattr(receive, "reach", lambda point: [each.reach(point) for each in halted])
    yield begin
    for each in halted:
        each.may_go_on.set()
    pool.shutdown()


def messages(plant: Plant, *contents: bytes) -> list[Message]:
    """One batch of each."""
    # The first makes the columns, and what is known of the contract.
    plant.run(ndjson(row("first")), "first.ndjson")
    return [
        plant.messages(plant.file(content, f"{number}.ndjson"))[0] for number, content in enumerate(contents)
    ]


def keys(plant: Plant) -> list[str]:
    return sorted(each["key"] for each in plant.rows())


def test_a_batch_does_not_wait_for_another_that_writes(plant: Plant, halt: Halt) -> None:
    slow, quick = messages(plant, ndjson(row("slow")), ndjson(row("quick")))
    halted = halt(slow)
    assert jobs.process_batch(quick.to_wire())["staged"] == 1
    plant.load()
    assert keys(plant) == ["first", "quick"]
    assert halted.go_on()["staged"] == 1
    plant.load()
    assert keys(plant) == ["first", "quick", "slow"]
    assert plant.violations() == []


@pytest.mark.parametrize("point", ["load.chunk_begun", "load.judged", "load.lineage_written", "load.merged"])
def test_a_batch_with_a_lower_number_that_comes_to_light_while_a_chunk_is_loaded_is_the_next_ones(
    plant: Plant, halt: Halt, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """A chunk is all rows of its batches, and not all rows up to a number: those would be lost."""
    slow, quick = messages(plant, ndjson(row("slow"), {"key": "bad"}), ndjson(row("quick")))
    halted = halt(slow)
    jobs.process_batch(quick.to_wire())

    def reach(reached: str) -> None:
        if reached == point and not halted.may_go_on.is_set():
            halted.go_on()

    monkeypatch.setattr(loader, "reach", reach)
    monkeypatch.setattr(loader.merge, "reach", reach)
    plant.load()
    assert halted.may_go_on.is_set()
    plant.load()
    assert keys(plant) == ["first", "quick", "slow"]
    assert plant.violations() == []


def test_between_the_looks_of_one_chunk_a_lower_number_comes_to_light(
    plant: Plant, halt: Halt, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = messages(plant, ndjson(row("slow")), ndjson(row("quick")))
    halted = halt(slow)
    jobs.process_batch(quick.to_wire())
    counted = loader.chunk.staging.rows_by_batch

    def count(*given: Any) -> dict[int, int]:
        found = counted(*given)
        if not halted.may_go_on.is_set():
            halted.go_on()
        return found

    monkeypatch.setattr(loader.chunk.staging, "rows_by_batch", count)
    plant.load()
    assert keys(plant) == ["first", "quick", "slow"]  # in two chunks
    assert plant.violations() == []
    assert [run["chunks"] for run in plant.rows("run_log", "seq")] == [1, 2]


def test_batches_with_the_same_bad_payload_take_turns(plant: Plant, halt: Halt) -> None:
    bad = {"key": "bad", "ts": "never"}
    slow, quick = messages(plant, ndjson(row("slow"), bad), ndjson(bad, row("quick")))
    halted = halt(slow, "batch.dead_letters")
    with ThreadPoolExecutor(1) as second:
        waiting = second.submit(jobs.process_batch, quick.to_wire())
        with pytest.raises(TimeoutError):
            waiting.result(0.2)
        halted.go_on()
        assert waiting.result(SECONDS)["rejected"] == 1
    [letter] = plant.letters()
    assert letter.occurrences == 2
    assert plant.violations() == []


def test_an_accepted_payload_closes_the_letter_that_came_back_meanwhile(plant: Plant, halt: Halt) -> None:
    """What a batch saw of letters before its turn, it looks at again in it."""
    without_zone = ndjson(row("a", "2025-01-15T08:00:00"))
    messages(plant)
    plant.configure('[sources.default]\nassume_tz = "reject"\n')
    plant.run(without_zone, "rejected.ndjson")
    assert plant.reasons() == ["invalid_timestamp"]
    plant.configure("")
    [accepted] = plant.messages(plant.file(without_zone + ndjson({"key": "bad"}), "accepted.ndjson"))
    sending = plant.action()
    assert sending is not None
    halted = halt(accepted)
    with database.transaction(plant.engine) as connection:
        actions.withdraw_unsent(connection, sending.action.seq)
    assert plant.reasons() == ["invalid_timestamp"]
    halted.go_on()
    assert plant.reasons() == ["missing_timestamp"]
    assert [letter.reason for letter in plant.letters("resolved")] == ["invalid_timestamp"]
    assert plant.violations() == []


def test_a_delivery_that_nobody_knows_is_registered_in_turn(plant: Plant, halt: Halt) -> None:
    """After a restore both a producer and a worker may register it: neither waits for what the other waits for."""
    slow, quick = messages(plant, ndjson(row("slow"), {"key": "bad"}), ndjson(row("quick")))
    with database.transaction(plant.engine) as connection:
        connection.execute(text("DELETE FROM deliveries WHERE seq > 1"))
    halted = halt(slow)
    together = ThreadPoolExecutor(1)

    def register() -> int:
        with database.transaction(plant.engine) as connection:
            return deliveries.begin(connection, slow.delivery)

    registered = together.submit(register)
    with pytest.raises(TimeoutError):
        registered.result(0.2)
    assert halted.go_on()["staged"] == 1
    assert registered.result(SECONDS) == number_of_delivery(plant, slow)
    jobs.process_batch(quick.to_wire())
    plant.load()
    assert plant.violations() == []
    together.shutdown()


def number_of_delivery(plant: Plant, message: Message) -> int:
    with database.reading(plant.engine) as connection:
        [number] = batches.numbers(connection, [message.id])
        found = text("SELECT delivery_seq FROM batches WHERE seq = :number")
        return int(connection.execute(found, {"number": number}).scalar_one())


def test_a_new_field_waits_for_a_batch_that_writes_and_both_are_done(plant: Plant, halt: Halt) -> None:
    slow, quick = messages(plant, ndjson(row("slow"), {"key": "bad"}), ndjson(row("quick")))
    halted = halt(slow)
    together = ThreadPoolExecutor(2)
    with database.reading(plant.engine) as connection:
        held = install.contract_columns(connection)
    more = (*held, records.ContractColumn("colour", "text"))
    changed = together.submit(install.add_contract_columns, plant.engine, more)
    with pytest.raises(TimeoutError):
        changed.result(0.2)
    later = together.submit(jobs.process_batch, quick.to_wire())
    assert halted.go_on()["rejected"] == 1
    changed.result(SECONDS)
    assert later.result(SECONDS)["staged"] == 1
    plant.load()
    assert "colour" in plant.column_types("target")
    assert plant.violations() == []
    together.shutdown()


def test_a_batch_that_two_workers_have_is_stored_once(plant: Plant, halt: Halt) -> None:
    [message] = messages(plant, ndjson(row("a"), {"key": "bad"}))
    halted = halt(message)
    with ThreadPoolExecutor(1) as second:
        doubled = second.submit(jobs.process_batch, message.to_wire())
        with pytest.raises(TimeoutError):
            doubled.result(0.2)
        assert halted.go_on()["staged"] == 1
        assert doubled.result(SECONDS) == {"batch": message.id, "processed_before": True}
    plant.load()
    assert [letter.occurrences for letter in plant.letters()] == [1]
    assert plant.violations() == []

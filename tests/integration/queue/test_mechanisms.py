"""Mechanisms behind other mechanisms: each must hold by itself, where the one before it does not.

What is here was found by `make mutants`: taken out alone, no other test noticed.
"""

from __future__ import annotations

import re
from itertools import permutations
from typing import Any

import pytest
from rq.registry import ScheduledJobRegistry
from sqlalchemy import Connection, event

from store import database
from store.errors import LockLost
from store.tables import leases
from worker import jobs, loader
from worker.batch import poison as attempts
from worker.judge import stages
from worker.queue.client import ATTEMPTS
from worker.queue.identity import halves
from worker.queue.message import Message
from worker.queue.names import LOADER_QUEUE
from worker.queue.quarantine import SET_ASIDE_KEY
from worker.queue.upkeep.maintenance import enqueue_due, recover_popped
from worker.workplace import Workplace, workplace

from ..plant import Plant, ndjson, row


def test_a_second_delivery_is_not_judged_again(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    [message] = plant.messages(plant.file(ndjson(row())))
    plant.send_messages([message])
    plant.work()

    def judge(*_: object) -> None:
        raise AssertionError("judged again")

    monkeypatch.setattr(stages, "judge_batch", judge)
    monkeypatch.setattr(Workplace, "redis", lambda _: plant.redis)

    assert jobs.process_batch(message.to_wire()) == {"batch": message.id, "processed_before": True}


def test_the_note_that_a_letter_was_published_does_not_wait_for_the_disk_and_all_else_does(
    plant: Plant, plant_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_SYNCHRONOUS", "FULL")
    asked, off = {
        "sqlite": ("PRAGMA synchronous", 1), "postgresql": ("SHOW synchronous_commit", "off"),
    }[plant_backend]  # fmt: skip
    if plant_backend == "postgresql":  # the server of the tests waits for no disk
        with database.transaction(plant.engine) as connection:
            connection.exec_driver_sql("SET synchronous_commit = on")

    def level(connection: Connection) -> object:
        return connection.exec_driver_sql(asked).scalar_one()

    with database.transaction(plant.engine) as connection:
        usual = level(connection)
    with database.transaction(plant.engine, lasting=False) as connection:
        assert level(connection) == off != usual
    with pytest.raises(ZeroDivisionError), database.transaction(plant.engine, lasting=False) as connection:
        connection.execute(leases.locks.insert().values(name="x", holder="y", expires_at="z"))
        raise ZeroDivisionError
    with database.transaction(plant.engine) as connection:
        assert level(connection) == usual
        assert connection.execute(leases.locks.select()).all() == []


def test_a_worker_that_has_staged_much_wakes_the_loader_once(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_LOAD_WHEN_STAGED", "4")
    plant.send(ndjson(*(row(f"k{number}") for number in range(7))), batch_records=1)
    plant.work()
    assert plant.broker.waiting(LOADER_QUEUE) == 1
    plant.work(LOADER_QUEUE)
    assert len(plant.rows()) == 7


@pytest.mark.parametrize("wanted", [True, False])
def test_the_loader_is_woken_by_an_empty_queue_if_that_is_wanted(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    monkeypatch.setenv("SLUICE_LOAD_ON_IDLE", str(wanted))
    plant.send(ndjson(row("a"), row("b"), {"key": "bad"}), batch_records=1)
    plant.work()
    assert plant.broker.waiting(LOADER_QUEUE) == int(wanted)
    plant.send(ndjson({"key": "worse"}))
    plant.work(LOADER_QUEUE)
    plant.work()  # nothing staged: nobody is woken for it
    assert plant.broker.waiting(LOADER_QUEUE) == 0


@pytest.mark.parametrize("loads", ["after each", "at the end"])
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_repeat_of_the_first_delivery_beats_the_second_in_whatever_order_they_are_processed(
    plant: Plant, order: tuple[int, ...], loads: str
) -> None:
    [first], [second], [repeat] = (
        plant.messages(plant.file(ndjson(row(value=value), row(own)), f"{own}.ndjson"))
        for own, value in (("x", 1), ("y", 2), ("z", 1))
    )
    sent = (first, second, repeat)
    for number in order:
        plant.send_messages([sent[number]])
        plant.work()
        if loads == "after each":
            plant.load()
    plant.load()

    assert [each["value"] for each in plant.rows() if each["key"] == "a"] == [1.0]
    assert plant.violations() == []


def test_a_batch_is_staged_without_a_look_at_what_the_store_holds(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workplace, "redis", lambda _: plant.redis)
    plant.run(ndjson(row("a"), row("b")))
    [message] = plant.messages(plant.file(ndjson(row("a"), row("b"), row("b"), row("c"))))
    reported: list[str] = []

    def listen(*args: Any) -> None:
        reported.append(args[2])

    with workplace().database() as engine:
        event.listen(engine, "before_cursor_execute", listen)
        assert jobs.process_batch(message.to_wire())["staged"] == 4
        event.remove(engine, "before_cursor_execute", listen)

    reads = [each for each in reported if each.startswith("SELECT")]
    assert reads
    assert not [each for each in reads if re.search("FROM (target|staging|past_lineage)", each)]


def test_a_loader_whose_lease_was_taken_over_loads_nothing_more(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.send(ndjson(row("a"), row("b")), batch_records=1)
    plant.work()
    loaded = []

    def load_chunk(*args: object) -> object:
        if loaded:  # between two chunks the lease ran out, and another took it
            with database.transaction(plant.engine) as connection:
                connection.execute(leases.locks.update().values(holder="another:1:x"))
        found = real(*args)  # type: ignore[arg-type]
        loaded.append(found)
        return found

    real = loader._load_chunk
    monkeypatch.setattr(loader, "_load_chunk", load_chunk)
    monkeypatch.setenv("SLUICE_LOAD_CHUNK_RECORDS", "1")

    with pytest.raises(LockLost):
        loader.load(plant.engine, plant.settings)

    assert len(plant.rows()) == 1
    assert len(plant.rows("staging")) == 1


@pytest.mark.parametrize("id", [b"\xff\xfe", b"a b", b"", b"../x", b"\x1b[2J"])
def test_what_cannot_be_a_jobs_id_is_set_aside_and_stops_nobody(plant: Plant, id: bytes) -> None:
    queue = plant.broker.queue()
    plant.redis.rpush(queue.key, id)
    plant.redis.rpush(queue.intermediate_queue_key, id)
    plant.send(ndjson(row()))

    assert recover_popped(plant.redis, queue, 0) == 0
    plant.work()

    assert len(plant.rows("batches", "seq")) == 1
    assert plant.redis.lrange(SET_ASIDE_KEY, 0, -1) == [id, id]
    assert plant.redis.llen(queue.intermediate_queue_key) == 0


@pytest.mark.parametrize(
    "fields",
    [{"status": "queued"}, {"data": "x", "created_at": "yesterday"}, {"data": "x", "status": b"\xff"}],
)
def test_what_cannot_be_read_as_a_job_is_set_aside_and_stops_nobody(
    plant: Plant, fields: dict[str, str | bytes]
) -> None:
    queue = plant.broker.queue()
    plant.redis.hset("rq:job:odd", mapping=fields)  # type: ignore[arg-type]
    plant.redis.rpush(queue.key, "odd")
    plant.send(ndjson(row()))

    plant.work()

    assert len(plant.rows("batches", "seq")) == 1
    assert plant.redis.lrange(SET_ASIDE_KEY, 0, -1) == [b"odd"]
    assert plant.redis.exists("rq:job:odd")  # nothing is dropped


def test_what_another_serializer_left_in_a_job_of_ours_is_not_read(plant: Plant) -> None:
    sent = plant.send(ndjson(row()))
    strange = dict.fromkeys(
        ["meta", "webhooks", "dependency_ids", "dependency_id", "group_id"], b"\x80\x05\xff."
    )
    plant.redis.hset(f"rq:job:{sent.ids[0]}", mapping=strange)  # type: ignore[arg-type]

    plant.work()

    assert len(plant.rows("batches", "seq")) == 1
    assert plant.status(sent.ids[0]) == "finished"


def test_a_batch_outlasts_a_database_that_is_away_for_longer_than_it_has_attempts(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_BUSY_TIMEOUT_SECONDS", "0.01")
    monkeypatch.setenv("SLUICE_RETRY_INTERVALS_SECONDS", "[60]")
    plant.run(ndjson(row("before")))  # a worker has made sure of the tables before it takes a batch
    sent = plant.send(ndjson(row()), name="next.ndjson")
    scheduled = ScheduledJobRegistry(queue=plant.broker.queue())  # type: ignore[no-untyped-call]
    with plant.locked():
        for _ in range(ATTEMPTS + 2):
            plant.work()
            assert plant.status(sent.ids[0]) == "scheduled"
            plant.redis.zadd(scheduled.key, {sent.ids[0]: 1})  # as if the wait were over
            enqueue_due(plant.redis, plant.broker.queue())
    plant.work()

    assert len(plant.rows("batches", "seq")) == 2


def suspected(plant: Plant, *keys: str) -> Message:
    """A batch that has killed as many workers as are tolerated."""
    [message] = plant.messages(plant.file(ndjson(*map(row, keys))))
    plant.send_messages([message])
    for _ in range(attempts.TOLERATED):
        attempts.begin(plant.redis, message)
    return message


def test_a_batch_that_killed_its_workers_is_tried_in_halves(plant: Plant) -> None:
    message = suspected(plant, "a", "b", "c")

    plant.work()
    plant.load()

    kinds = {each["id"]: each["kind"] for each in plant.rows("batches", "seq")}
    assert kinds == {message.id: "split", **{part.id: "file" for part in halves(message)}}
    assert [each["key"] for each in plant.rows()] == ["a", "b", "c"]
    assert plant.violations() == []


def test_a_batch_that_was_cut_is_not_cut_or_judged_when_it_is_delivered_again(plant: Plant) -> None:
    message = suspected(plant, "a", "b")
    plant.work()

    plant.broker.send([message])
    plant.work()

    assert len(plant.rows("batches", "seq")) == 3
    assert plant.send_messages([message]).known_batches == 1


def test_a_single_record_that_killed_its_workers_is_poison_and_not_judged(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspected(plant, "a")
    monkeypatch.setattr(stages, "judge_batch", None)

    plant.work()

    assert plant.reasons() == ["poison"]


def test_a_batch_whose_wait_is_over_goes_before_what_was_sent_after_it(plant: Plant) -> None:
    queue = plant.broker.queue()
    [first] = plant.send(ndjson(row("a"))).ids
    plant.redis.lpop(queue.key)
    scheduled = ScheduledJobRegistry(queue=queue)  # type: ignore[no-untyped-call]
    plant.redis.zadd(scheduled.key, {first: 1})
    [second] = plant.send(ndjson(row("b")), name="next.ndjson").ids

    assert enqueue_due(plant.redis, queue) == 1

    assert queue.job_ids == [first, second]

"""Redis loses what it held: every batch is known only as far as the store has it, and nothing is lost in silence."""

from __future__ import annotations

import logging

import pytest
from rq.registry import ScheduledJobRegistry

from store import database
from store.tables import batches
from worker.batch import poison as attempts
from worker.cli.app import overview
from worker.processes.supervisor import Supervisor
from worker.queue import client, lost, wait
from worker.queue.identity import halves
from worker.queue.message import Message
from worker.queue.names import RECORDS_QUEUE
from worker.queue.rq_jobs import SluiceJob
from worker.queue.upkeep.maintenance import enqueue_due, recover_abandoned, recover_popped
from worker.queue.wait import BatchesLost

from ..plant import Plant, ndjson, row

KEYS = list("abcdefgh")


def split(plant: Plant, keys: list[str]) -> Message:
    """A batch of these keys that was cut in two; its halves are on the queue."""
    [message] = plant.messages(plant.file(ndjson(*map(row, keys))))
    plant.send_messages([message])
    for _ in range(attempts.TOLERATED):
        attempts.begin(plant.redis, message)
    take(plant)
    assert plant.broker.queue().job_ids == [half.id for half in halves(message)]
    return message


def take(plant: Plant) -> None:
    """A worker that does one job; what the job itself sends comes after what waits."""
    first, *others = plant.broker.queue().job_ids
    held: list[Message] = []
    plant.redis.delete("rq:queue:records")
    plant.redis.rpush("rq:queue:records", first)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(client.Broker, "send", lambda _, messages: held.extend(messages))
        plant.work()
    if others:
        plant.redis.rpush("rq:queue:records", *others)
    if held:
        plant.broker.send(held)


def loaded(plant: Plant) -> list[str]:
    return [each["key"] for each in plant.rows()]


@pytest.mark.parametrize("done", [0, 1, 2])
def test_the_missing_parts_of_a_batch_that_was_split_are_sent_when_its_file_is_sent_again(
    plant: Plant, done: int
) -> None:
    message = split(plant, KEYS)
    for _ in range(done):
        take(plant)
    plant.redis.flushall()

    again = plant.send_messages([message])

    assert (again.sent_batches, again.known_batches) == ((1, 0) if done < 2 else (0, 1))
    assert plant.broker.queue().job_ids == [half.id for half in halves(message)][done:]
    plant.work()
    plant.load()
    assert loaded(plant) == KEYS
    assert plant.violations() == []
    assert plant.send_messages([message]).known_batches == 1


def test_the_missing_parts_of_a_part_are_sent_too(plant: Plant) -> None:
    message = split(plant, KEYS)
    first, second = halves(message)
    for _ in range(attempts.TOLERATED):
        attempts.begin(plant.redis, first)
    take(plant)  # cuts the first half
    assert plant.broker.queue().job_ids == [second.id, *(part.id for part in halves(first))]
    take(plant)
    take(plant)
    plant.redis.flushall()

    assert plant.send_messages([message]).sent_batches == 1

    assert plant.broker.queue().job_ids == [halves(first)[1].id]
    plant.work()
    plant.load()
    assert loaded(plant) == KEYS


def test_a_batch_that_was_split_and_is_delivered_again_sends_what_its_parts_lack(plant: Plant) -> None:
    message = split(plant, KEYS)
    plant.redis.flushall()
    plant.broker.send([message])

    plant.work()
    plant.load()

    assert loaded(plant) == KEYS
    assert plant.violations() == []


def test_waiting_for_a_batch_that_was_split_ends_when_its_parts_are_loaded(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = split(plant, KEYS)
    plant.redis.flushall()
    sent = plant.send_messages([message])
    steps = [plant.work, plant.load]
    monkeypatch.setattr(wait.time, "sleep", lambda _: steps.pop(0)())

    wait.wait_until_loaded(sent.ids, plant.broker, plant.engine, lambda _: None)

    assert wait.summary(sent.ids, plant.engine)["staged"] == len(KEYS)


def test_waiting_for_what_redis_has_lost_ends_with_an_error(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = plant.send(ndjson(*map(row, KEYS)), batch_records=2)
    plant.work()
    more = plant.send(ndjson(row("z")), "more.ndjson")
    plant.redis.flushall()
    monkeypatch.setattr(wait.time, "sleep", lambda _: None)

    with pytest.raises(BatchesLost, match="1 of 5 batches are neither processed nor on the queue"):
        wait.wait_until_loaded([*sent.ids, *more.ids], plant.broker, plant.engine, lambda _: None)


# The time to live of a finished job, and ids without their jobs


def test_a_job_that_is_sent_again_does_not_keep_the_time_to_live_of_the_finished_one(plant: Plant) -> None:
    [message] = plant.messages(plant.file(ndjson(row())))
    plant.send_messages([message])
    plant.work()
    key = f"rq:job:{message.id}"
    assert plant.redis.ttl(key) > 0

    plant.broker.send([message])

    assert plant.redis.ttl(key) == -1


@pytest.mark.parametrize("way", ["due", "popped", "abandoned"])
def test_a_job_that_comes_back_to_the_queue_does_not_expire_there(plant: Plant, way: str) -> None:
    [id] = plant.send(ndjson(row())).ids
    queue = plant.broker.queue()
    plant.redis.expire(f"rq:job:{id}", 60)
    put_at(plant, id, way)

    assert back(plant, way) == 1

    assert plant.redis.ttl(f"rq:job:{id}") == -1
    if way == "abandoned":
        enqueue_due_now(plant)
    assert queue.job_ids == [id]


def put_at(plant: Plant, id: str, way: str) -> None:
    """The job is not on the queue, but where it is brought back from."""
    queue = plant.broker.queue()
    plant.redis.delete(queue.key)
    if way == "due":
        plant.redis.zadd(ScheduledJobRegistry(queue=queue).key, {id: 1})  # type: ignore[no-untyped-call]
    elif way == "popped":
        plant.redis.rpush(queue.intermediate_queue_key, id)
    else:
        plant.redis.zadd(queue.started_job_registry.key, {f"{id}:execution": 1})


def back(plant: Plant, way: str) -> int:
    queue = plant.broker.queue()
    if way == "due":
        return enqueue_due(plant.redis, queue)
    return (
        recover_popped(plant.redis, queue, 0)
        if way == "popped"
        else recover_abandoned(plant.redis, queue, 12)
    )


def enqueue_due_now(plant: Plant) -> None:
    key = "rq:scheduled:records"
    for id in plant.redis.zrange(key, 0, -1):
        plant.redis.zadd(key, {id: 1})
    enqueue_due(plant.redis, plant.broker.queue())


@pytest.mark.parametrize("way", ["taken", "due", "popped", "abandoned"])
def test_an_id_without_its_job_is_loud_and_counted_until_its_file_is_sent_again(
    plant: Plant, way: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "connect", lambda *_, **__: plant.redis)
    path = plant.file(ndjson(row()))
    [id] = plant.send(path).ids
    plant.redis.delete(f"rq:job:{id}")
    if way == "taken":
        plant.work()
    else:
        put_at(plant, id, way)
        assert back(plant, way) == 0

    reported = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert [f"batch {id} on" in each.getMessage() for each in reported] == [True]
    assert "send its file again" in caplog.text
    assert overview()["lost_batches"] == 1
    assert plant.broker.queue().job_ids == []
    assert plant.redis.llen(plant.broker.queue().intermediate_queue_key) == 0
    assert not plant.redis.exists(f"rq:job:{id}")  # a status alone is no job

    assert plant.send(path).sent_batches == 1
    assert overview()["lost_batches"] == 0
    plant.work()
    plant.load()
    assert loaded(plant) == ["a"]


def test_an_id_whose_batch_was_processed_after_all_counts_as_lost_no_more(plant: Plant) -> None:
    [id] = plant.send(ndjson(row())).ids
    plant.work()
    plant.redis.delete(f"rq:job:{id}")
    plant.redis.rpush("rq:queue:records", id)
    plant.work()
    assert plant.redis.hkeys(lost.KEY) == [id.encode()]

    assert lost.unsettled(plant.redis, plant.engine) == []

    assert plant.redis.hkeys(lost.KEY) == []


def test_a_burst_that_meets_an_id_without_its_job_counts_it(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    [id] = plant.send(ndjson(row())).ids
    plant.redis.delete(f"rq:job:{id}")
    monkeypatch.setattr(client, "connect", lambda *_, **__: plant.redis)
    monkeypatch.setattr(Supervisor, "_burst_round", lambda _, __: plant.work(RECORDS_QUEUE))
    monkeypatch.setattr(plant.redis, "close", lambda: None)

    assert Supervisor(1, "WARNING").burst().lost_batches == 1


def test_a_job_that_was_done_before_and_whose_batch_the_store_lacks_fails_aloud(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_RETRY_INTERVALS_SECONDS", "[0]")
    [id] = plant.send(ndjson(row())).ids
    plant.work()
    with database.transaction(plant.engine) as connection:  # as if it were restored from a backup
        for table in ("staging", "batches"):
            connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608
        assert batches.known(connection, [id]) == set()
    job = plant.broker.queue().fetch_job(id)
    assert isinstance(job, SluiceJob)
    job.forget_records()  # as a worker does in the end
    job.save()
    plant.redis.rpush("rq:queue:records", id)

    plant.work()

    assert plant.broker.failed([id]) == {id}

"""A system error is never a dead letter: the transaction rolls back and the job is tried again."""

from __future__ import annotations

from typing import Any

import pytest
from rq import Queue
from rq.registry import ScheduledJobRegistry

from store import database
from store.errors import StoreUnavailable
from store.tables import leases, staging
from worker import loader
from worker.batch import receive
from worker.queue.serializer import JsonSerializer
from worker.queue.upkeep.maintenance import enqueue_due
from worker.workplace import workplace

from ..plant import Plant, ndjson, row

MIXED = ndjson(row(), {"key": "bad"})


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_BUSY_TIMEOUT_SECONDS", "0.05")
    monkeypatch.setenv("SLUICE_RETRY_INTERVALS_SECONDS", "[60]")


def scheduled(plant: Plant) -> list[str]:
    registry = ScheduledJobRegistry(queue=plant.broker.queue())
    return list(registry.get_job_ids(cleanup=False))


def bring_back(plant: Plant) -> int:
    """As if the wait for the next attempt were over."""
    registry = ScheduledJobRegistry(queue=plant.broker.queue())
    for id in scheduled(plant):
        plant.redis.zadd(registry.key, {id: 1})
    return enqueue_due(plant.redis, plant.broker.queue())


def assert_untouched(plant: Plant) -> None:
    found = plant.report()
    assert (found["input_records"], found["pending"], found["dead_letters"]) == (0, 0, 0)
    assert found["lineage_entries"] == 0


def test_a_batch_that_meets_a_locked_database_is_scheduled_again_and_then_done(plant: Plant) -> None:
    sent = plant.send(MIXED)
    with plant.locked():
        plant.work()
        assert scheduled(plant) == sent.ids
        assert plant.status(sent.ids[0]) == "scheduled"
        assert_untouched(plant)
    plant.work()
    assert_untouched(plant)  # the wait is not over
    assert bring_back(plant) == 1
    assert scheduled(plant) == []
    plant.work()
    found = plant.report()
    assert (found["staged"], found["dead_letters"]) == (1, 1)
    assert plant.status(sent.ids[0]) == "finished"
    assert plant.violations() == []


def test_a_scheduled_job_whose_time_has_not_come_stays(plant: Plant) -> None:
    sent = plant.send(MIXED)
    with plant.locked():
        plant.work()
    assert enqueue_due(plant.redis, plant.broker.queue()) == 0
    assert scheduled(plant) == sent.ids


@pytest.mark.sqlite("its file")
def test_a_database_file_that_is_deleted_under_a_worker_does_not_come_back_empty(plant: Plant) -> None:
    plant.run(ndjson(row("before")))
    plant.database.unlink()
    (message,) = plant.messages(plant.file(MIXED))
    plant.broker.send([message])
    plant.work()
    assert scheduled(plant) == [message.id]
    assert not plant.database.exists()
    with pytest.raises(StoreUnavailable, match="restore it"), workplace().database():
        pass


@pytest.mark.sqlite("its file")
def test_a_database_file_that_is_replaced_under_a_worker_takes_no_record(plant: Plant) -> None:
    plant.run(ndjson(row("before")))
    plant.work()
    plant.file(b"", "empty.db").replace(plant.database)
    (message,) = plant.messages(plant.file(MIXED))
    plant.broker.send([message])
    plant.work()
    assert scheduled(plant) == [message.id]
    assert plant.database.stat().st_size == 0


@pytest.mark.parametrize("step", ["staging", "dead letters", "lineage"])
def test_a_failure_in_the_middle_of_a_batch_leaves_nothing_half_written(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: Any) -> None:
        raise StoreUnavailable("the disk is full")

    module, name = {
        "staging": (staging, "add"),
        "dead letters": (receive.states, "reject"),
        "lineage": (receive.lineage, "add_events"),
    }[step]
    sent = plant.send(MIXED)
    with monkeypatch.context() as broken:
        broken.setattr(module, name, fail)
        plant.work()
    assert scheduled(plant) == sent.ids
    assert_untouched(plant)
    bring_back(plant)
    plant.work()
    assert plant.report()["staged"] == 1
    assert plant.violations() == []


def test_a_lease_that_could_not_be_given_back_is_not_waited_for_by_the_process_that_had_it(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database went away in the midst of a run: the lease is still that of a process that lives."""

    def away(*_: Any) -> None:
        raise StoreUnavailable("the server is away")

    plant.send(ndjson(row()))
    plant.work()
    with monkeypatch.context() as broken:
        broken.setattr(leases, "release", away)
        broken.setattr(loader.merge, "merge_chunk", away)
        with pytest.raises(StoreUnavailable):
            loader.load(plant.engine, plant.settings)
    assert [each["status"] for each in plant.rows("run_log", "seq")] == ["failed"]
    assert loader.load(plant.engine, plant.settings).rows == 1


def test_a_locked_database_is_distinguished_from_a_broken_one(plant: Plant) -> None:
    here = workplace()
    with (
        plant.locked(),
        here.database() as engine,
        pytest.raises(StoreUnavailable, match="busy_timeout_seconds"),
        database.transaction(engine),
    ):
        pass


# Jobs that are not ours


def test_a_job_that_names_another_function_fails_and_is_not_run(plant: Plant) -> None:
    watermark = plant.home / "ran"
    queue = Queue("records", connection=plant.redis, serializer=JsonSerializer)
    job = queue.enqueue("os.mkdir", str(watermark))
    plant.work()
    assert plant.status(job.id) == "failed"
    assert plant.broker.failed([job.id]) == {job.id}
    assert not watermark.exists()


def test_a_job_that_is_a_pickle_is_not_read(plant: Plant) -> None:
    watermark = plant.home / "ran"
    job = Queue("records", connection=plant.redis).enqueue("os.mkdir", str(watermark))
    plant.send(MIXED)
    plant.work()
    assert not watermark.exists()
    assert plant.status(job.id) != "finished"
    assert plant.report()["input_records"] == 2  # it does not hold up what follows


def test_a_callback_of_a_job_is_not_run(plant: Plant) -> None:
    watermark = plant.home / "ran"
    sent = plant.send(MIXED)
    for name in ("success_callback_name", "failure_callback_name"):
        plant.redis.hset(f"rq:job:{sent.ids[0]}", name, "os.mkdir")
    plant.work()
    assert plant.status(sent.ids[0]) == "finished"
    assert not watermark.exists()


def test_a_message_of_a_version_that_is_not_read_fails_and_is_stored(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_RETRY_INTERVALS_SECONDS", "[0]")
    (message,) = plant.messages(plant.file(MIXED))
    wire = message.to_wire() | {"v": 1}
    monkeypatch.setattr(type(message), "to_wire", lambda _: wire)
    plant.broker.send([message])
    plant.work()
    assert plant.broker.failed([message.id]) == {message.id}
    assert plant.redis.exists(f"rq:job:{message.id}")
    assert_untouched(plant)


def test_a_batch_that_failed_for_good_is_sent_again_and_counts_as_failed_no_more(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_RETRY_INTERVALS_SECONDS", "[0]")

    def fail(*_: Any) -> None:
        raise RuntimeError("a bug")

    path = plant.file(MIXED)
    with monkeypatch.context() as broken:
        broken.setattr(receive, "store", fail)
        sent = plant.send(path)
        plant.work()
    assert plant.broker.failed(sent.ids) == set(sent.ids)
    again = plant.send(path)
    assert (again.sent_batches, again.known_batches) == (1, 0)
    assert plant.broker.failed(sent.ids) == set()
    plant.work()
    assert plant.report()["staged"] == 1
    assert plant.broker.failed(sent.ids) == set()

"""Jobs in Redis that somebody else wrote or changed: their fields are believed in nothing."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from worker.queue import packing
from worker.queue.rq_jobs import SluiceJob
from worker.queue.upkeep.maintenance import recover_abandoned
from worker.workplace import workplace

from ..plant import Plant, ndjson, row

TRUE = ndjson(row("a"), row("b"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_RETRY_INTERVALS_SECONDS", "[0]")


def test_a_batch_is_on_its_way_only_where_a_queue_or_registry_has_it(plant: Plant) -> None:
    path = plant.file(TRUE)
    [id] = plant.send(path).ids
    for status in ("queued", "started", "scheduled"):
        plant.redis.hset(f"rq:job:{id}", "status", status)
        plant.redis.delete("rq:queue:records")
        assert plant.broker.on_their_way([id]) == set()
    plant.redis.hset(f"rq:job:{id}", "status", "finished")
    for key, member in (("rq:wip:records", f"{id}:e"), ("rq:scheduled:records", id)):
        plant.redis.zadd(key, {member: 1e10})
        assert plant.broker.on_their_way([id]) == {id}
        plant.redis.delete(key)
    for key in ("rq:queue:records:intermediate", "rq:queue:records"):
        plant.redis.rpush(key, id)
        assert plant.broker.on_their_way([id]) == {id}
        plant.redis.delete(key)
    assert plant.send(path).sent_batches == 1


TERMS: dict[str, Any] = {
    "timeout": 1,
    "result_ttl": 0,
    "failure_ttl": 1,
    "ttl": 1,
    "retries_left": 10**9,
    "retry_intervals": "[1000000000]",
    "repeats_left": 5,
    "repeat_intervals": "[1]",
    "number_of_retries": 10**9,
    "enqueue_at_front": 1,
    "enqueue_at_front_on_retry": 1,
    "dependency_ids": '["x"]',
    "dependency_id": "x",
    "allow_dependency_failures": 1,
    "group_id": "g",
    "success_callback_name": "os.mkdir",
    "failure_callback_name": "os.mkdir",
    "stopped_callback_name": "os.mkdir",
    "success_callback_timeout": -1,
    "failure_callback_timeout": -1,
    "rate_limit_key": "k",
    "rate_limit_concurrency": 1,
}


def test_a_job_has_the_terms_of_its_worker_whatever_its_hash_says(plant: Plant) -> None:
    [id] = plant.send(TRUE).ids
    workplace()
    before = plant.broker.queue().fetch_job(id)
    assert before is not None
    plant.redis.hset(f"rq:job:{id}", mapping=TERMS)

    job = plant.broker.queue().fetch_job(id)

    assert job is not None
    for name in ("timeout", "result_ttl", "failure_ttl", "retry_intervals", "retries_left", "ttl"):
        assert getattr(job, name) == getattr(before, name), name
    assert (job.repeats_left, job._dependency_ids, job.has_rate_limit, job.group_id) == (
        None,
        [],
        False,
        None,
    )
    assert (job._success_callback_name, job._success_callback_timeout) == (None, None)
    plant.work()
    plant.load()
    assert len(plant.rows()) == 2
    assert plant.redis.ttl(f"rq:job:{id}") > 60
    assert plant.broker.waiting() == 0


def test_an_abandoned_batch_comes_back_whatever_its_status_says(plant: Plant) -> None:
    [id] = plant.send(TRUE).ids
    plant.redis.delete("rq:queue:records")
    plant.redis.hset(f"rq:job:{id}", "status", "finished")
    plant.redis.zadd("rq:finished:records", {id: 1e10})  # by an earlier job with its id
    plant.redis.zadd("rq:wip:records", {f"{id}:execution": 1})

    assert recover_abandoned(plant.redis, plant.broker.queue(), 12) == 1

    assert plant.broker.on_their_way([id]) == {id}


@pytest.mark.parametrize("arguments", [[], [1], ["x"], [None], [{}, {}], [[1]]])
def test_forged_arguments_stop_no_worker(plant: Plant, arguments: list[Any]) -> None:
    for number in range(6):
        job = SluiceJob.create(
            "worker.jobs.process_batch",
            args=arguments,
            id=f"job-{number}",
            connection=plant.redis,
            serializer=plant.broker.queue().serializer,
        )
        plant.broker.queue().enqueue_job(job)
    plant.work()
    assert len(plant.broker.failed([f"job-{number}" for number in range(6)])) == 6
    for number in range(6):
        reason = plant.redis.xrange(f"rq:results:job-{number}")
        assert reason


def test_a_job_that_unpacks_to_gigabytes_fails_and_stops_nobody(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "MAX_MESSAGE_BYTES", 1 << 20)
    fields = {"data": zlib.compress(bytes(20 << 20)), "status": "queued", "origin": "records"}
    plant.redis.hset("rq:job:bomb", mapping=fields)
    plant.redis.rpush("rq:queue:records", "bomb")
    plant.send(TRUE)

    plant.work()

    assert plant.broker.failed(["bomb"]) == {"bomb"}
    assert len(plant.rows("batches", "seq")) == 1

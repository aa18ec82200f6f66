"""Mechanisms behind other mechanisms: each must hold by itself, where the one before it does not.

What is here was found by `make mutants`: taken out alone, no other test noticed.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from store import database, locks, target
from store.errors import LockLost
from worker import jobs, loader, stages
from worker.recovery import recover_popped
from worker.set_aside import SET_ASIDE_KEY

from .plant import Plant, ndjson, row


def test_a_second_delivery_is_not_judged_again(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    [message] = plant.messages(plant.file(ndjson(row())))
    plant.send_messages([message])
    plant.work()

    def judge(*_: object) -> None:
        raise AssertionError("judged again")

    monkeypatch.setattr(stages, "judge_batch", judge)
    monkeypatch.setattr(jobs.Workplace, "redis", lambda _: plant.redis)

    assert jobs.process_batch(message.to_wire()) == {"batch": message.id, "processed_before": True}


def test_of_equal_times_the_same_version_stays_whichever_was_loaded_first(
    make_plant: Callable[[], Plant], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if both were staged before either was loaded: the target is not asked while staging.
    monkeypatch.setattr(target, "current", lambda *_: {})
    versions = [ndjson(row(value=1)), ndjson(row(value=2))]
    stayed = []
    for order in (versions, versions[::-1]):
        plant = make_plant()
        for version in order:
            plant.run(version)
        stayed.append([each["value"] for each in plant.rows()])
        assert plant.violations() == []

    assert stayed[0] == stayed[1]


def test_a_loader_whose_lease_was_taken_over_loads_nothing_more(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.send(ndjson(row("a"), row("b")), batch_records=1)
    plant.work()
    loaded = []

    def load_chunk(*args: object) -> object:
        if loaded:  # between two chunks the lease ran out, and another took it
            with database.transaction(plant.engine) as connection:
                connection.execute(locks.locks.update().values(holder="another:1:x"))
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

"""The clock of a producer, worker or loader may be hours wrong: nothing is lost, and nothing waits for the difference.

A process asks its host's clock through RQ's `now` and our `timestamps.now`, which is SQLite's too: both are set here.
Redis has a clock of its own, which decides.
"""

from __future__ import annotations

import datetime as real
import types
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from rq import utils
from rq.executions import Execution
from rq.job import Job

from producer.testing import ABANDONED_SECONDS
from store import database, timestamps
from worker.queue.rq_jobs import SluiceJob
from worker.queue.serializer import JsonSerializer
from worker.queue.server.clock import server_time
from worker.queue.upkeep.maintenance import LOCK_KEY, enqueue_due, maintain, recover_abandoned, recover_popped
from worker.workplace import workplace

from ..plant import Plant, ndjson, row

WRONG = [-2, 2]  # hours
SetClock = Callable[[float], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SetClock]:
    """Sets the clock of this process so many hours ahead."""
    right = timestamps.now

    def ahead(hours: float) -> None:
        class Shifted(real.datetime):
            @classmethod
            def now(cls, tz: real.tzinfo | None = None) -> Any:
                return real.datetime.now(tz) + timedelta(hours=hours)

        shifted = types.SimpleNamespace(**{**vars(real), "datetime": Shifted})
        monkeypatch.setattr(utils, "datetime", shifted)
        monkeypatch.setattr(timestamps, "now", lambda: right() + timedelta(hours=hours))

    yield ahead
    database.correct_host_clock(0)


def recent(key: str, minutes: float) -> dict[str, Any]:
    return row(
        key, timestamps.to_iso(timestamps.to_text(real.datetime.now(real.UTC) - timedelta(minutes=minutes)))
    )


@pytest.mark.parametrize("hours", WRONG)
@pytest.mark.parametrize("whose", ["producer", "worker", "loader"])
def test_whoever_has_a_wrong_clock_the_table_is_the_same(
    make_plant: Callable[[], Plant], set_clock: SetClock, whose: str, hours: float
) -> None:
    files = [
        ndjson(recent("a", 50), recent("b", 3), row("bad", value="x")),
        ndjson(recent("a", 1), recent("c", 2)),
    ]

    def run(who: str | None) -> Plant:
        plant = make_plant()
        for number, content in enumerate(files):
            for part, do in (
                ("producer", lambda content=content, number=number: plant.send(content, f"{number}.ndjson")),
                ("worker", plant.work),
                ("loader", plant.load),
            ):
                set_clock(hours if who == part else 0)
                do()
        set_clock(0)
        return plant

    expected = run(None).digest()
    plant = run(whose)
    assert plant.digest() == expected
    assert plant.reasons() == ["invalid_value"]
    now = timestamps.to_text(real.datetime.now(real.UTC))
    assert all(each["value"] < now for each in plant.rows("watermarks", "source"))
    assert all(each["processed_at"] <= now for each in plant.rows("batches", "seq"))
    assert plant.violations() == []


def take(plant: Plant) -> tuple[str, Job]:
    """A worker takes a batch and begins it: its id, and its job."""
    [id] = plant.send(ndjson(row())).ids
    queue = plant.broker.queue()
    plant.redis.delete(queue.key)
    job = SluiceJob.fetch(id, connection=plant.redis, serializer=JsonSerializer)
    with plant.redis.pipeline() as pipeline:
        Execution.create(job, int(ABANDONED_SECONDS), pipeline, worker_name="w")
        pipeline.execute()
    return id, job


def recover(plant: Plant) -> int:
    return recover_abandoned(plant.redis, plant.broker.queue(), ABANDONED_SECONDS)


@pytest.mark.parametrize("others", WRONG)
@pytest.mark.parametrize("hours", WRONG)
def test_a_dead_workers_batch_comes_back_when_its_heartbeat_expires_and_not_before(
    plant: Plant, set_clock: SetClock, hours: float, others: float
) -> None:
    set_clock(hours)
    id, _ = take(plant)
    set_clock(others)
    assert recover(plant) == 0
    assert plant.broker.on_their_way([id]) == {id}
    for key in plant.redis.keys("rq:execution:*"):  # its time is over
        plant.redis.delete(key)
    assert recover(plant) == 1
    assert plant.redis.zcard("rq:wip:records") == 0
    assert plant.broker.on_their_way([id]) == {id}


@pytest.mark.parametrize("hours", WRONG)
def test_a_retry_waits_for_its_interval_whatever_the_clock_of_its_worker(
    plant: Plant, set_clock: SetClock, hours: float
) -> None:
    set_clock(hours)
    take(plant)
    for key in plant.redis.keys("rq:execution:*"):
        plant.redis.delete(key)
    recover(plant)
    [found] = plant.redis.zrange("rq:scheduled:records", 0, -1, withscores=True)
    due = float(found[1])
    assert -2 <= due - server_time(plant.redis) <= plant.settings.retry_intervals_seconds[0]
    assert -2 <= plant.broker.seconds_to_retry() <= plant.settings.retry_intervals_seconds[0]


@pytest.mark.parametrize("hours", WRONG)
def test_a_popped_batch_is_put_back_in_time(plant: Plant, set_clock: SetClock, hours: float) -> None:
    [id] = plant.send(ndjson(row())).ids
    queue = plant.broker.queue()
    plant.redis.lmove(queue.key, queue.intermediate_queue_key)
    recover_popped(plant.redis, queue, 6)
    set_clock(hours)
    assert recover_popped(plant.redis, queue, 6) == 0
    assert recover_popped(plant.redis, queue, 0) == 1
    assert queue.job_ids == [id]


# --- the clock of Redis itself is set back: what was asked for until then ends an hour late ------------------------


def test_no_heartbeat_lasts_for_hours(plant: Plant) -> None:
    take(plant)
    [key] = plant.redis.keys("rq:execution:*")
    for seconds in (3600, None):
        plant.redis.expire(key, seconds) if seconds else plant.redis.persist(key)
        assert recover(plant) == 0
        assert 0 < plant.redis.ttl(key) <= ABANDONED_SECONDS


def test_no_retry_waits_for_longer_than_the_longest_interval(plant: Plant) -> None:
    workplace()  # the terms of this process
    longest = max(plant.settings.retry_intervals_seconds)
    for wait, due in ((longest, 0), (longest + 60, 1), (3600, 1)):
        [id] = plant.send(ndjson(row(f"{wait}")), f"{wait}.ndjson").ids
        plant.redis.delete("rq:queue:records", "rq:scheduled:records")
        plant.redis.zadd("rq:scheduled:records", {id: server_time(plant.redis) + wait})
        assert enqueue_due(plant.redis, plant.broker.queue()) == due


def test_no_lock_of_the_maintenance_lasts_for_hours(plant: Plant) -> None:
    plant.redis.set(LOCK_KEY + "records", 1, ex=3600)
    maintain(plant.redis, plant.broker.queue(), ABANDONED_SECONDS)
    assert plant.redis.ttl(LOCK_KEY + "records") <= 10


# --- what is forgotten ---------------------------------------------------------------------------------------------


def test_a_failed_batch_is_counted_for_as_long_as_redis_has_it(plant: Plant) -> None:
    """The clock of its worker may have been that of 1970."""
    [id] = plant.send(ndjson(row())).ids
    plant.redis.zadd("rq:failed:records", {id: 5, "gone": 5})
    maintain(plant.redis, plant.broker.queue(), ABANDONED_SECONDS)
    assert plant.broker.failed([id, "gone"]) == {id}
    plant.redis.delete(f"rq:job:{id}")
    maintain(plant.redis, plant.broker.queue(), ABANDONED_SECONDS)
    assert plant.broker.failed_count() == 0

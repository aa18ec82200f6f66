"""Another worker takes the batch of a dead worker; nobody takes the batch of a slow one."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psutil
import pytest
from redis import Redis

from worker import rq_worker
from worker.queue import rq_internals
from worker.settings import WorkerSettings

from ..commands import OWN_TERMINALS, Running, living, until
from ..own_redis import OwnRedis
from ..sandbox import UNHURRIED, Sandbox, sandbox

PROMISED_SECONDS = 60.0
# The first to judge a record named "held" notes its process and waits; "slow" ones wait for the file `go`.
CONTRACT = """
import os, time
from pathlib import Path
from pydantic import field_validator
from worker.contract import Event

def note():
    with Path("judged").open("a") as file:
        file.write(f"{os.getpid()}\\n")

class Blocking(Event):
    @field_validator("name")
    @classmethod
    def blocked(cls, name):
        if name == "held":
            note()
            try:
                os.close(os.open("first", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return name
            time.sleep(100_000)
        if name == "slow":
            note()
            while not Path("go").exists():
                time.sleep(0.01)
        return name
"""


@pytest.fixture
def site(redis: OwnRedis) -> Iterator[Sandbox]:
    with sandbox(REDIS_URL=redis.url, SLUICE_CONTRACT="contract:Blocking", **UNHURRIED) as box:
        box.file("contract.py", CONTRACT)
        box.ok_here("store", "init")
        yield box


def batch(site: Sandbox, name: str, records: int = 20) -> str:
    """A file of one batch, whose first record has this name."""
    rows = [
        {"key": f"k{number}", "name": "n" if number else name, "value": number, "ts": "2025-01-15T08:00:00Z"}
        for number in range(records)
    ]
    return site.file(f"{name}.ndjson", "".join(json.dumps(row) + "\n" for row in rows))


def plain_worker(site: Sandbox, **env: str) -> Running:
    return site.start("rq", "worker", env=OWN_TERMINALS | env)


def judged(site: Sandbox) -> list[int]:
    """The processes that have begun to judge the batch, in order."""
    path = site.folder / "judged"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def received(site: Sandbox) -> list[tuple[int, int]]:
    return site.select("SELECT received, staged FROM batches")


def test_the_default_settings_bring_back_a_batch_within_a_minute() -> None:
    settings = WorkerSettings.load()
    noticed = settings.abandoned_after_seconds + rq_worker.MAINTENANCE_SECONDS + rq_internals.DEQUEUE_SECONDS
    assert noticed + settings.retry_intervals_seconds[0] <= PROMISED_SECONDS / 2  # the rest is for the batch


def test_a_batch_whose_worker_and_job_process_are_killed_is_processed_by_another(site: Sandbox) -> None:
    site.enqueue(batch(site, "held"))
    doomed = plain_worker(site)
    site.until(lambda: judged(site), "the batch is in hand")
    other = plain_worker(site)
    site.until(lambda: site.workers() == 2, "another worker runs")

    [job_process] = psutil.Process(doomed.process.pid).children()
    job_process.suspend()
    doomed.process.kill()
    job_process.kill()
    site.until(lambda: received(site) == [(20, 20)], "the batch is processed, with default settings")
    assert len(judged(site)) == 2
    assert other.stop().code == 0


def test_a_batch_whose_worker_dies_between_taking_and_beginning_it_is_processed_by_another(
    site: Sandbox,
) -> None:
    site.env["SLUICE_ABANDONED_AFTER_SECONDS"] = "4"
    site.enqueue(batch(site, "plain"))
    crash = {"SLUICE_CRASH_AT": "job.popped", "SLUICE_CRASH_TOKEN": site.file("token", "")}
    assert plain_worker(site, **crash).end().code == -9
    plain_worker(site)
    site.until(lambda: received(site) == [(20, 20)], "the batch is processed")


def test_a_job_process_does_not_outlive_its_worker(site: Sandbox) -> None:
    site.enqueue(batch(site, "slow"))
    worker = plain_worker(site)
    site.until(lambda: judged(site), "the batch is in hand")

    job_process = psutil.Process(judged(site)[0])

    worker.process.kill()

    until(lambda: not living([job_process]), "the horse ends, though none of its timeouts has passed")
    assert received(site) == []


def test_a_batch_that_takes_longer_than_a_silent_worker_is_tolerated_is_judged_once(
    site: Sandbox, redis: OwnRedis
) -> None:
    site.enqueue(batch(site, "slow"))
    workers = [plain_worker(site), plain_worker(site)]
    site.until(lambda: judged(site) and site.workers() == 2, "one judges, the other has nothing to do")

    with redis.client() as client:
        first = expires_at(client)
        beyond = WorkerSettings.load().abandoned_after_seconds + 2 * rq_worker.MAINTENANCE_SECONDS
        site.until(lambda: expires_at(client) > first + beyond, "heartbeats put off the batch's expiry")
    (site.folder / "go").touch()

    site.until(lambda: received(site) == [(20, 20)], "the batch is processed")
    assert len(judged(site)) == 1
    assert [worker.stop().code for worker in workers] == [0, 0]


def test_two_workers_that_are_given_the_same_batch_at_once_have_one_effect(
    site: Sandbox, redis: OwnRedis
) -> None:
    site.enqueue(batch(site, "slow"))
    with redis.client() as client:
        give_again(client)
    workers = [plain_worker(site), plain_worker(site)]
    site.until(lambda: len(set(judged(site))) == 2, "both judge it")

    (site.folder / "go").touch()

    with redis.client() as client:
        site.until(lambda: idle(client), "both are done")
    assert received(site) == [(20, 20)]
    assert site.count("staging") == 20
    assert [worker.stop().code for worker in workers] == [0, 0]
    site.ok_here("worker", "load")
    site.check()


def expires_at(client: Redis) -> float:
    """When the batch in hand counts as abandoned, unless there is another heartbeat."""
    [(_, score)] = client.zrange("rq:wip:records", 0, -1, withscores=True)
    return float(score)


def give_again(client: Redis) -> None:
    """Puts the queued batch on the queue a second time."""
    [id] = client.lrange("rq:queue:records", 0, -1)
    client.rpush("rq:queue:records", id)


def idle(client: Redis) -> bool:
    keys = ("rq:queue:records", "rq:queue:records:intermediate")
    return not any(client.llen(key) for key in keys) and not client.zcard("rq:wip:records")


def test_little_of_a_processed_batch_stays_in_redis(site: Sandbox, redis: OwnRedis) -> None:
    site.enqueue(batch(site, "plain", 2000))
    with redis.client() as client:
        [key] = client.keys("rq:job:*")
        before = client.hstrlen(key, "data")
        worker = plain_worker(site)
        site.until(lambda: client.hget(key, "status") == b"finished", "the batch is processed")
        assert client.hstrlen(key, "data") < 200 < before
        client.rpush("rq:queue:records", key.decode().removeprefix("rq:job:"))  # a late second delivery
        site.until(lambda: client.hget(key, "status") == b"finished" and idle(client), "it is done again")
    assert received(site) == [(2000, 2000)]
    assert worker.stop().code == 0

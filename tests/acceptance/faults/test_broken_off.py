"""A signal may end a command to Redis between the question and its answer: the answer is nobody's then.

Where it were read as the answer to the next command, a goodbye would fail, or a failure would not be kept.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from redis import Redis
from rq import cron, cron_scheduler_registry
from rq.exceptions import StopRequested
from rq.job import Job

from worker.queue.names import PROCESS_BATCH, RECORDS_QUEUE
from worker.queue.rq_internals import HardenedWorker, _start_patiently
from worker.queue.rq_jobs import SluiceQueue
from worker.queue.serializer import JsonSerializer

from ..servers import redis_server

PASSWORD = "of-one-test"  # noqa: S105 - of a server that lives for one test


class Patient(HardenedWorker):
    def maintain(self, queue: SluiceQueue) -> None:
        pass


@pytest.fixture
def redis() -> Iterator[Redis]:
    with redis_server(PASSWORD) as port, Redis(port=port, password=PASSWORD) as client:
        yield client


@pytest.fixture
def worker(redis: Redis) -> Patient:
    made = Patient([RECORDS_QUEUE], connection=redis, serializer=JsonSerializer)
    made.register_birth()  # type: ignore[no-untyped-call]
    return made


def break_off(client: Redis) -> None:
    """Leaves the pool a connection whose answer is still to come, as a signal does."""
    connection = client.connection_pool.get_connection()
    connection.send_command("BLPOP", "nothing", "0.3")
    client.connection_pool.release(connection)


def test_a_worker_that_is_stopped_in_a_command_says_goodbye(worker: Patient, redis: Redis) -> None:
    break_off(redis)
    worker.teardown()

    assert redis.smembers("rq:workers") == set()
    assert redis.hexists(worker.key, "death")


def test_a_job_whose_time_is_over_in_a_command_counts_as_failed(
    worker: Patient, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    queue = SluiceQueue(RECORDS_QUEUE, connection=redis)
    job = Job.create(PROCESS_BATCH, connection=redis, serializer=JsonSerializer, origin=queue.name)
    job.save()
    break_off(redis)
    worker.handle_job_failure(job, queue, exc_string="its time is over")

    assert redis.hget(job.key, "status") == b"failed"
    assert redis.zrange(queue.failed_job_registry.key, 0, -1) == [job.id.encode()]
    assert [found.getMessage() for found in caplog.records if found.levelno >= logging.ERROR] == []


def test_a_cron_that_is_stopped_in_a_command_says_goodbye(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = cron.CronScheduler(connection=redis)

    def stop_in_a_command() -> None:
        assert redis.zcard(cron_scheduler_registry.get_registry_key()) == 1
        break_off(redis)
        raise StopRequested

    monkeypatch.setattr(scheduler, "heartbeat", stop_in_a_command)
    monkeypatch.setattr(scheduler, "_install_signal_handlers", lambda: None)
    _start_patiently(scheduler)

    assert redis.zcard(cron_scheduler_registry.get_registry_key()) == 0

"""Terminals of one's own: plain `rq worker`, `rq worker loader` and `rq cron`, on either kind of Redis."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from redis.exceptions import RedisError
from rq import Queue
from rq.registry import FailedJobRegistry, StartedJobRegistry

from ..commands import OWN_TERMINALS
from ..sandbox import SAMPLE, Sandbox, sandbox
from ..servers import redis_server

MANY = 80
RECORDS = "".join(
    f'{{"key": "k{number}", "name": "n", "value": {number}, "ts": "2025-01-15T08:00:00Z"}}\n'
    for number in range(MANY)
)


@contextmanager
def redis_of_ones_own(password: str) -> Iterator[str]:
    """The URL of a server on a port of 127.0.0.1, with a password."""
    with redis_server(password) as port:
        yield f"redis://:{password}@127.0.0.1:{port}"


@pytest.fixture(params=["private", "with a password"])
def terminals(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A sandbox for RQ's own commands."""
    if request.param == "private":
        with sandbox(**OWN_TERMINALS) as box:
            yield box
        return
    password = secrets.token_hex(8)
    with redis_of_ones_own(password) as url, sandbox(REDIS_URL=url, **OWN_TERMINALS) as box:
        yield box
        assert "Traceback" not in box.all_output()
        assert password not in box.all_output()


def registered(box: Sandbox) -> dict[str, int]:
    """Jobs that are in work, failed, or popped by a worker that was stopped before it began."""
    with box.redis() as client:
        queue = Queue("records", connection=client)
        return {
            "started": StartedJobRegistry(queue=queue).get_job_count(cleanup=False),
            "popped": client.llen(queue.intermediate_queue_key),
            "failed": FailedJobRegistry(queue=queue).get_job_count(cleanup=False),
        }


def test_plain_rq_commands_do_all_the_work_and_stop_without_half_a_batch(terminals: Sandbox) -> None:
    box = terminals
    is_cold = "REDIS_URL" not in box.env  # one time of two, all of them begin as their user's do
    workers = [box.start("rq", "worker", cold=is_cold), box.start("rq", "worker", cold=is_cold)]
    box.until(lambda: answers_and_works(box, "records", 2), "both workers take jobs")
    lonely = box.run_here("producer", "enqueue", SAMPLE, "--wait")
    assert lonely.code == 2
    assert "needs a running loader: " in lonely.err

    others = [
        box.start("rq", "worker", "loader", cold=is_cold),
        box.start("rq", "cron", "worker.schedule", cold=is_cold),
    ]
    box.until(lambda: box.workers("loader") == 1, "the loader takes jobs")
    waited = box.ok("producer", "enqueue", SAMPLE, "--wait", "--json").json
    assert (waited["outcome"]["staged"], waited["outcome"]["rejected"]) == (5, 2)
    assert box.count("target") == 5

    cut = ("--batch-records", "1", "--max-pending-batches", "1000")
    box.enqueue(box.file("many.ndjson", RECORDS), *cut)
    box.until(lambda: box.count("batches") > 10, "some of the batches are processed")
    for running in workers + others:
        running.process.terminate()
    codes = [running.end().code for running in workers + others]
    assert codes == [0, 0, 0, 0]
    box.until(lambda: not box.processes(), "no process is left")
    left = registered(box)
    assert (left["started"], left["failed"]) == (0, 0)
    assert box.count("batches") + box.queued() + left["popped"] == MANY + 1

    box.ok("worker", "up", "--burst", env={"SLUICE_ABANDONED_AFTER_SECONDS": "5"})
    report = box.report()
    assert (report["input_records"], report["loaded"], report["dead_letters"]) == (MANY + 7, MANY + 5, 2)
    box.check()
    box.ok_here("worker", "status")


def answers_and_works(box: Sandbox, queue: str, number: int) -> bool:
    with suppress(RedisError):
        return box.workers(queue) == number
    return False


def registered_under(box: Sandbox, prefix: str) -> bool:
    with suppress(RedisError), box.redis() as redis:
        return all(redis.scard(f"{prefix}:workers:{queue}") for queue in ("records", "loader"))
    return False


def test_a_wrong_password_is_refused_and_not_repeated() -> None:
    with redis_of_ones_own("open-sesame") as url, sandbox() as box:
        done = box.run_here("producer", "enqueue", SAMPLE, env={"REDIS_URL": url.replace("open", "closed")})

    assert done.code == 2
    assert "refused the login: check the user and password in REDIS_URL" in done.err
    assert "sesame" not in done.out + done.err


def test_a_worker_for_two_queues_at_once_is_refused(box: Sandbox) -> None:
    done = box.run("rq", "worker", "records", "loader", env=OWN_TERMINALS)

    assert done.code == 2
    assert "one queue a worker" in done.err
    assert "Traceback" not in done.err


def test_the_options_of_rq_name_worker_and_configuration_as_its_variables_do(box: Sandbox) -> None:
    box.ok("producer", "enqueue", SAMPLE)
    own = ("--config", "worker.rq_worker", "--worker-class", "worker.rq_worker.SluiceWorker")
    box.ok("rq", "worker", "--burst", *own)
    assert box.select("SELECT received, staged, rejected FROM batches") == [(7, 5, 2)]


def test_queues_keep_apart_under_a_prefix_of_rqs(box: Sandbox) -> None:
    box.env |= OWN_TERMINALS | {"RQ_KEY_PREFIX": "{other}"}
    for words in (("worker",), ("worker", "loader"), ("cron", "worker.schedule")):
        box.start("rq", *words)
    box.until(lambda: registered_under(box, "{other}"), "both are registered")
    status = box.ok("worker", "status", "--json").json
    assert (status["workers"], status["loaders"]) == (1, 1)

    waited = box.ok("producer", "enqueue", SAMPLE, "--wait", "--json").json

    assert (waited["outcome"]["staged"], box.count("target")) == (5, 5)
    with box.redis() as redis:
        assert redis.keys("rq:*") == []
        assert redis.keys("{other}:worker:*")

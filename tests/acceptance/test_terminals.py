"""Terminals of one's own: plain `rq worker`, `rq worker loader` and `rq cron`, on either kind of Redis."""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.registry import FailedJobRegistry, StartedJobRegistry

from worker.queue.private_server import find_server

from .sandbox import OWN_TERMINALS, SAMPLE, STOP_SECONDS, Sandbox, sandbox, until

MANY = 300
RECORDS = "".join(
    f'{{"key": "k{number}", "name": "n", "value": {number}, "ts": "2025-01-15T08:00:00Z"}}\n'
    for number in range(MANY)
)


@contextmanager
def redis_of_ones_own(password: str) -> Iterator[str]:
    """The URL of a server on a port of 127.0.0.1, with a password."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    said = f"port {port}\nbind 127.0.0.1\nrequirepass {password}\nsave ''\nlogfile /dev/null\n"
    with subprocess.Popen([str(find_server()), "-"], stdin=subprocess.PIPE) as server:
        assert server.stdin is not None
        server.stdin.write(said.encode())
        server.stdin.close()
        url = f"redis://:{password}@127.0.0.1:{port}"
        try:
            until(lambda: answers(url), "Redis listens")
            yield url
        finally:
            server.terminate()


def answers(url: str) -> bool:
    with suppress(RedisError), Redis.from_url(url) as client:
        return bool(client.ping())
    return False


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
        assert "Traceback" not in box.everything_said()
        assert password not in box.everything_said()


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
    workers = [box.start("rq", "worker"), box.start("rq", "worker")]
    box.until(lambda: answers_and_works(box, "records", 2), "both workers are there")
    lonely = box.run("producer", "enqueue", SAMPLE, "--wait")
    assert lonely.code == 2
    assert "needs a running loader: " in lonely.err

    others = [box.start("rq", "worker", "loader"), box.start("rq", "cron", "worker.schedule")]
    box.until(lambda: box.workers("loader") == 1, "the loader is there")
    waited = box.ok("producer", "enqueue", SAMPLE, "--wait", "--json").json
    assert (waited["outcome"]["staged"], waited["outcome"]["rejected"]) == (5, 2)
    assert box.count("target") == 5

    cut = ("--batch-records", "1", "--max-pending-batches", "1000")
    box.ok("producer", "enqueue", box.file("many.ndjson", RECORDS), *cut)
    box.until(lambda: box.count("batches") > 10, "some of the batches are processed")
    asked = time.monotonic()
    for running in workers + others:
        running.process.terminate()
    codes = [running.end(STOP_SECONDS).code for running in workers + others]
    assert codes == [0, 0, 0, 0]
    assert time.monotonic() - asked < STOP_SECONDS
    assert box.processes() == []
    left = registered(box)
    assert (left["started"], left["failed"]) == (0, 0)
    assert box.count("batches") + box.queued() + left["popped"] == MANY + 1

    box.ok("worker", "up", "--burst", env={"SLUICE_ABANDONED_AFTER_SECONDS": "5"})
    report = box.report()
    assert (report["input_records"], report["loaded"], report["dead_letters"]) == (MANY + 7, MANY + 5, 2)
    box.check()
    box.ok("worker", "status")


def answers_and_works(box: Sandbox, queue: str, number: int) -> bool:
    with suppress(RedisError):
        return box.workers(queue) == number
    return False


def test_a_wrong_password_is_refused_and_not_repeated() -> None:
    with redis_of_ones_own("open-sesame") as url, sandbox() as box:
        done = box.run("producer", "enqueue", SAMPLE, env={"REDIS_URL": url.replace("open", "closed")})

    assert done.code == 2
    assert "refused the login: check the user and password in REDIS_URL" in done.err
    assert "sesame" not in done.out + done.err


def test_a_worker_for_two_queues_at_once_is_refused(box: Sandbox) -> None:
    done = box.run("rq", "worker", "records", "loader", env=OWN_TERMINALS)

    assert done.code == 2
    assert "one queue a worker" in done.err
    assert "Traceback" not in done.err

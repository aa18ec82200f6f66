"""A worker that can do no job stops and says so; one bad batch stops nobody."""

from __future__ import annotations

import json

import pytest

from worker.queue.process.endings import ENDINGS, WorkerStuck

from ..commands import OWN_TERMINALS
from ..sandbox import Sandbox

# Each is run by Python when the worker starts, and breaks it. It is no part of the contract: a worker with another
# contract than a batch was sent for would not try the batch.
BROKEN = {
    "dies": "import os, rq\nrq.Worker.perform_job = lambda *_: os._exit(9)\n",
    "raises": (
        "from worker.batch import receive\n"
        "def fail(*_):\n    raise RuntimeError('broken')\n"
        "receive.store = fail\n"
    ),
}
SAYS = {"dies": "its process ended with exit code 9", "raises": "RuntimeError at "}
ODD = """
from worker.batch import receive
of_sluice = receive.store
def fail(engine, message, *rest):
    if message.file.endswith("odd.ndjson"):
        raise RuntimeError("odd")
    return of_sluice(engine, message, *rest)
receive.store = fail
"""


@pytest.fixture
def site(box: Sandbox) -> Sandbox:
    """A sandbox with more batches on the queue than it takes."""
    box.env["SLUICE_RETRY_INTERVALS_SECONDS"] = "[0]"
    box.ok("producer", "enqueue", file(box, "some", 2 * ENDINGS), "--batch-records", "1")
    return box


def file(box: Sandbox, name: str, records: int) -> str:
    rows = [
        {"key": f"{name}{n}", "name": "n", "value": n, "ts": "2025-01-15T08:00:00Z"} for n in range(records)
    ]
    return box.file(f"{name}.ndjson", "".join(json.dumps(row) + "\n" for row in rows))


def break_workers(box: Sandbox, code: str) -> dict[str, str]:
    """The environment of a worker that runs this code when it starts."""
    box.file("sitecustomize.py", code)
    return {"PYTHONPATH": str(box.folder)}


@pytest.mark.parametrize("how", BROKEN)
def test_a_worker_that_fails_every_job_at_once_stops_before_it_has_failed_them_all(
    site: Sandbox, how: str
) -> None:
    done = site.run("rq", "worker", env=OWN_TERMINALS | break_workers(site, BROKEN[how]))

    assert done.code == WorkerStuck.exit_code, done.err[-3000:]
    assert (
        f"error: each of the last {ENDINGS} jobs failed within 2 s in the same way ({SAYS[how]}" in done.err
    )
    with site.redis() as redis:
        assert redis.zcard("rq:failed:records") == 0
    site.ok("worker", "up", "--burst")
    assert site.count("target") == 2 * ENDINGS
    site.check()


@pytest.mark.parametrize("options", [[], ["--burst"]], ids=["up", "burst"])
@pytest.mark.parametrize("how", BROKEN)
def test_worker_up_ends_with_a_worker_that_stopped_itself(
    site: Sandbox, how: str, options: list[str]
) -> None:
    done = site.run("worker", "up", "--workers", "1", *options, env=break_workers(site, BROKEN[how]))

    assert done.code == 1, done.err[-3000:]
    assert "error: worker 1 stopped itself, and so would the next: see its error above" in done.err
    assert SAYS[how] in done.err
    assert site.processes() == []


def test_one_batch_that_fails_at_every_attempt_fails_alone(site: Sandbox) -> None:
    env = break_workers(site, ODD)
    site.ok("producer", "enqueue", file(site, "odd", 1))

    done = site.run("worker", "up", "--burst", "--workers", "1", env=env)

    assert done.code == 1, done.err[-3000:]
    assert "error: 1 batches failed for good" in done.err
    assert site.count("target") == 2 * ENDINGS

"""Whoever can write to Redis can write anything there: the worker runs its own jobs and nothing else."""

from __future__ import annotations

import json
import os
import pickle
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.registry import FailedJobRegistry, ScheduledJobRegistry

from worker.queue.message import VERSION
from worker.queue.quarantine import SET_ASIDE_KEY
from worker.queue.server import private_server

from ..commands import OWN_TERMINALS, Done
from ..sandbox import SAMPLE, Sandbox, sandbox

OURS = "worker.jobs.process_batch"
WHEN = "2025-01-15T08:00:00.000000Z"
ESCAPES = "\x1b[2J\x9b31m\n02:00:00 a forged line\n"
SPY = 'from pathlib import Path\n\ndef touch(*_):\n    Path("touched").touch()\n    return 0\n'


class Malicious:
    """Unpickling it touches a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def forge(redis: Redis, id: str, data: bytes, **fields: Any) -> None:
    """A job written by hand."""
    ordinary = {"status": "queued", "origin": "records", "created_at": WHEN, "timeout": "30", "data": data}
    redis.hset(f"rq:job:{id}", mapping=ordinary | fields)
    redis.rpush("rq:queue:records", id)


def call(function: Any, *args: Any, instance: Any = None) -> bytes:
    return zlib.compress(json.dumps([function, instance, args, {}]).encode())


def besiege(redis: Redis, touched: str) -> None:
    """Everything a stranger could put on the queue."""
    shell = f"touch {touched}"
    forge(redis, "system", call("os.system", shell))
    forge(redis, "posix", call("posix.system", shell))
    forge(redis, "eval", call("builtins.eval", f"__import__('os').system({shell!r})"))
    forge(redis, "spy", call("spy.touch"))
    forge(redis, "ours-but-another", call("worker.workplace.close_workplace"))
    forge(redis, "instance", call(OURS, {}, instance="x"))
    forge(redis, "nothing", call(None, shell))
    forge(redis, "dictionary", call({"os.system": 1}, shell))
    calls = dict.fromkeys(
        ["success_callback_name", "failure_callback_name", "stopped_callback_name"], "spy.touch"
    )
    forge(redis, "callbacks", call(OURS, {"v": 1}), **calls)
    hooks = json.dumps([{"url": "http://127.0.0.1:9/", "statuses": ["failed", "finished"]}])
    forge(redis, "webhooks", call(OURS, {"v": 1}), webhooks=hooks)
    evil = pickle.dumps(Malicious(touched))
    forge(
        redis,
        "pickled-fields",
        call("os.system", 1),
        meta=evil,
        webhooks=evil,
        result=evil,
        dependency_ids=evil,
    )
    forge(redis, "pickle", zlib.compress(evil))
    forge(redis, "bare-pickle", evil)
    stock = Queue("records", connection=redis)
    stock.enqueue("os.system", shell, job_id="stock")
    stock.enqueue(OURS, Malicious(touched), job_id="stock-malicious")
    forge(redis, "escapes", call(f"os.{ESCAPES}"), description=ESCAPES)
    forge(redis, "more-escapes", zlib.compress(json.dumps([OURS, None, [], {ESCAPES: 1}]).encode()))
    forge(redis, "junk", os.urandom(200))
    forge(redis, "no-json", zlib.compress(b"{{{"))
    forge(redis, "misshapen", zlib.compress(b"[1, 2]"))
    forge(redis, "enormous", call(OURS, "x" * (16 << 20)))
    forge(redis, "newer", call(OURS, {"v": 2, "records": []}))
    forge(redis, "no-records", call(OURS, {"v": 1, "records": "abc"}))


FAIL = [
    "system", "posix", "eval", "spy", "ours-but-another", "instance", "nothing", "dictionary", "callbacks",
    "webhooks", "pickled-fields", "pickle", "bare-pickle", "stock", "stock-malicious", "escapes",
    "more-escapes", "junk", "no-json", "misshapen",
    "enormous", "newer", "no-records",
]  # fmt: skip
UNREADABLE = {
    "no-data": {"status": "queued"},
    "odd-dates": {"data": call("os.system", 1), "created_at": "yesterday"},
    "odd-status": {"data": call("os.system", 1), "status": b"\xff"},
    "odd-numbers": {"data": call("os.system", 1), "created_at": WHEN, "retries_left": "x"},
}
ODD_IDS = [b"\xff\xfe\x00", b"", b"a b\n\x1b[2J", b"../../etc"]


@pytest.fixture(scope="module")
def besieged() -> Iterator[tuple[Sandbox, Done]]:
    """A queue full of what is not ours, then a batch of ours, after one worker has been through."""
    with sandbox(**OWN_TERMINALS) as box:
        box.file("spy.py", SPY)
        box.ok_here("worker", "status")
        with box.redis() as redis:
            besiege(redis, str(box.folder / "touched"))
            for id, fields in UNREADABLE.items():
                redis.hset(f"rq:job:{id}", mapping=fields)  # type: ignore[arg-type]
            redis.set("rq:job:no-hash", "x")
            redis.rpush("rq:queue:records", *ODD_IDS, *UNREADABLE, "no-hash", "never-was")
        box.enqueue(SAMPLE)
        yield box, box.run("rq", "worker", "--burst")


def test_nothing_of_a_stranger_is_run(besieged: tuple[Sandbox, Done]) -> None:
    box, _ = besieged
    assert not (box.folder / "touched").exists()


def test_the_worker_lives_on_and_does_its_own_batch(besieged: tuple[Sandbox, Done]) -> None:
    box, done = besieged
    assert done.code == 0, done.err[-3000:]
    assert box.select("SELECT received, staged, rejected FROM batches") == [(7, 5, 2)]
    assert box.queued() == 0


@pytest.mark.parametrize("id", FAIL)
def test_a_job_that_is_not_ours_stays_in_the_failed_registry(besieged: tuple[Sandbox, Done], id: str) -> None:
    box, _ = besieged
    with box.redis() as redis:
        assert redis.zscore("rq:failed:records", id) is not None
        assert redis.hget(f"rq:job:{id}", "status") == b"failed"


def test_a_job_that_names_another_function_says_so_in_the_log(besieged: tuple[Sandbox, Done]) -> None:
    _, done = besieged
    assert "ForbiddenFunction: refused to run 'os.system': only worker.jobs.load_staged" in done.err


@pytest.mark.parametrize("id", [*ODD_IDS, *map(str.encode, UNREADABLE), b"no-hash"])
def test_what_is_no_job_is_set_aside(besieged: tuple[Sandbox, Done], id: bytes) -> None:
    box, done = besieged
    with box.redis() as redis:
        assert id in redis.lrange(SET_ASIDE_KEY, 0, -1)
        assert id not in redis.lrange("rq:queue:records:intermediate", 0, -1)
    assert f"{id!r} on rq:queue:records is no job" in done.err


def test_a_stranger_writes_no_escape_code_to_the_log(besieged: tuple[Sandbox, Done]) -> None:
    _, done = besieged
    assert "\x1b" not in done.out + done.err
    assert "\x9b" not in done.out + done.err
    assert "a forged line" in done.err
    # The last words of a traceback are Python's; whoever asks for keywords has them repeated as they are.
    forged = [line for line in done.err.splitlines() if line.startswith("02:00:00 a forged line")]
    assert len(forged) <= 1


def test_a_message_of_a_newer_version_says_what_to_do_and_waits(box: Sandbox) -> None:
    box.env |= OWN_TERMINALS
    box.enqueue(SAMPLE)
    with box.redis() as redis:
        [id] = redis.lrange("rq:queue:records", 0, -1)
        data = redis.hget(f"rq:job:{id.decode()}", "data")
        function, _, [wire], _ = json.loads(zlib.decompress(data))
        redis.hset(
            f"rq:job:{id.decode()}",
            mapping={"data": call(function, wire | {"v": VERSION + 1}), "retries_left": 0},
        )
        done = box.run("rq", "worker", "--burst")
        assert (
            f"the message has version {VERSION + 1}, and this worker reads those up to {VERSION}" in done.err
        )
        assert redis.zrange("rq:scheduled:records", 0, -1) == [id]
        assert box.ok("worker", "status", "--json").json["held_batches"] == 1

        # What the newer version would do: the same job, where it is understood.
        redis.hset(f"rq:job:{id.decode()}", "data", data)
    box.ok("worker", "up", "--burst")
    assert box.report()["loaded"] == 5


def test_a_stock_worker_fails_our_jobs_aloud_and_ours_does_them_afterwards(box: Sandbox) -> None:
    box.env["SLUICE_RETRY_INTERVALS_SECONDS"] = "[0]"
    box.enqueue(SAMPLE)
    with box.redis() as redis:
        [id] = [each.decode() for each in redis.lrange("rq:queue:records", 0, -1)]

        stock = box.run("rq", "worker", "records", "--burst", "--url", private_server.url(box.home))

        assert "DeserializationError" in stock.err
        assert box.count("batches") == 0
        queue = Queue("records", connection=redis)
        held = [
            *FailedJobRegistry(queue=queue).get_job_ids(cleanup=False),
            *ScheduledJobRegistry(queue=queue).get_job_ids(cleanup=False),  # type: ignore[no-untyped-call]
            *queue.get_job_ids(),
        ]
        assert held == [id]
        assert Job.exists(id, connection=redis)
    box.ok("rq", "requeue", "--all", "--queue", "records", env=OWN_TERMINALS)
    box.ok("worker", "up", "--burst")

    assert box.report()["loaded"] == 5
    box.check()

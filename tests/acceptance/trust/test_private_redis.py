"""The private Redis between commands: queued batches outlive it, and nothing in it is pickle."""

from __future__ import annotations

import json
import zlib

from worker.queue.names import ALLOWED

from ..commands import OWN_TERMINALS
from ..sandbox import SAMPLE, Sandbox

PICKLE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def test_queued_batches_outlive_the_server(box: Sandbox) -> None:
    box.enqueue(SAMPLE)
    assert box.ok_here("worker", "status", "--json").json["queued_batches"] == 1

    assert box.ok_here("worker", "down", "--json").json == {"stopped": True}
    assert not (box.home / "redis" / "redis.sock").exists()
    assert box.ok_here("worker", "down", "--json").json == {"stopped": False}

    # Processed by a plain `rq worker`, so that the loading is left to `worker load`.
    box.ok("rq", "worker", "--burst", env=OWN_TERMINALS)
    status = box.ok_here("worker", "status", "--json").json
    assert (status["queued_batches"], status["staged"], status["dead_letter_queue"]) == (0, 5, 2)

    run = box.ok("worker", "load", "--json").json
    assert (run["number"], run["rows"], run["inserted"]) == (1, 5, 5)
    assert run["watermark_after"].startswith("2025-01-15T12:00:00")
    assert box.ok_here("worker", "load", "--json").json["number"] is None
    box.check()


def test_a_burst_after_a_stop_processes_what_was_queued_and_what_was_taken_but_not_begun(
    box: Sandbox,
) -> None:
    box.env["SLUICE_ABANDONED_AFTER_SECONDS"] = "5"
    box.enqueue(SAMPLE, "--batch-records", "4")
    with box.redis() as client:  # as a worker does that dies at once
        client.lmove("rq:queue:records", "rq:queue:records:intermediate")
    assert box.queued() == 1
    box.ok_here("worker", "down")

    box.ok("worker", "up", "--burst")

    assert box.report()["loaded"] == 5


def test_nothing_in_redis_is_pickle(box: Sandbox) -> None:
    box.enqueue(SAMPLE)
    cron = box.start("rq", "cron", "worker.schedule", env=OWN_TERMINALS)
    box.until(lambda: functions(jobs(box)) >= ALLOWED, "the cron has sent all that it sends")
    assert cron.stop().code == 0

    found = jobs(box)
    assert functions(found) == ALLOWED
    values = [value for job in found for value in job.values()]
    assert [value for value in values if value.startswith(PICKLE) or inflated(value).startswith(PICKLE)] == []


def jobs(box: Sandbox) -> list[dict[bytes, bytes]]:
    """The fields of each job in Redis that is written whole."""
    with box.redis() as client:
        found = [client.hgetall(key) for key in client.scan_iter("rq:job:*", _type="hash")]
    return [job for job in found if b"data" in job]


def functions(found: list[dict[bytes, bytes]]) -> set[str]:
    return {json.loads(zlib.decompress(job[b"data"]))[0] for job in found}


def inflated(value: bytes) -> bytes:
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value

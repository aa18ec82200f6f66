"""`producer enqueue` in time: it waits for room, is interrupted, and goes on."""

from __future__ import annotations

import signal

from .sandbox import Sandbox

RECORDS = "".join(
    f'{{"key": "k{number}", "name": "n", "value": {number}, "ts": "2025-01-15T08:00:00Z"}}\n'
    for number in range(23)
)
CUT = ("--batch-records", "1", "--max-pending-batches", "2", "--json")


def test_with_no_room_it_waits_and_when_interrupted_goes_on_where_it_was(box: Sandbox) -> None:
    file = box.file("records.ndjson", RECORDS)
    first = box.start("producer", "enqueue", file, *CUT)
    box.until(lambda: "no worker is running" in first.err, "the producer says what it waits for")
    assert first.is_alive
    assert box.queued() == 2

    interrupted = first.stop(signal.SIGINT)
    assert (interrupted.code, interrupted.out) == (130, "")
    assert "Traceback" not in interrupted.err
    assert box.queued() == 2

    up = box.start("worker", "up", "--workers", "1")
    second = box.start("producer", "enqueue", file, *CUT).end()
    assert second.code == 0, second.err
    box.until(lambda: box.count("target") == 23, "all records are loaded")
    assert up.stop().code == 0

    assert box.count("batches") == 23
    assert box.report()["duplicates"] == 0
    assert box.select("SELECT key, value FROM target ORDER BY value") == [(f"k{n}", n) for n in range(23)]
    box.check()


def test_a_pipe_is_a_file_too(box: Sandbox) -> None:
    sent = box.ok("producer", "enqueue", "-", "--format", "ndjson", "--json", stdin=RECORDS).json

    assert (sent["records"], sent["files"][0]["file"]) == (23, "-")
    assert box.queued() == 1

"""A stranger writes anything into every key while workers run: they go on, and all our records load."""

from __future__ import annotations

import threading

from redis import Redis

from tests.hostile_redis import Stranger
from worker.queue.server import private_server

from ..commands import Running
from ..sandbox import Sandbox, sandbox

RECORDS = 200
LINES = "".join(
    f'{{"key": "k{n}", "name": "n", "value": {n if n % 50 else "null"}, "ts": "2025-01-15T08:00:00Z"}}\n'
    for n in range(RECORDS)
)
SETTINGS = {
    "SLUICE_BATCH_RECORDS": "10",
    "SLUICE_LOAD_ON_IDLE": "true",
    "SLUICE_ABANDONED_AFTER_SECONDS": "4",
}


def clean_digest() -> str:
    with sandbox(**SETTINGS) as other:
        other.enqueue(other.file("in.ndjson", LINES))
        other.ok("worker", "up", "--burst")
        return other.digest()


def received(box: Sandbox) -> int:
    return int(box.select("SELECT coalesce(sum(received), 0) FROM batches")[0][0])


def test_workers_go_on_beside_a_stranger_and_lose_no_record(box: Sandbox) -> None:
    box.env |= SETTINGS
    path = box.file("in.ndjson", LINES)
    up = box.start("worker", "up", "--workers", "2")
    box.until((box.home / "redis" / "redis.sock").exists, "Redis runs")
    box.until(lambda: box.workers() == 2 and box.workers("loader") == 1, "all take jobs")
    with Redis.from_url(private_server.url(box.home)) as client:
        stranger = Stranger(client, seed=11)
        over = threading.Event()
        rage = threading.Thread(target=stranger.rage, args=(over.is_set, 0.005))
        rage.start()
        try:
            box.until(lambda: stranger.written.get("another type", 0) > 20, "the stranger is at work")
            box.until(lambda: sent_again(box, path, up), "all is received beside the stranger")
            box.until(lambda: "is not ours" in up.err, "a member of a registry is quarantined")
        finally:
            over.set()
            rage.join()
    box.until(lambda: box.count("target") == RECORDS * 49 // 50, "all is loaded")

    assert up.is_alive, up.err[-3000:]
    assert " died (" not in up.err, up.err
    assert "has another type than it must" in up.err
    assert "\x1b" not in up.err
    assert up.stop().code == 0
    assert box.digest() == clean_digest()
    box.ok_here("store", "check", "--repair")
    box.check()


def sent_again(box: Sandbox, path: str, up: Running) -> bool:
    """Sends the file, as long as something of it is missing; whether all of it was received."""
    assert up.is_alive, up.err[-3000:]
    box.enqueue(path)
    return received(box) == RECORDS

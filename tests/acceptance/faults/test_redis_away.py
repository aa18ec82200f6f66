"""Redis goes away, hangs, fills up or forgets everything under load: all wait, go on, and nothing is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from worker.queue import send

from ..commands import OWN_TERMINALS, Running
from ..own_redis import OwnRedis
from ..sandbox import UNHURRIED, Sandbox, sandbox

# How long a server hangs, from which nothing can be read meanwhile. A failover takes 30: HANG_SECONDS=35 pytest …
HANG_SECONDS = float(os.environ.get("HANG_SECONDS", "6"))
RECORDS = 3000
TRIES = re.compile("Redis does not answer or is full: try")
# A record named "held" notes the process that judges it, and waits for the file `go`.
CONTRACT = """
import os, time
from pathlib import Path
from pydantic import field_validator
from worker.contract import Event

class Slowed(Event):
    @field_validator("name")
    @classmethod
    def after_a_pause(cls, name):
        time.sleep(0.001)
        if name == "held":
            Path(f"held-by-{os.getpid()}").touch()
            while not Path("go").exists():
                time.sleep(0.01)
        return name
"""
SETTINGS = {
    "SLUICE_CONTRACT": "contract:Slowed",
    "SLUICE_BATCH_RECORDS": "100",
    "SLUICE_MAX_PENDING_BATCHES": "4",
    "SLUICE_ABANDONED_AFTER_SECONDS": "2",
}


@pytest.fixture
def site(redis: OwnRedis) -> Iterator[Sandbox]:
    with sandbox(REDIS_URL=redis.url, **SETTINGS, **UNHURRIED) as box:
        box.file("contract.py", CONTRACT)
        box.ok_here("store", "init")
        yield box


def lines(number: int = RECORDS, *, padding: int = 0, held_from: int = RECORDS) -> str:
    """Records of which every hundredth is bad; from one on, the record after a bad one is held."""
    rows = [
        {
            "key": f"k{n}",
            "name": "held" if n >= held_from and n % 100 == 1 else "n",
            "ts": "2025-01-15T08:00:00Z",
            "x": noise(n, padding),
        }
        | ({"value": n} if n % 100 else {})
        for n in range(number)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def noise(number: int, size: int) -> str:
    """Text that does not compress."""
    return (number.to_bytes(4, "big") * 8 + os.urandom(size)).hex() if size else ""


def everybody(site: Sandbox) -> list[Running]:
    """Two workers, the loader's and the cron, as a user starts them."""
    words = [
        ("rq", "worker"),
        ("rq", "worker"),
        ("rq", "worker", "loader"),
        ("rq", "cron", "worker.schedule"),
    ]
    started = [site.start(*each, env=OWN_TERMINALS) for each in words]
    site.until(lambda: site.workers() == 2 and site.workers("loader") == 1, "all take jobs")
    with site.redis() as client:
        site.until(lambda: client.zcard("rq:cron_schedulers"), "the cron runs")
    return started


def loaded(site: Sandbox) -> int:
    return int(site.count("target"))


def all_is_there(site: Sandbox) -> bool:
    """Every record was received once, and is in the target or a letter."""
    [(received,)] = site.select("SELECT sum(received) FROM batches")
    return received == RECORDS and loaded(site) == RECORDS * 99 // 100 and not site.count("staging")


def assert_calm(everyone: list[Running]) -> None:
    """Nobody died, and nobody wrote a traceback."""
    for each in everyone:
        output = each.out + each.err
        assert each.is_alive, output
        assert "Traceback" not in output


@pytest.mark.parametrize("how", ["refused", "hanging"])
def test_a_redis_that_is_away_under_load_is_waited_for_by_everybody(
    site: Sandbox, redis: OwnRedis, how: str
) -> None:
    everyone = everybody(site)
    producer = site.start("producer", "enqueue", site.file("in.ndjson", lines()))
    site.until(lambda: loaded(site) > 0, "records flow")

    if how == "refused":
        redis.kill()
        site.until(lambda: all(len(tries_of(each)) >= 3 for each in everyone), "all have tried for a while")
        redis.start()
    else:
        redis.hang()
        time.sleep(HANG_SECONDS)
        redis.resume()

    sent = producer.end()
    assert sent.code == 0, sent.err
    assert "Traceback" not in sent.err
    site.until(lambda: all_is_there(site), "all is received and loaded")
    assert_calm(everyone)
    assert [each.stop().code for each in everyone] == [0, 0, 0, 0]
    site.check()


def test_a_try_is_one_line_and_the_pauses_between_tries_grow(site: Sandbox, redis: OwnRedis) -> None:
    everyone = everybody(site)
    redis.kill()
    site.until(lambda: all(len(tries_of(each)) >= 4 for each in everyone), "all have tried for a while")
    for each in everyone:
        tries = tries_of(each)
        assert tries == list(range(2, 2 + len(tries))), each.err
        assert pauses_of(each)[:4] == [0.4, 0.8, 1.6, 3.2], each.err
    redis.start()
    assert [each.stop().code for each in everyone] == [0, 0, 0, 0]


def tries_of(running: Running) -> list[int]:
    """Which tries its log tells of, in order."""
    return [int(number) for number in re.findall(TRIES.pattern + r" (\d+)", running.out + running.err)]


def pauses_of(running: Running) -> list[float]:
    """The pauses in seconds that its log announces, in order."""
    return [float(pause) for pause in re.findall(r"the next in ([0-9.]+) s", running.out + running.err)]


def test_whoever_waits_for_redis_can_be_stopped(site: Sandbox, redis: OwnRedis) -> None:
    everyone = everybody(site)
    redis.kill()
    site.until(lambda: all(TRIES.search(each.err) for each in everyone), "all have noticed")
    for each in everyone:
        each.process.send_signal(signal.SIGTERM)
    done = [each.end() for each in everyone]
    assert [each.err for each in done if "Traceback" in each.err] == []


def test_a_cron_that_gets_two_signals_while_redis_hangs_ends_once(site: Sandbox, redis: OwnRedis) -> None:
    cron = site.start("rq", "cron", "worker.schedule", env=OWN_TERMINALS)
    site.until(lambda: site.queued("loader") >= 1, "it has sent a load")
    redis.hang()
    cron.process.send_signal(signal.SIGINT)  # a terminal sends this, and `worker up` the other
    site.until(lambda: "received shutdown signal" in cron.out + cron.err, "the first signal arrived")
    cron.process.send_signal(signal.SIGTERM)
    site.until(lambda: not is_pending(cron, signal.SIGTERM), "the second signal arrived")
    redis.resume()
    done = cron.end()
    assert (done.code, "Traceback" in done.out + done.err) == (0, False)


def is_pending(running: Running, number: int) -> bool:
    """Whether a signal was sent to the process and not delivered yet."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    masks = [int(mask, 16) for mask in re.findall(r"^(?:Sig|Shd)Pnd:\s*(\w+)$", status, re.MULTILINE)]
    return any(mask >> (number - 1) & 1 for mask in masks)


def test_a_redis_that_is_full_holds_up_the_producer_and_nobody_else(site: Sandbox, redis: OwnRedis) -> None:
    # Small batches: what is sent at once must fit beside what is there, in so small a memory.
    site.env |= {"SLUICE_MAX_PENDING_BATCHES": "1000", "SLUICE_BATCH_RECORDS": "25"}
    path = site.file("in.ndjson", lines(padding=800, held_from=0))
    everyone = everybody(site)  # before: in so small a memory their connections count
    with redis.client() as client:
        limit = client.info("memory")["used_memory"] + (2 << 20)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", limit)
        producer = site.start("producer", "enqueue", path)
        site.until(lambda: "of its maxmemory" in producer.err, "the producer says why it waits")
        queued = client.llen("rq:queue:records")
        assert 0 < queued < RECORDS // 25

        (site.folder / "go").touch()

        sent = producer.end()
        assert sent.code == 0, sent.err
        site.until(lambda: all_is_there(site), "all is received and loaded")
        assert client.info("memory")["used_memory"] < limit
    [(waited,)] = site.select("SELECT sum(waited_seconds) FROM deliveries")
    assert sent.err.count("\n") <= 2 + waited // send.NOTICE_EVERY_SECONDS, sent.err
    assert [each.stop().code for each in everyone] == [0, 0, 0, 0]
    site.check()


def test_after_redis_has_lost_everything_the_same_file_brings_back_what_was_missing(
    site: Sandbox, redis: OwnRedis
) -> None:
    site.env["SLUICE_MAX_PENDING_BATCHES"] = "1000"
    path = site.file("in.ndjson", lines(held_from=500))
    site.enqueue(path)
    everyone = everybody(site)
    site.until(lambda: site.count("batches") == 5, "five batches are processed")
    site.until(lambda: len(list(site.folder.glob("held-by-*"))) == 2, "both workers hold a batch")

    redis.kill()
    redis.lose_everything()
    redis.start()

    (site.folder / "go").touch()
    site.until(lambda: site.count("batches") == 7, "the batches in hand are processed")
    with redis.client() as client:
        site.until(lambda: knows(client, everyone), "the workers are known again")
    again = site.ok("producer", "enqueue", path, "--json", "--wait").json
    assert (again["sent_batches"], again["known_batches"]) == (RECORDS // 100 - 7, 7)
    site.until(lambda: all_is_there(site), "all is received and loaded")
    assert [each.stop().code for each in everyone] == [0, 0, 0, 0]
    site.ok_here("store", "check", "--repair")
    site.check()


def knows(client: Redis, everyone: list[Running]) -> bool:
    """Whether both workers are listed, with what says who they are."""
    listed = client.smembers("rq:workers:records")
    pids = {client.hget(key, "pid") for key in listed}
    return {str(each.process.pid).encode() for each in everyone[:2]} <= pids

"""`worker up`: it works, replaces what dies, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import psutil
import pytest

from .sandbox import SAMPLE, Running, Sandbox

RECORDS = "".join(
    f'{{"key": "k{number}", "name": "n", "value": {number}, "ts": "2025-01-15T08:00:00Z"}}\n'
    for number in range(40)
)
# A record named "slow" says that it is being judged, and waits to be let go.
SLOW_CONTRACT = """
import time
from pathlib import Path
from pydantic import field_validator
from worker.contract import Event

class Slow(Event):
    @field_validator("name")
    @classmethod
    def held(cls, name):
        if name == "slow":
            Path("judging").touch()
            while not Path("go").exists():
                time.sleep(0.01)
        return name
"""


@pytest.fixture
def slow(box: Sandbox) -> Iterator[Sandbox]:
    """A sandbox whose batches, with a slow record in them, can be caught in the middle."""
    box.file("slow.py", SLOW_CONTRACT)
    box.env["SLUICE_CONTRACT"] = "slow:Slow"
    yield box
    (box.folder / "go").touch()


def started(up: Running, name: str) -> list[int]:
    """The processes that have had this name, the oldest first."""
    return [int(id) for id in re.findall(rf"started {name} \(process (\d+)\)", up.err)]


def work_horses(up: Running) -> list[psutil.Process]:
    return [
        horse
        for worker in psutil.Process(up.process.pid).children()
        if worker.pid in started(up, "worker 1")
        for horse in worker.children()
    ]


def judging(box: Sandbox) -> bool:
    return (box.folder / "judging").exists()


def go(box: Sandbox) -> None:
    (box.folder / "go").touch()


def test_what_is_sent_is_loaded_and_at_the_end_no_process_is_left(box: Sandbox) -> None:
    up = box.start("worker", "up", "--workers", "2")
    box.until(lambda: len(started(up, "cron")) == 1, "everything is started")
    box.ok("producer", "enqueue", box.file("some.ndjson", RECORDS), "--batch-records", "3")
    box.until(lambda: box.count("target") == 40, "the periodic loader has loaded them")
    waited = box.ok("producer", "enqueue", SAMPLE, "--wait", "--json").json
    assert waited["outcome"]["staged"] == 5
    children = psutil.Process(up.process.pid).children(recursive=True)
    assert len(children) >= 4

    done = up.stop()

    assert done.code == 0
    assert "Traceback" not in done.err
    assert [child for child in children if child.is_running()] == []
    assert box.processes() == []
    box.check()


def test_a_batch_in_hand_is_finished_before_the_end(slow: Sandbox) -> None:
    up = slow.start("worker", "up", "--workers", "1", "--verbose")
    slow.ok("producer", "enqueue", slow.file("slow.ndjson", RECORDS.replace('"n"', '"slow"', 1)))
    slow.until(lambda: judging(slow), "the batch is in hand")

    up.process.terminate()
    slow.until(lambda: "warm shut down requested" in up.err, "the worker knows")
    go(slow)

    assert up.end(10).code == 0
    assert slow.select("SELECT received, staged FROM batches") == [(40, 40)]


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--burst"], 130)], ids=["up", "burst"])
def test_ctrl_c_lets_the_batch_in_hand_be_finished(slow: Sandbox, options: list[str], code: int) -> None:
    slow.ok("producer", "enqueue", slow.file("slow.ndjson", RECORDS.replace('"n"', '"slow"', 1)))
    up = slow.start("worker", "up", "--workers", "1", "--verbose", *options)
    slow.until(lambda: judging(slow), "the batch is in hand")

    os.killpg(up.process.pid, signal.SIGINT)  # as a terminal does: all of the group get it
    slow.until(lambda: "warm shut down requested" in up.err, "the worker knows")
    go(slow)

    done = up.end(10)
    assert done.code == code
    assert "Traceback" not in done.err
    assert slow.select("SELECT received, staged FROM batches") == [(40, 40)]
    assert slow.processes() == []


def test_a_batch_whose_work_horse_is_killed_is_processed_once(slow: Sandbox) -> None:
    up = slow.start("worker", "up", "--workers", "1")
    slow.ok("producer", "enqueue", slow.file("slow.ndjson", RECORDS.replace('"n"', '"slow"', 1)))
    slow.until(lambda: judging(slow), "the batch is in hand")

    [horse] = work_horses(up)
    horse.kill()
    go(slow)

    slow.until(lambda: slow.count("target") == 40, "the batch came back and is loaded")
    assert len(started(up, "worker 1")) == 1
    assert up.stop().code == 0
    assert slow.select("SELECT received, staged FROM batches") == [(40, 40)]
    slow.check()


def test_a_killed_worker_is_replaced_and_the_work_is_finished(slow: Sandbox) -> None:
    up = slow.start("worker", "up", "--workers", "1")
    slow.ok("producer", "enqueue", slow.file("slow.ndjson", RECORDS.replace('"n"', '"slow"', 1)))
    slow.ok("producer", "enqueue", SAMPLE)
    slow.until(lambda: judging(slow), "the batch is in hand")

    psutil.Process(started(up, "worker 1")[0]).kill()
    go(slow)

    slow.until(lambda: slow.count("target") == 45, "all is loaded")
    assert len(started(up, "worker 1")) == 2
    done = up.stop()
    assert done.code == 0
    assert "worker 1 died (exit code -9)" in done.err
    assert slow.count("batches") == 2
    assert slow.processes() == []
    slow.check()


# The first who judges a record named "deadly" dies of it.
DEADLY_ONCE = """
import os
from pydantic import field_validator
from worker.contract import Event

class Deadly(Event):
    @field_validator("name")
    @classmethod
    def first_time(cls, name):
        if name == "deadly":
            try:
                os.close(os.open("dead", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return name
            os._exit(7)
        return name
"""


def test_a_burst_sleeps_while_nothing_but_a_retry_waits_for_its_time(box: Sandbox) -> None:
    box.file("deadly.py", DEADLY_ONCE)
    box.env |= {"SLUICE_CONTRACT": "deadly:Deadly", "SLUICE_RETRY_INTERVALS_SECONDS": "[4]"}
    box.ok("producer", "enqueue", box.file("some.ndjson", RECORDS.replace('"n"', '"deadly"', 1)))

    burst = box.start("worker", "up", "--burst", "--workers", "1", "--verbose").end()

    assert burst.code == 0, burst.err
    assert box.count("target") == 40
    assert burst.err.count("started worker 1 ") <= 3  # to die; to try again; and where it came a little early

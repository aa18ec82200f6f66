"""`worker up`: it works, replaces what dies, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator

import psutil
import pytest

from ..commands import Running, living
from ..sandbox import SAMPLE, UNHURRIED, Sandbox

RECORDS = "".join(
    f'{{"key": "k{number}", "name": "n", "value": {number}, "ts": "2025-01-15T08:00:00Z"}}\n'
    for number in range(40)
)
# Short pauses between a death and a restart; and as many deaths are too many however long they take.
HASTY = {"LONGEST_BACKOFF_SECONDS": 0.05, "LOOK_SECONDS": 0.05, "DEATHS_WITHIN_SECONDS": 3600.0}
# The batch in hand may take as long as the test does.
PATIENT = {"GRACE_SECONDS": 100_000.0}
TRIES = re.compile("Redis does not answer or is full: try")
# A record named "slow" notes that it is being judged, and waits for the file `go`.
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
    box.env |= {"SLUICE_CONTRACT": "slow:Slow", **UNHURRIED}
    yield box
    (box.folder / "go").touch()


def started(up: Running, name: str) -> list[int]:
    """The processes that have had this name, the oldest first."""
    return [int(id) for id in re.findall(rf"started {name} \(process (\d+)\)", up.err)]


def job_processes(up: Running) -> list[psutil.Process]:
    return [
        job_process
        for worker in psutil.Process(up.process.pid).children()
        if worker.pid in started(up, "worker 1")
        for job_process in worker.children()
    ]


def judging(box: Sandbox) -> bool:
    return (box.folder / "judging").exists()


def go(box: Sandbox) -> None:
    (box.folder / "go").touch()


def test_what_is_sent_is_loaded_and_at_the_end_no_process_is_left(box: Sandbox) -> None:
    up = box.start("worker", "up", "--workers", "2", "--verbose", "--log-format", "json")
    box.until(lambda: '"event": "ready"' in up.err, "it says that it is ready")
    assert (box.workers("records"), box.workers("loader")) == (2, 1)
    box.enqueue(box.file("some.ndjson", RECORDS), "--batch-records", "3")
    box.until(lambda: box.count("target") == 40, "the periodic loader has loaded them")
    waited = box.ok("producer", "enqueue", SAMPLE, "--wait", "--json").json
    assert waited["outcome"]["staged"] == 5
    children = psutil.Process(up.process.pid).children(recursive=True)
    assert len(children) >= 4

    done = up.stop()

    assert done.code == 0
    lines = [json.loads(line) for line in done.err.splitlines()]
    by_event = {line["event"]: line for line in lines}
    assert [line["event"] for line in lines].count("ready") == 1
    stopped = by_event["stopped"]
    assert (stopped["received"], stopped["staged"], stopped["loaded"], stopped["letters"]) == (47, 45, 45, 2)
    assert by_event["batch_processed"].keys() >= {"batch", "source", "received", "staged", "rejected", "pid"}
    assert not any("traceback" in line for line in lines)
    box.until(lambda: not living(children) and not box.processes(), "no process is left")
    box.check()


def test_a_batch_in_hand_is_finished_before_the_end(slow: Sandbox) -> None:
    up = slow.start_up("--workers", "1", "--verbose", **PATIENT)
    slow.enqueue(slow.file("slow.ndjson", RECORDS.replace('"n"', '"slow"', 1)))
    slow.until(lambda: judging(slow), "the batch is in hand")

    up.process.terminate()
    slow.until(lambda: "warm shut down requested" in up.err, "the worker knows")
    go(slow)

    assert up.end().code == 0
    assert slow.select("SELECT received, staged FROM batches") == [(40, 40)]


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--burst"], 130)], ids=["up", "burst"])
def test_ctrl_c_lets_the_batch_in_hand_be_finished(slow: Sandbox, options: list[str], code: int) -> None:
    slow.enqueue(slow.file("slow.ndjson", RECORDS.replace('"n"', '"slow"', 1)))
    up = slow.start_up("--workers", "1", "--verbose", *options, **PATIENT)
    slow.until(lambda: judging(slow), "the batch is in hand")

    os.killpg(up.process.pid, signal.SIGINT)  # as a terminal does: all of the group get it
    slow.until(lambda: "warm shut down requested" in up.err, "the worker knows")
    go(slow)

    done = up.end()
    assert done.code == code
    assert "Traceback" not in done.err
    assert slow.select("SELECT received, staged FROM batches") == [(40, 40)]
    slow.until(lambda: not slow.processes(), "no process is left")


def test_a_batch_whose_job_process_is_killed_is_processed_once(slow: Sandbox) -> None:
    up = slow.start("worker", "up", "--workers", "1", "--verbose")
    slow.enqueue(slow.file("slow.ndjson", RECORDS.replace('"n"', '"slow"', 1)))
    slow.until(lambda: judging(slow), "the batch is in hand")

    [job_process] = job_processes(up)
    job_process.kill()
    go(slow)

    slow.until(lambda: slow.count("target") == 40, "the batch came back and is loaded")
    assert len(started(up, "worker 1")) == 1
    assert up.stop().code == 0
    assert slow.select("SELECT received, staged FROM batches") == [(40, 40)]
    slow.check()


def test_a_killed_worker_is_replaced_and_the_work_is_finished(slow: Sandbox) -> None:
    up = slow.start("worker", "up", "--workers", "1", "--verbose")
    slow.enqueue(slow.file("slow.ndjson", RECORDS.replace('"n"', '"slow"', 1)))
    slow.enqueue(SAMPLE)
    slow.until(lambda: judging(slow), "the batch is in hand")

    psutil.Process(started(up, "worker 1")[0]).kill()
    go(slow)

    slow.until(lambda: slow.count("target") == 45, "all is loaded")
    assert len(started(up, "worker 1")) == 2
    done = up.stop()
    assert done.code == 0
    assert "worker 1 died (exit code -9)" in done.err
    assert slow.count("batches") == 2
    slow.until(lambda: not slow.processes(), "no process is left")
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
    box.enqueue(box.file("some.ndjson", RECORDS.replace('"n"', '"deadly"', 1)))

    burst = box.start("worker", "up", "--burst", "--workers", "1", "--verbose").end()

    assert burst.code == 0, burst.err
    assert box.count("target") == 40
    assert burst.err.count("started worker 1 ") <= 3  # to die; to try again; and where it came a little early


@pytest.fixture
def sent(box: Sandbox) -> Iterator[Sandbox]:
    """A sandbox with a batch on the queue of its private Redis."""
    box.enqueue(SAMPLE)
    yield box


def redis_pid(box: Sandbox) -> int:
    """The private Redis' process; 0 while there is none."""
    note = box.home / "redis" / "redis.pid"
    try:
        pid = int(note.read_text() or 0)
    except FileNotFoundError:  # there is none, or it was removed just now
        pid = 0
    return pid if pid and psutil.pid_exists(pid) else 0


def noticed(up: Running) -> int:
    return up.err.count("private Redis died")


def back_again(up: Running) -> int:
    return up.err.count("private Redis runs again")


def kill_redis(box: Sandbox) -> None:
    pid = box.until(lambda: redis_pid(box), "the private Redis runs")
    psutil.Process(pid).kill()
    box.until(lambda: redis_pid(box) != pid, "it is dead")


def test_a_private_redis_that_is_killed_is_started_again_with_what_was_queued(sent: Sandbox) -> None:
    up = sent.start("worker", "up", "--workers", "1", env={"SLUICE_LOAD_EVERY_SECONDS": "1"})
    sent.until(lambda: sent.count("target") == 5, "the first file is loaded")

    kill_redis(sent)

    sent.until(lambda: noticed(up), "its death is in the log")
    sent.until(lambda: back_again(up), "it runs again")
    sent.enqueue(sent.file("some.ndjson", RECORDS))
    sent.until(lambda: sent.count("target") == 45, "the second file is loaded")
    assert up.stop().code == 0
    sent.check()


def test_a_private_redis_that_dies_again_and_again_ends_worker_up_with_a_reason(sent: Sandbox) -> None:
    up = sent.start_up("--workers", "1", **HASTY)
    sent.until(lambda: sent.count("target") == 5, "everybody works: a child that begins starts Redis itself")
    for death in range(1, 9):
        kill_redis(sent)
        sent.until(lambda death=death: back_again(up) == death or not up.is_alive, "it is back")

    done = up.end()

    assert done.code == 1
    assert "error: private Redis died 8 times within 3600 s" in done.err
    sent.until(lambda: not sent.processes(), "no process is left")


def test_a_private_redis_that_was_stopped_on_purpose_stays_stopped(sent: Sandbox) -> None:
    up = sent.start("worker", "up", "--workers", "1")
    sent.until(lambda: sent.count("target") == 5, "all is loaded")

    sent.ok_here("worker", "down")

    sent.until(lambda: TRIES.search(up.err), "the others have noticed")
    assert not redis_pid(sent)
    assert not noticed(up)
    assert up.stop().code == 0

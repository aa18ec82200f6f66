"""Asked to stop, everything stops: soon, with nothing half done and nobody left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from .sandbox import OWN_TERMINALS, Running, Sandbox, until

RECORDS = "".join(
    f'{{"key": "k{number}", "name": "{"n" if number else "slow"}", "value": {number}, "ts": "2025-01-15"}}\n'
    for number in range(40)
)
# A record named "slow" says that it is being judged, and waits to be let go.
CONTRACT = """
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
PROMISED_SECONDS = 10.0


@pytest.fixture
def site(box: Sandbox) -> Iterator[Sandbox]:
    """A sandbox with one batch on the queue that takes until it is let go."""
    box.file("contract.py", CONTRACT)
    box.env["SLUICE_CONTRACT"] = "contract:Slow"
    box.ok("producer", "enqueue", box.file("slow.ndjson", RECORDS))
    yield box


def start(site: Sandbox, *words: str) -> tuple[Running, list[psutil.Process]]:
    """A command with the batch in hand, and all of its processes."""
    running = site.start(*words, env=OWN_TERMINALS if words[0] == "rq" else {})
    site.until((site.folder / "judging").exists, "the batch is in hand")
    return running, [process := psutil.Process(running.process.pid), *process.children(recursive=True)]


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("words", [("rq", "worker"), ("worker", "up", "--workers", "1")], ids=["rq", "up"])
def test_a_batch_that_would_take_for_ever_does_not_hold_up_the_end_and_is_processed_later(
    site: Sandbox, words: tuple[str, ...], number: int
) -> None:
    running, processes = start(site, *words)

    os.killpg(running.process.pid, number)  # as a terminal or a service manager does
    began = time.monotonic()
    done = running.end(PROMISED_SECONDS + 5)
    seconds = time.monotonic() - began

    assert seconds < PROMISED_SECONDS + 1, f"{seconds:.1f} s"
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    assert living(processes) == []
    assert site.select("SELECT count(*) FROM batches") == [(0,)]
    assert site.count("staging") == 0
    (site.folder / "go").touch()
    site.ok("worker", "up", "--burst")
    assert site.select("SELECT received, staged FROM batches") == [(40, 40)]
    site.check()


def test_a_second_ctrl_c_ends_everything_at_once(site: Sandbox) -> None:
    up, processes = start(site, "worker", "up", "--workers", "1", "--verbose")
    up.process.send_signal(signal.SIGINT)
    site.until(lambda: "warm shut down requested" in up.err, "the first was heard")

    up.process.send_signal(signal.SIGINT)

    assert up.end(2).code == 130
    until(lambda: not living(processes), "no process is left", 2)
    assert site.count("staging") == 0


def test_when_the_supervisor_is_killed_its_children_end_by_themselves(site: Sandbox) -> None:
    up, processes = start(site, "worker", "up", "--workers", "2")
    assert len(processes) >= 6  # itself, two workers, loader, cron, a horse

    up.process.kill()

    until(lambda: not living(processes), "no process is left", PROMISED_SECONDS + 5)
    assert site.count("staging") == 0


# `worker up`, with pauses between deaths and restarts that a test can wait for.
HASTY = """
from worker.cli.app import main
from worker.processes import supervisor
supervisor.FIRST_BACKOFF_SECONDS = supervisor.LONGEST_BACKOFF_SECONDS = 0.05
main()
"""


def test_a_child_that_dies_again_and_again_ends_worker_up_with_a_reason(box: Sandbox) -> None:
    up = box.start("python", "-c", HASTY, "up", "--workers", "1")
    until_given_up(box, up)

    done = up.end(PROMISED_SECONDS + 5)

    assert done.code == 1
    assert "error: worker 1 died 8 times within 60 s" in done.err
    assert "see the log above" in done.err
    assert box.processes() == []


def until_given_up(box: Sandbox, up: Running) -> None:
    """Kills the one worker whenever there is one."""
    killed: set[int] = set()

    def kill() -> bool:
        for line in up.err.splitlines():
            if "started worker 1 (process " in line:
                pid = int(line.rsplit(" ", 1)[1].rstrip(")"))
                if pid not in killed:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
        return len(killed) >= 8

    box.until(kill, "the worker was killed eight times")

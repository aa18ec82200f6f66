"""Asked to stop, everything stops: with no batch half done and no process left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from worker.processes import children
from worker.queue import rq_internals

from ..commands import OWN_TERMINALS, Running, living, until
from ..sandbox import UNHURRIED, Sandbox

RECORDS = "".join(
    f'{{"key": "k{number}", "name": "{"n" if number else "slow"}", "value": {number}, "ts": "2025-01-15"}}\n'
    for number in range(40)
)
# A record named "slow" notes that it is being judged, and waits for the file `go`.
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
    box.env |= {"SLUICE_CONTRACT": "contract:Slow", **UNHURRIED}
    box.enqueue(box.file("slow.ndjson", RECORDS))
    yield box


def start(site: Sandbox, *words: str) -> tuple[Running, list[psutil.Process]]:
    """A command with the batch in hand, and all of its processes."""
    running = site.start(*words, env=OWN_TERMINALS if words[0] == "rq" else {})
    return running, in_hand(site, running)


def in_hand(site: Sandbox, running: Running) -> list[psutil.Process]:
    """All processes of a command, once it has the batch in hand."""
    site.until((site.folder / "judging").exists, "the batch is in hand")
    return [process := psutil.Process(running.process.pid), *process.children(recursive=True)]


def test_a_worker_ends_its_batch_before_the_supervisor_ends_the_worker_within_the_promised_time() -> None:
    assert rq_internals.GRACE_SECONDS < children.GRACE_SECONDS <= PROMISED_SECONDS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("words", [("rq", "worker"), ("worker", "up", "--workers", "1")], ids=["rq", "up"])
def test_a_batch_that_would_never_end_does_not_prevent_the_stop_and_is_processed_later(
    site: Sandbox, words: tuple[str, ...], number: int
) -> None:
    running, processes = start(site, *words)

    os.killpg(running.process.pid, number)  # as a terminal or a service manager does
    done = running.end()

    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    until(lambda: not living(processes), "no process is left")
    assert site.select("SELECT count(*) FROM batches") == [(0,)]
    assert site.count("staging") == 0
    (site.folder / "go").touch()
    site.ok("worker", "up", "--burst")
    assert site.select("SELECT received, staged FROM batches") == [(40, 40)]
    site.check()


def test_a_second_ctrl_c_ends_everything_at_once(site: Sandbox) -> None:
    # Nothing but the second signal ends the batch: the periods of grace are too long.
    up = site.start_up("--workers", "1", "--verbose", GRACE_SECONDS=100_000.0)
    processes = in_hand(site, up)
    up.process.send_signal(signal.SIGINT)
    site.until(lambda: "warm shut down requested" in up.err, "the first was heard")

    up.process.send_signal(signal.SIGINT)

    assert up.end().code == 130
    until(lambda: not living(processes), "no process is left")
    assert site.count("staging") == 0


def test_when_the_supervisor_is_killed_its_children_end_by_themselves(site: Sandbox) -> None:
    up, processes = start(site, "worker", "up", "--workers", "2")
    assert len(processes) >= 6  # itself, two workers, loader, cron, a horse

    up.process.kill()

    until(lambda: not living(processes), "no process is left")
    assert site.count("staging") == 0


def test_a_child_that_dies_again_and_again_ends_worker_up_with_a_reason(box: Sandbox) -> None:
    up = box.start_up(
        "--workers", "1", "--verbose", LONGEST_BACKOFF_SECONDS=0.05, DEATHS_WITHIN_SECONDS=3600.0
    )
    until_given_up(box, up)

    done = up.end()

    assert done.code == 1
    assert "error: worker 1 died 8 times within 3600 s" in done.err
    assert "see the log above" in done.err
    until(lambda: not box.processes(), "no process is left")


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

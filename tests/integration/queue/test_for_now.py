"""`--run`: workers for one command, where none are running."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import pytest

from store.errors import NoWorker
from worker.processes import for_now
from worker.processes.children import Child
from worker.queue import client

from ..plant import Plant


@pytest.fixture(autouse=True)
def redis_of_the_plant(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "connect", lambda *_: plant.redis)


def test_workers_that_are_running_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Child] = []
    monkeypatch.setattr(for_now, "_are_working", lambda _: True)
    monkeypatch.setattr(Child, "start", started.append)

    with for_now.workers_for_now():
        assert started == []


@pytest.mark.parametrize(
    ("life", "seconds", "message"),
    [
        (lambda: sys.exit(1), 30.0, "ended at once"),
        (threading.Event().wait, 0.1, r"not ready after 0 s.*--wait"),
    ],
    ids=["ends", "hangs"],
)
def test_workers_that_do_not_become_ready_are_an_error_and_leave_nothing_running(
    monkeypatch: pytest.MonkeyPatch, life: Callable[[], object], seconds: float, message: str
) -> None:
    made: list[Child] = []
    start = Child.start

    def note(child: Child) -> None:
        start(child)
        made.append(child)

    monkeypatch.setattr(Child, "start", note)
    monkeypatch.setattr(for_now, "_supervise", life)
    monkeypatch.setattr(for_now, "READY_SECONDS", seconds)

    with pytest.raises(NoWorker, match=message), for_now.workers_for_now():
        pytest.fail("nothing may be sent")
    assert not made[0].is_alive

"""What is overridden of RQ is still there, in the form it was overridden in."""

from __future__ import annotations

import inspect
import re
import time
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
import rq
from rq import Queue, Worker, cron
from rq.job import Job
from rq.worker import base, worker_classes

from store.errors import UsageError
from worker.queue import rq_internals
from worker.queue.rq_internals import WRITTEN_FOR, HardenedWorker, check_redis, check_rq
from worker.queue.rq_jobs import NEVER_OURS, SluiceJob, SluiceQueue

ROOT = Path(__file__).parents[3]
PAIRS = [(SluiceJob, Job), (SluiceQueue, Queue), (HardenedWorker, Worker)]
OWN = {
    "forget_records",
    "maintain",
    "abandoned_after_seconds",
    "memory_limit_mb",
    "_become_job_process",
    "_do_job",
    "terms",
    "belong_to",
    "_packed",
    "_too_large",
    "_still_packed",
}
OWN |= {"_note_failure", "_end_job_process"}


@pytest.mark.parametrize("module", [base, worker_classes, cron])
def test_rqs_workers_and_cron_ask_the_clock_by_a_name_that_can_be_replaced(module: ModuleType) -> None:
    assert callable(module.now)
    assert "now()" in inspect.getsource(module)
    assert "time.time() -" not in inspect.getsource(module)


def test_a_clock_that_is_set_during_a_run_makes_nothing_due_and_lets_nothing_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (base, worker_classes, cron):
        monkeypatch.setattr(module, "now", module.now)
    rq_internals.use_steady_clock()
    before = base.now()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    for module in (base, worker_classes, cron):
        assert timedelta(0) <= module.now() - before < timedelta(minutes=1)
    assert abs(datetime.now(UTC) - before) < timedelta(minutes=1)


OVERRIDDEN = [
    (ours, theirs, name)
    for ours, theirs in PAIRS
    for name in vars(ours)
    if not name.startswith("__") and name not in OWN
]


@pytest.mark.parametrize(("ours", "theirs", "name"), OVERRIDDEN)
def test_whatever_is_overridden_exists_in_rq(ours: type, theirs: type, name: str) -> None:
    assert hasattr(theirs, name), f"{ours.__name__}.{name} overrides nothing of RQ {rq.__version__}"


@pytest.mark.parametrize(("ours", "theirs", "name"), OVERRIDDEN)
def test_whatever_rq_passes_to_an_overridden_method_is_taken(ours: type, theirs: type, name: str) -> None:
    mine, its = getattr(ours, name), getattr(theirs, name)
    if not callable(mine) or isinstance(mine, type):
        return
    mine, its = inspect.signature(mine).parameters, inspect.signature(its).parameters
    kinds = {each.kind for each in mine.values()}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        assert [*its] == [*mine]
    asked = {key for key, each in mine.items() if each.kind is each.POSITIONAL_OR_KEYWORD and key[0] != "_"}
    assert asked <= its.keys()


def test_the_steps_of_rq_that_are_called_still_take_an_execution() -> None:
    assert [*inspect.signature(Worker.perform_job).parameters] == ["self", "job", "queue", "execution"]
    assert "execution" in inspect.signature(Worker.handle_job_success).parameters
    assert "execution" in inspect.signature(Worker.monitor_work_horse).parameters


def test_the_fields_that_are_ignored_are_those_that_rq_reads() -> None:
    read = set(re.findall(r"""obj(?:\.get\(|\[)'(\w+)'""", inspect.getsource(Job.restore)))
    assert {name.decode() for name in NEVER_OURS} <= read


def test_rqs_cron_makes_its_queues_by_the_name_that_is_replaced() -> None:
    assert "Queue(self.queue_name" in inspect.getsource(cron.CronJob.enqueue)
    assert cron.Queue is Queue, "it is replaced for a process that asks for it, never at import"  # type: ignore[attr-defined]
    assert cron.CronScheduler.start is rq_internals._start_of_rq


def test_the_range_it_was_written_for_is_the_one_that_is_installed() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    first, below = (".".join(map(str, version)) for version in WRITTEN_FOR)
    assert f"rq>={first},<{below}" in asked


@pytest.mark.parametrize("version", ["2.12.0", "2.6", "3.1.0", "4.0"])
def test_another_rq_is_refused_with_the_command_that_installs_the_right_one(version: str) -> None:
    with pytest.raises(UsageError, match=r"pip install 'rq>=3\.0,<3\.1'"):
        check_rq(version)


def test_the_installed_rq_is_taken() -> None:
    check_rq(rq.__version__)
    check_rq("3.0.7")


def test_a_redis_that_cannot_move_a_job_in_one_step_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Redis 6\.0\.16 is too old"):
        check_redis((6, 0, 16))
    check_redis((6, 2, 0))
    check_redis((7, 2, 4))

"""No test sees the settings, the Redis or the database of whoever runs it."""

from __future__ import annotations

import functools
import gc
import hashlib
import os
import signal
import sqlite3
import sys
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import typer.main
from hypothesis import HealthCheck, settings

from store import addresses

from . import postgresql
from .examples import IS_CAMPAIGN, examples

# Random examples are alike in every run, and no matter how slow the machine is: a gate must not fail by chance.
# `make examples` and `make fuzz` look for what is new.
settings.register_profile(
    "gate",
    max_examples=examples(40),
    derandomize=not IS_CAMPAIGN,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("gate")

pytest_plugins = ["producer.pytest_plugin"]
TESTS = Path(__file__).parent
OURS = f"{TESTS.parent}/"
# Objects between two runs of the garbage collector. A test run has a million objects that last: going through them
# again and again took a third of the collection of the tests, and a tenth of the tests.
GARBAGE = 100_000
gc.set_threshold(GARBAGE, 20, 100)
LONGEST = ("test_chaos_short.py", "test_recovery.py", "test_stopping.py", "test_supervisor.py")


def our_callers() -> Iterator[str]:
    """The lines of this project that led here, the latest first."""
    frame: FrameType | None = sys._getframe(2)
    while frame:
        path = frame.f_code.co_filename
        if path.startswith(OURS) and "site-packages" not in path:
            yield f"{path.removeprefix(OURS)}:{frame.f_lineno}"
        frame = frame.f_back


class Watched(sqlite3.Connection):
    """A connection that warns where nobody closes it, as Python 3.13 does, and says who opened it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._is_open = False
        self._opened_by = " < ".join(islice(our_callers(), 6))
        super().__init__(*args, **options)
        self._is_open = True

    def close(self) -> None:
        self._is_open = False
        super().close()

    def __del__(self) -> None:
        if self._is_open:
            self.close()
            warnings.warn(
                f"a database was not closed; it was opened by {self._opened_by}",
                ResourceWarning,
                stacklevel=1,
            )


@pytest.fixture(scope="session", autouse=True)
def databases_are_closed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (sqlite3, sqlite3.dbapi2):
            patch.setattr(module, "connect", functools.partial(module.connect, factory=Watched))
        yield


def pytest_configure() -> None:
    """Whoever runs the tests in the background of a script has these signals ignored, and processes inherit that."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.hookimpl(optionalhook=True)  # one process alone has no xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two for each core: many tests wait for processes, or for time to pass."""
    return 2 * (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that none runs alone at the end; then the others, whole, in a mixed order.

    Mixed, tests that compute run beside tests that wait, whichever part of the list a process is given.
    """

    def rank(item: pytest.Item) -> tuple[bool, bytes]:
        mixed = hashlib.blake2b(str(item.path.relative_to(TESTS)).encode(), digest_size=8).digest()
        return item.path.name not in LONGEST, mixed

    items.sort(key=rank)


def pytest_collection_finish() -> None:
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def commands_are_built_once() -> Iterator[None]:
    """Not once a call: reading the options of all commands takes four times as long as most of the commands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_group", functools.cache(typer.main.get_group))
        yield


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The server of PostgreSQL that some test of the run has asked for ends with it."""
    made = getattr(session.config, "_tmp_path_factory", None)
    if made and "PYTEST_XDIST_WORKER" not in os.environ and (run := getattr(made, "_basetemp", None)):
        postgresql.stop_shared(run)


@pytest.fixture(autouse=True)
def isolation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A state directory of the test's own, and nothing else from the environment."""
    for name in list(os.environ):
        if name.startswith("SLUICE_") or name in ("REDIS_URL", "DATABASE_URL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(
        addresses, "_secrets", set()
    )  # those of one test would be removed from texts of others
    monkeypatch.setattr(addresses, "_users", set())
    yield
    if opened := sys.modules.get("worker.workplace"):
        opened.close_workplace()
    if (contracts := sys.modules.get("worker.contract")) and sys.modules["worker.modules"].files():
        contracts.forget()  # a module of this test's would be one that changed to the next

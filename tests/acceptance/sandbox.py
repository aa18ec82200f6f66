"""Real commands in a home of their own: run to their end, or started, signalled and cleared away.

A Python that imports everything costs a second of processor time. So commands are forked from one that has
(`warm_start.py`), but those that say `cold`, whose test is about starting; and a command that only prepares a test, or
only shows its outcome, runs in the test's own process: `run_here`, `ok_here`, `enqueue`, `check`, `report`, `digest`.

Nothing here measures time: a machine may be as slow as it likes. Deadlines only end a test that would hang.
"""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir, closing, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
from redis import Redis
from redis.exceptions import ConnectionError as NoRedis

import producer.cli.app
import store.cli.app
import worker.cli.app
from store import terminal
from worker import contract
from worker.queue.server import private_server
from worker.queue.server.connection import open_client
from worker.workplace import close_workplace

from . import commands
from .commands import DEADLINE_SECONDS, Done, Running, until

ROOT = Path(__file__).parents[2]
SAMPLE = str(ROOT / "data" / "sample.ndjson")
ANOTHERS_SETTINGS = ("REDIS_URL", "DATABASE_URL", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONWARNINGS")
ANOTHERS_PREFIXES = ("SLUICE_", "RQ_", "PYTEST_")
APPS = {"producer": producer.cli.app.app, "worker": worker.cli.app.app, "store": store.cli.app.app}
# For tests that hold a batch until they let it go: no timeout of the product ends it before.
UNHURRIED = {"SLUICE_JUDGE_TIMEOUT_SECONDS": "100000", "SLUICE_JOB_TIMEOUT_SECONDS": "100000"}
SERVER_NAMES = ("redis", "valkey")
# Looks at what is due, ten times as often.
HURRIED = {"DEQUEUE_SECONDS": 0.2, "MAINTENANCE_SECONDS": 0.2, "POLL_SECONDS": 0.02}


# `worker up` with other constants of its modules: longer, where a slow machine must not use up the time; or shorter,
# where a test would only wait.
UP = """
from worker import rq_worker
from worker.cli.app import main
from worker.processes import children, supervisor
from worker.queue import rq_internals
for module in (rq_worker, rq_internals, supervisor, children):
    for name, value in {constants!r}.items():
        if hasattr(module, name):
            setattr(module, name, value)
main()
"""


class Sandbox:
    """A state directory, and an environment with nobody's settings."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.env = {
            name: value
            for name, value in os.environ.items()
            if name not in ANOTHERS_SETTINGS and not name.startswith(ANOTHERS_PREFIXES)
        }
        # The periodic loader's default of five seconds would only be waited for.
        self.env |= {"SLUICE_HOME": str(self.home), "SLUICE_LOAD_EVERY_SECONDS": "1", **env}
        self.output: list[str] = []
        self._running: list[Running] = []
        self._logs = folder / "logs"
        self._logs.mkdir()

    # --- commands ---

    def run(
        self,
        *words: str,
        cwd: Path | None = None,
        stdin: str = "",
        env: dict[str, str] | None = None,
        cold: bool = False,
    ) -> Done:
        """Runs a command to its end, in a folder without a configuration unless `cwd` says where."""
        done = commands.run(words, cwd or self.folder, self.env | (env or {}), stdin, cold)
        self.output += [done.out, done.err]
        return done

    def ok(self, *words: str, **options: Any) -> Done:
        """Runs a command that must succeed."""
        done = self.run(*words, **options)
        assert done.code == 0, f"{words} ended with {done.code}:\n{done.out}{done.err}"
        assert "Traceback" not in done.err
        return done

    def start(self, *words: str, env: dict[str, str] | None = None, cold: bool = False) -> Running:
        """Starts a command that is ended by the test, or after it."""
        env = self.env | (env or {})
        running = Running(words, self._logs, len(self._running), self.folder, env, cold)
        self._running.append(running)
        return running

    def start_up(self, *options: str, env: dict[str, str] | None = None, **constants: float) -> Running:
        """Starts `worker up` with other values for constants of the supervisor and the worker."""
        return self.start("python", "-c", UP.format(constants=constants), "up", *options, env=env)

    # --- commands in this process ---

    def run_here(self, *words: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> Done:
        """Runs a command of ours to its end, in this process."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with (
            patch.dict(os.environ, self.env | (env or {}), clear=True),
            patch.object(sys, "argv", list(words)),
            chdir(cwd or self.folder),
            redirect_stdout(out),
            redirect_stderr(err),
            self._imports_forgotten(),
        ):
            try:
                terminal.run(lambda: APPS[words[0]](words[1:], prog_name=words[0]))
                code: Any = 0
            except SystemExit as end:
                code = end.code
        texts = [stream.buffer.getvalue().decode() for stream in (out, err)]
        self.output += texts
        return Done(code or 0, *texts)

    def ok_here(self, *words: str, **options: Any) -> Done:
        """Runs a command that must succeed, in this process."""
        done = self.run_here(*words, **options)
        assert done.code == 0, f"{words} ended with {done.code}:\n{done.out}{done.err}"
        return done

    @contextmanager
    def _imports_forgotten(self) -> Iterator[None]:
        """Another sandbox may have a contract of the same name, and other settings."""
        path = list(sys.path)
        try:
            yield
        finally:
            sys.path[:] = path
            contract._load.cache_clear()
            close_workplace()
            for name, module in list(sys.modules.items()):
                if str(getattr(module, "__file__", None) or "").startswith(f"{self.folder.resolve()}/"):
                    del sys.modules[name]

    def enqueue(self, *words: str) -> Done:
        """`producer enqueue`, in this process."""
        return self.ok_here("producer", "enqueue", *words)

    def check(self) -> None:
        """All that `store check` holds must hold."""
        self.ok_here("store", "check")

    def digest(self) -> str:
        return self.ok_here("store", "digest").out.strip()

    def report(self) -> Any:
        return self.ok_here("store", "report", "--json").json

    def file(self, name: str, text: str | bytes) -> str:
        """A file in the sandbox; its path."""
        path = self.folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    # --- what is there ---

    @contextmanager
    def redis(self) -> Iterator[Redis]:
        """The queue's server, which must be running."""
        with open_client(self.env.get("REDIS_URL") or private_server.url(self.home)) as client:
            yield client

    def queued(self, queue: str = "records") -> int:
        with self.redis() as client:
            return int(client.llen(f"rq:queue:{queue}"))

    def workers(self, queue: str = "records") -> int:
        """How many take jobs: one that is only registered does not handle signals yet."""
        try:
            with self.redis() as client:
                states = [client.hget(key, "state") for key in client.smembers(f"rq:workers:{queue}")]
        except NoRedis:  # the private server has its socket, and does not listen yet
            return 0
        return sum(state in (b"idle", b"busy") for state in states)

    def select(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of the database; none where it is not made yet."""
        if url := self.env.get("DATABASE_URL"):
            return _select_on_server(url, statement)
        if not (self.home / "sluice.db").exists():
            return []
        with closing(
            sqlite3.connect(f"file:{self.home / 'sluice.db'}?mode=ro", uri=True, timeout=DEADLINE_SECONDS)
        ) as connection:
            return connection.execute(statement).fetchall()

    def count(self, table: str) -> int:
        return int(self.select(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 - the tests' own words

    def processes(self) -> list[psutil.Process]:
        """Everything that lives by this sandbox, but its Redis."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # a forked process has the environment of who forked it
                is_ours = str(self.home) == process.environ().get("SLUICE_HOME") or self._is_folder_of(
                    process
                )
                is_server = process.name().startswith(SERVER_NAMES)
                if is_ours and not is_server and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def _is_folder_of(self, process: psutil.Process) -> bool:
        where: str = process.cwd()
        return process.pid != os.getpid() and where == str(self.folder)

    def all_output(self) -> str:
        """The output of every command so far."""
        return "".join(self.output + [running.out + running.err for running in self._running])

    def until(self, holds: Callable[[], Any], what: str) -> Any:
        """As the function; a failure shows the commands' output."""
        try:
            return until(holds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.all_output()[-6000:]}") from None

    # --- the end ---

    def clear(self) -> None:
        """Ends what still runs, and the private Redis."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()
        for running in self._running:
            running.process.wait(DEADLINE_SECONDS)
        if (self.home / "redis").is_dir():
            private_server.stop(self.home)
        shutil.rmtree(self.folder, ignore_errors=True)


def _select_on_server(url: str, statement: str) -> list[tuple[Any, ...]]:
    import psycopg

    with psycopg.connect(url.replace("+psycopg", "", 1)) as connection:
        try:
            return connection.execute(statement.encode()).fetchall()
        except psycopg.errors.UndefinedTable:  # nobody has made it yet
            return []


@contextmanager
def sandbox(**env: str) -> Iterator[Sandbox]:
    """A sandbox that is cleared away; its name is short, for a socket's path is."""
    box = Sandbox(Path(tempfile.mkdtemp(prefix="sl-")), **env)
    try:
        yield box
    finally:
        box.clear()

"""Real commands in a home of their own: run to their end, or started, signalled and cleared away.

A process costs half a second of processor time to start. So a command that only prepares a test, or only shows
its outcome, runs in the test's own process: `run_here`, `ok_here`, `enqueue`, `check`, `report`, `digest`.

Nothing here measures time: a machine may be as slow as it likes. Deadlines only end a test that would hang.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, closing, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
from redis import Redis

import producer.cli.app
import store.cli.app
import worker.cli.app
from store import terminal
from worker import contract
from worker.queue.server import private_server
from worker.workplace import close_workplace

ROOT = Path(__file__).parents[2]
SAMPLE = str(ROOT / "data" / "sample.ndjson")
BIN = Path(sys.executable).parent
ANOTHERS_SETTINGS = ("REDIS_URL", "DATABASE_URL", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONWARNINGS")
ANOTHERS_PREFIXES = ("SLUICE_", "RQ_", "PYTEST_")
OWN_TERMINALS = {"RQ_CONFIG": "worker.rq_worker", "RQ_WORKER_CLASS": "worker.rq_worker.SluiceWorker"}
APPS = {"producer": producer.cli.app.app, "worker": worker.cli.app.app, "store": store.cli.app.app}
# For tests that hold a batch until they let it go: no timeout of the product ends it before.
UNHURRIED = {"SLUICE_JUDGE_TIMEOUT_SECONDS": "100000", "SLUICE_JOB_TIMEOUT_SECONDS": "100000"}
DEADLINE_SECONDS = 300.0
POLL_SECONDS = 0.02
SERVER_NAMES = ("redis", "valkey")


def until(holds: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """Waits until `holds` returns something true, and returns it."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(POLL_SECONDS)
    return found


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, all of it, as one JSON document."""
        return json.loads(self.out)


class Running:
    """A command that goes on in the background; its output goes to files."""

    def __init__(self, words: list[str], folder: Path, number: int, **options: Any) -> None:
        self._out, self._err = folder / f"{number}.out", folder / f"{number}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                words, stdout=out, stderr=err, stdin=subprocess.DEVNULL, **options
            )
        self.words = words

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def end(self, seconds: float = DEADLINE_SECONDS) -> Done:
        """Waits for its end."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired as late:
            raise AssertionError(f"{self.words} goes on after {seconds:g} s:\n{self.err[-3000:]}") from late
        return Done(code, self.out, self.err)

    def stop(self, number: int = signal.SIGTERM) -> Done:
        """Signals it, and waits for its end."""
        self.process.send_signal(number)
        return self.end()


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended."""
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


# `worker up` with other constants of its modules: longer, where a slow machine must not use up the time.
UP = """
from worker import rq_worker
from worker.cli.app import main
from worker.processes import children, supervisor
for module in (rq_worker, supervisor, children):
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
        self, *words: str, cwd: Path | None = None, stdin: str = "", env: dict[str, str] | None = None
    ) -> Done:
        """Runs a command to its end, in a folder without a configuration unless `cwd` says where."""
        done = subprocess.run(
            [str(BIN / words[0]), *words[1:]],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=cwd or self.folder,
            env=self.env | (env or {}),
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        self.output += [done.stdout, done.stderr]
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *words: str, **options: Any) -> Done:
        """Runs a command that must succeed."""
        done = self.run(*words, **options)
        assert done.code == 0, f"{words} ended with {done.code}:\n{done.out}{done.err}"
        assert "Traceback" not in done.err
        return done

    def start(self, *words: str, env: dict[str, str] | None = None) -> Running:
        """Starts a command that is ended by the test, or after it."""
        running = Running(
            [str(BIN / words[0]), *words[1:]],
            self._logs,
            len(self._running),
            cwd=self.folder,
            env=self.env | (env or {}),
            start_new_session=True,
        )
        self._running.append(running)
        return running

    def start_up(self, *options: str, **constants: float) -> Running:
        """Starts `worker up` with other values for constants of the supervisor and the worker."""
        return self.start("python", "-c", UP.format(constants=constants), "up", *options)

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
        with Redis.from_url(self.env.get("REDIS_URL") or private_server.url(self.home)) as client:
            yield client

    def queued(self, queue: str = "records") -> int:
        with self.redis() as client:
            return int(client.llen(f"rq:queue:{queue}"))

    def workers(self, queue: str = "records") -> int:
        """How many take jobs: one that is only registered does not handle signals yet."""
        with self.redis() as client:
            states = [client.hget(key, "state") for key in client.smembers(f"rq:workers:{queue}")]
        return sum(state in (b"idle", b"busy") for state in states)

    def select(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of the database; none where it is not made yet."""
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
            with suppress(psutil.Error):
                is_ours = process.environ().get("SLUICE_HOME") == str(self.home)
                is_server = process.name().startswith(SERVER_NAMES)
                if is_ours and not is_server and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

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


@contextmanager
def sandbox(**env: str) -> Iterator[Sandbox]:
    """A sandbox that is cleared away; its name is short, for a socket's path is."""
    box = Sandbox(Path(tempfile.mkdtemp(prefix="sl-")), **env)
    try:
        yield box
    finally:
        box.clear()

"""Real commands in a home of their own: run to their end, or started, signalled and cleared away.

A process takes half a second to start. So where a command is not what a test is about, but how it looks
at what became of it, the command is run in the test's own process: `look`, `check`, `report`, `digest`.
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
from worker.queue import private_server

ROOT = Path(__file__).parents[2]
SAMPLE = str(ROOT / "data" / "sample.ndjson")
BIN = Path(sys.executable).parent
ANOTHERS_SETTINGS = ("REDIS_URL", "DATABASE_URL", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONWARNINGS")
ANOTHERS_PREFIXES = ("SLUICE_", "RQ_", "PYTEST_")
OWN_TERMINALS = {"RQ_CONFIG": "worker.rq_worker", "RQ_WORKER_CLASS": "worker.rq_worker.SluiceWorker"}
APPS = {"producer": producer.cli.app.app, "worker": worker.cli.app.app, "store": store.cli.app.app}
PATIENCE_SECONDS = 60.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02


def until(holds: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """What `holds` returns, as soon as that is true."""
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
    """A command that goes on in the background; what it says goes to files."""

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

    def end(self, seconds: float = PATIENCE_SECONDS) -> Done:
        """Waits for its end."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired as late:
            raise AssertionError(f"{self.words} goes on after {seconds:g} s:\n{self.err[-3000:]}") from late
        return Done(code, self.out, self.err)

    def stop(self, number: int = signal.SIGTERM) -> Done:
        """Signals it, and holds it to its ten seconds."""
        self.process.send_signal(number)
        return self.end(STOP_SECONDS)


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
        self.said: list[str] = []
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
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        self.said += [done.stdout, done.stderr]
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

    # --- commands in this process ---

    def look(self, *words: str, cwd: Path | None = None) -> Done:
        """Runs a command that loads no contract: a module of that name may be here already, another site's."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with (
            patch.dict(os.environ, self.env, clear=True),
            chdir(cwd or self.folder),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                terminal.run(lambda: APPS[words[0]](words[1:], prog_name=words[0]))
                code: Any = 0
            except SystemExit as end:
                code = end.code
        said = [stream.buffer.getvalue().decode() for stream in (out, err)]
        self.said += said
        return Done(code or 0, *said)

    def seen(self, *words: str) -> Done:
        """Looks with a command that must succeed."""
        done = self.look(*words)
        assert done.code == 0, f"{words} ended with {done.code}:\n{done.out}{done.err}"
        return done

    def check(self) -> None:
        """All that `store check` holds must hold."""
        self.seen("store", "check")

    def digest(self) -> str:
        return self.seen("store", "digest").out.strip()

    def report(self) -> Any:
        return self.seen("store", "report", "--json").json

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
        with self.redis() as client:
            return int(client.scard(f"rq:workers:{queue}"))

    def select(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of the database; none where it is not made yet."""
        if not (self.home / "sluice.db").exists():
            return []
        with closing(sqlite3.connect(f"file:{self.home / 'sluice.db'}?mode=ro", uri=True)) as connection:
            return connection.execute(statement).fetchall()

    def count(self, table: str) -> int:
        return int(self.select(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 - the tests' own words

    def processes(self) -> list[psutil.Process]:
        """Everything that lives by this sandbox, but its Redis."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                is_ours = process.environ().get("SLUICE_HOME") == str(self.home)
                if is_ours and process.status() != psutil.STATUS_ZOMBIE and "redis" not in process.name():
                    found.append(process)
        return found

    def everything_said(self) -> str:
        """All that any command has written so far."""
        return "".join(self.said + [running.out + running.err for running in self._running])

    def until(self, holds: Callable[[], Any], what: str) -> Any:
        """As the function; where it never comes to be, what the commands said is part of the failure."""
        try:
            return until(holds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.everything_said()[-6000:]}") from None

    # --- the end ---

    def clear(self) -> None:
        """Ends what still runs, and the private Redis."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()
        for running in self._running:
            running.process.wait(STOP_SECONDS)
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

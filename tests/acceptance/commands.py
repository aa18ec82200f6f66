"""Commands that run to their end, or go on in the background: forked warm, or started cold."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from . import warm_start

BIN = Path(sys.executable).parent
DEADLINE_SECONDS = 300.0
POLL_SECONDS = 0.02
OWN_TERMINALS = {"RQ_CONFIG": "worker.rq_worker", "RQ_WORKER_CLASS": "worker.rq_worker.SluiceWorker"}


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
    """A command that goes on in the background, in a session of its own; its output goes to files."""

    def __init__(
        self, words: Sequence[str], logs: Path, number: int, cwd: Path, env: Mapping[str, str], cold: bool
    ) -> None:
        self._out, self._err = logs / f"{number}.out", logs / f"{number}.err"
        self.words = words
        self.process: warm_start.WarmProcess | subprocess.Popen[bytes]
        with self._out.open("wb") as out, self._err.open("wb") as err, Path(os.devnull).open("rb") as nothing:
            if cold or is_cold(words, env):
                self.process = subprocess.Popen(
                    path_of(words),
                    stdin=nothing,
                    stdout=out,
                    stderr=err,
                    cwd=cwd,
                    env=env,
                    start_new_session=True,
                )
            else:
                streams = (nothing.fileno(), out.fileno(), err.fileno())
                self.process = warm_start.start(words, cwd, env, *streams)

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


def path_of(words: Sequence[str]) -> list[str]:
    """A command as it is installed."""
    return [str(BIN / words[0]), *words[1:]]


def is_cold(words: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether a command cannot be forked: not one of ours, or with variables that Python or RQ reads when it starts."""
    read_at_start = [
        name
        for name in env
        if name.startswith(("PYTHON", "RQ_"))
        and name not in OWN_TERMINALS
        and env[name] != os.environ.get(name)
    ]
    return words[0] not in (*warm_start.COMMANDS, "python") or bool(read_at_start)


def run(words: Sequence[str], cwd: Path, env: Mapping[str, str], stdin: str, cold: bool) -> Done:
    """Runs a command to its end."""
    if not (cold or is_cold(words, env)):
        return Done(*warm_start.run(words, cwd, env, stdin, DEADLINE_SECONDS))
    done = subprocess.run(
        path_of(words),
        input=stdin,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended."""
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]

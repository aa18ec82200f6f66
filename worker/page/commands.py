"""The commands of Sluice that the page runs: as they are typed, each a process of its own, without a shell.

So a fix is proved, and a replay sent, by the very code that a terminal runs; a new contract or mapping is read each
time; and what is long or heavy keeps no reader waiting.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from typing import Any

import orjson

from store.errors import UsageError
from store.text import printable

START = "import sys; from {module} import {name}; sys.argv[0] = {program!r}; {name}()"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed with --json."""
        return orjson.loads(self.out)

    @property
    def why(self) -> str:
        """Its words, without the label: the last line that says anything."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return errors[-1] if errors else (lines[-1] if lines else f"the command ended with {self.code}")


class Started:
    """A command that runs."""

    def __init__(self, words: Sequence[str]) -> None:
        # A session of its own: a page that is ended ends no replay.
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def wait(self, seconds: float | None = None) -> Done | None:
        """How it ended; None where it still runs after so long."""
        try:
            out, err = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:  # it still runs
            return None
        return Done(self._process.returncode, out.decode(), err.decode("utf-8", "backslashreplace"))


Start = Callable[[Sequence[str]], Started]


def start(words: Sequence[str]) -> Started:
    """Starts a command of ours, by its installed entry point."""
    check(words)
    return Started(command_line(words))


def run(words: Sequence[str], begin: Start = start) -> Done:
    """Runs a command to its end."""
    done = begin(words).wait()
    if done is None:
        raise RuntimeError("it was waited for without a limit")
    return done


def command_line(words: Sequence[str]) -> list[str]:
    """What runs a command in this environment, from whatever folder: a folder named as a package is not imported."""
    program, *arguments = words
    [entry] = distribution("sluice").entry_points.select(group="console_scripts", name=program)
    code = START.format(module=entry.module, name=entry.attr, program=program)
    return [sys.executable, "-P", "-c", code, *arguments]


def check(words: Sequence[str]) -> None:
    """Raises UsageError for text that no command takes."""
    if any("\0" in word for word in words):
        raise UsageError("a NUL character is in the text: remove it")


def option(name: str, value: str) -> str:
    """An option as one word: a value that begins with `-` is no option."""
    return f"--{name}={value}"


def shown(words: Sequence[str]) -> str:
    """As it is typed."""
    return printable(shlex.join(words))


EDITS = ("rename", "cast", "drop", "default", "set")


def edit_options(edit: Mapping[str, Any]) -> list[str]:
    """The options of an edit that a form gives: (option, FIELD=VALUE)."""
    return [option(name, value) for name in EDITS for value in edit.get(name, [])]

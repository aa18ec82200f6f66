"""What the commands print: to a pipe, to a terminal, to a program, and for `--help`."""

from __future__ import annotations

import os
import pty
import subprocess
import threading
from collections.abc import Iterator

import pytest
import typer
from typer.main import get_command

from ..commands import BIN, DEADLINE_SECONDS
from ..sandbox import APPS, SAMPLE, Sandbox, sandbox

ESCAPE = "\x1b"


def paths(app: typer.Typer, name: str) -> Iterator[tuple[str, ...]]:
    """Every command of an application, its groups and itself among them."""
    todo = [((name,), get_command(app))]
    while todo:
        path, command = todo.pop()
        yield path
        todo += [
            ((*path, name), each)
            for name, each in getattr(command, "commands", {}).items()
            if not each.hidden
        ]


COMMANDS = sorted(path for name, app in APPS.items() for path in paths(app, name))
QUESTIONS = [
    ("store", "report"),
    ("store", "batches"),
    ("store", "runs"),
    ("store", "lineage", "sensor-1"),
    ("store", "lineage", "--by-step"),
    ("store", "letters"),
    ("store", "letters", "list"),
    ("store", "letters", "actions"),
    ("store", "watermark"),
    ("store", "watermark", "repair"),
    ("store", "check"),
    ("store", "digest"),
    ("store", "init"),
    ("worker", "status"),
    ("worker", "load"),
    ("producer", "replay", "--dry-run"),
]


@pytest.fixture(scope="module")
def filled() -> Iterator[Sandbox]:
    """A loaded sample, on a terminal that could show colours."""
    with sandbox(TERM="xterm-256color") as box:
        box.enqueue(SAMPLE)
        box.ok("worker", "up", "--burst")
        yield box
        assert ESCAPE not in box.all_output()


def on_a_terminal(box: Sandbox, *words: str) -> tuple[int, str]:
    """The exit code of a command, and what its user sees."""
    ours, theirs = pty.openpty()
    seen: list[bytes] = []
    reader = threading.Thread(target=read_all, args=(ours, seen))
    reader.start()
    process = subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=box.env,
        cwd=box.folder,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    os.close(theirs)
    reader.join()
    os.close(ours)
    return process.returncode, b"".join(seen).decode()


def read_all(terminal: int, seen: list[bytes]) -> None:
    try:
        while piece := os.read(terminal, 65536):
            seen.append(piece)
    except OSError:  # Linux says so where the other end is closed
        return


@pytest.mark.parametrize("words", QUESTIONS, ids=" ".join)
def test_json_is_all_there_is_on_standard_output(filled: Sandbox, words: tuple[str, ...]) -> None:
    done = filled.ok_here(*words, "--json")

    assert isinstance(done.json, dict | list)
    assert done.err == ""


@pytest.mark.parametrize("words", QUESTIONS, ids=" ".join)
def test_a_pipe_gets_text_without_escape_codes(filled: Sandbox, words: tuple[str, ...]) -> None:
    done = filled.ok_here(*words)

    assert done.out.strip()
    assert ESCAPE not in done.out + done.err


def test_a_terminal_sees_a_progress_bar_and_a_pipe_none(box: Sandbox) -> None:
    code, seen = on_a_terminal(box, "producer", "enqueue", SAMPLE)
    piped = box.enqueue(SAMPLE)

    assert code == 0
    assert ESCAPE in seen
    assert "records" in seen
    assert "/s" in seen
    assert piped.err == ""
    assert piped.out.count("\n") == 1


def test_a_terminal_sees_tables_in_colour(filled: Sandbox) -> None:
    code, seen = on_a_terminal(filled, "store", "report")

    assert code == 0
    assert ESCAPE in seen


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_shows_an_example(filled: Sandbox, path: tuple[str, ...]) -> None:
    text = (filled.ok_here(*path, "--help") if len(path) > 1 else filled.ok(*path, "--help", cold=True)).out

    assert "Usage: " + " ".join(path) in text
    if len(path) > 1:
        assert " ".join(path) in text.partition("Example")[2]

"""The tutorial and the how-tos, from their first command to their last, in a folder of their own."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..sandbox import ROOT, Sandbox, sandbox

OURS = ("producer", "worker", "store")
FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"`([\w./-]+)`[^`]*:\n\n\Z")
ENDS_WITH = re.compile(r"  # ends with (\d)\Z")


def steps(text: str) -> Iterator[tuple[str, str]]:
    """(a file, its text) that is to be saved, and (a command, what it shows), in their order."""
    for block in FENCED.finditer(text):
        kind, body = block.groups()
        if kind == "console":
            pieces = re.split(r"^\$ (.*)$", body, flags=re.MULTILINE)[1:]
            for command, shown in zip(pieces[::2], pieces[1::2], strict=True):
                yield f"$ {command}", shown
        elif name := NAMED.search(text[: block.start()]):
            yield name[1], body


def run(box: Sandbox, command: str) -> tuple[int, str]:
    """A command as a reader types it, and what it prints."""
    words = shlex.split(command, comments=True)
    if words[0] in OURS and ">" not in words and "|" not in words:
        starts_processes = "--run" in words or words[:2] == ["worker", "up"]
        done = (box.run if starts_processes else box.run_here)(*words)
        return done.code, done.out if done.code < 2 else done.out + done.err
    env = box.env | {"PATH": f"{Path(sys.executable).parent}:{box.env['PATH']}"}
    found = subprocess.run(
        ["/bin/bash", "-c", command], cwd=box.folder, env=env, capture_output=True, text=True, check=False
    )
    return found.returncode, found.stdout


def lines_of(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


PARTS = [
    pytest.param(part, id=f"{name}-{number}")
    for name, split in (("tutorial", r"\Z(?!)"), ("how-to", r"^(?=## )"))
    for number, part in enumerate(
        re.split(split, (ROOT / "docs" / f"{name}.md").read_text(), flags=re.MULTILINE)
    )
    if "```console" in part
]


@pytest.mark.parametrize("part", PARTS)
def test_a_reader_who_does_what_it_says_sees_what_it_shows(part: str) -> None:
    found = list(steps(part))
    assert any(name.startswith("$") for name, _ in found)
    with sandbox() as box:
        for name, text in found:
            if not name.startswith("$"):
                (box.folder / name).write_text(text)
                continue
            command = name.removeprefix("$ ")
            code, printed = run(box, ENDS_WITH.sub("", command))
            wanted = ENDS_WITH.search(command)
            assert code == int(wanted[1] if wanted else 0), (command, printed)
            pattern = "".join(
                ".*?" if piece == "…" else re.escape(piece) for piece in re.split("(…)", lines_of(text))
            )
            assert re.fullmatch(pattern, lines_of(printed), re.DOTALL), (
                f"$ {command}\n{printed}\n--- the document shows ---\n{text}"
            )

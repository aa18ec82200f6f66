"""`producer replay` on a real terminal: the proof is shown, and nothing is sent without a yes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from ..commands import DEADLINE_SECONDS
from ..sandbox import ROOT, SAMPLE, sandbox

COMMAND = [sys.executable, "-c", "from producer.cli.app import main; main()", "replay", "--id"]


def test_a_terminal_is_asked_before_anything_is_sent() -> None:
    with sandbox() as box:
        box.enqueue(SAMPLE)
        box.ok("worker", "up", "--burst")
        [letter] = box.ok_here("store", "letters", "list", "--reason", "invalid_value", "--json").json[
            "letters"
        ]
        ours, theirs = pty.openpty()
        os.write(ours, b"n\n")
        done = subprocess.run(
            [*COMMAND, letter["id"], "--set", "value=3.5"],
            env=box.env, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, timeout=DEADLINE_SECONDS,
            check=False,
        )  # fmt: skip
        shown = os.read(ours, 65536).decode()
        assert done.returncode == 1, done.stderr
        assert "1 of 1 would be accepted" in shown
        assert "send this letter? [y/N]" in shown
        assert "nothing was sent" in shown
        assert box.queued() == 0
        assert box.select("SELECT COUNT(*) FROM actions") == [(0,)]

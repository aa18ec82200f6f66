"""`worker status` and `worker flags list` for people."""

from __future__ import annotations

from typing import Any

import pytest

from store.cli.render import elements
from worker.cli.app import status_table
from worker.cli.flags import flag_table


def printed(things: list[Any], width: int, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    elements.put(*things)
    return str(capsys.readouterr().out)


def test_worker_status_is_a_table_like_all_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"redis": "/home/redis.sock", "queued_batches": 1234, "loading_now": None}
    assert printed(status_table(found), 80, monkeypatch, capsys).splitlines() == [
        "Worker status",
        "what            now",
        "─" * 32,
        "redis           /home/redis.sock",
        "queued batches  1,234",
        "loading now     none",
    ]


def test_flags_are_a_table_like_all_others_and_changes_are_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flag = {"share": 0.5, "set_by_hand": True, "configured": 1.0}
    change = {"name": "dedupe", "previous": None, "share": 0.5, "by": "ann", "why": "a\x1b trial",
              "at": "2025-01-15T12:00:00.000000Z"}  # fmt: skip
    assert printed(
        flag_table({"flags": {"dedupe": flag}, "changes": [change]}), 80, monkeypatch, capsys
    ).splitlines() == [
        "Stages",
        "stage   share               from",
        "─" * 44,
        "dedupe  0.5 of the records  worker flags set",
        "",
        "2025-01-15 12:00:00 UTC  dedupe: configured to 0.5 of the records, by ann: a\\x1b trial",
    ]

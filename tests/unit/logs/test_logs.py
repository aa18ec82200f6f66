from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest

from store import logs, terminal
from store.addresses import keep_secret

HOSTILE = "\x1b[2J\x9b31m\r\n02:00:00 a forged line\x07\u202e"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    """What a handler of some library's logger, made before anything of ours, writes."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("a.library")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logs.guard()
    logs.guard()
    yield stream
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    "level", [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL]
)
def test_no_level_of_any_logger_writes_an_escape_code_or_a_forged_line(written: StringIO, level: int) -> None:
    logging.getLogger("a.library").log(level, "batch %s", HOSTILE)
    lines = written.getvalue().splitlines()
    assert lines[0].startswith("batch \\x1b[2J\\x9b31m\\r")
    assert all(line.startswith("  ") for line in lines[1:])
    assert not set(written.getvalue()) & set("\x1b\x9b\r\x07\u202e")


def test_a_traceback_keeps_its_lines_and_writes_no_escape_code(written: StringIO) -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logging.getLogger("a.library").exception("job failed")
    lines = written.getvalue().splitlines()
    assert lines[:2] == ["job failed", "  Traceback (most recent call last):"]
    assert "\x1b" not in written.getvalue()
    assert not any(line.startswith("02:00:00") for line in lines)


def test_a_password_that_a_library_reports_is_not_logged(written: StringIO) -> None:
    keep_secret("postgresql://ann:log-s3cret@h/db?sslpassword=another-s3cret")
    logging.getLogger("a.library").info("cannot log in as ann with %s, %s", "log-s3cret", "another-s3cret")
    assert written.getvalue() == "cannot log in as ann with ***, ***\n"


def test_two_handlers_of_one_line_write_the_same(written: StringIO) -> None:
    second = StringIO()
    handler = logging.StreamHandler(second)
    logging.getLogger("a.library").addHandler(handler)
    logs.guard()
    logging.getLogger("a.library").error("one\ntwo")
    logging.getLogger("a.library").removeHandler(handler)
    assert second.getvalue() == written.getvalue() == "one\n  two\n"


@pytest.fixture
def as_json(written: StringIO, monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """The same, written as JSON; other handlers than that one stay as they are."""
    of_library = logging.getLogger("a.library").handlers
    [own] = [each for each in of_library if getattr(each, "stream", None) is written]
    monkeypatch.setattr(logs, "_handlers", lambda: iter([own]))
    monkeypatch.setattr(logs, "_formats", [])
    logs.use("json")
    return written


def lines(stream: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_of_json_has_its_event_with_ids_and_counts(as_json: StringIO) -> None:
    extra = logs.event("batch_processed", batch="ab", received=3)
    logging.getLogger("a.library").info("batch %s", "ab", extra=extra)
    [line] = lines(as_json)
    assert line.pop("pid") and line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info", "event": "batch_processed", "batch": "ab", "received": 3, "message": "batch ab",
        "logger": "a.library",
    }  # fmt: skip


def test_a_line_of_a_library_is_json_too_with_its_traceback(as_json: StringIO) -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logging.getLogger("a.library").exception("job\nfailed")
    [line] = lines(as_json)
    assert (line["event"], line["level"]) == ("library", "error")
    assert "ValueError" in line["traceback"]
    assert not set(as_json.getvalue()) & set("\x1b\x9b\r\x07\u202e")


def test_a_hostile_id_is_escaped_and_a_secret_is_not_written(as_json: StringIO) -> None:
    keep_secret("redis://ann:json-s3cret@h/0")
    logging.getLogger("a.library").warning(
        "x", extra=logs.event("quarantined", entry=f"{HOSTILE} json-s3cret")
    )
    [line] = lines(as_json)
    assert line["entry"].startswith("\x1b[2J")
    assert "json-s3cret" not in as_json.getvalue()
    assert not set(as_json.getvalue()) & set("\x1b\x9b\r\x07\u202e")


def test_what_was_chosen_is_not_undone_by_a_default(as_json: StringIO) -> None:
    logs.use_by_default("text")
    assert logs.is_json()


def test_errors_of_a_command_are_json_too(as_json: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "log", logging.getLogger("a.library"))
    terminal.fail("no such file")
    terminal.warn("slow")
    assert [(line["event"], line["level"], line["message"]) for line in lines(as_json)] == [
        ("command", "error", "no such file"), ("command", "warning", "slow"),
    ]  # fmt: skip

from __future__ import annotations

import logging
from collections.abc import Iterator
from io import StringIO

import pytest

from store import logs
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

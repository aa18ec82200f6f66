"""Log lines, as text or as JSON, made safe at the handlers: whatever logger, level or library they come from.

Each line of ours has the name of an event, and its ids and counts: docs/operations.md lists the names.

A message from the queue, a file's name or an error's text may contain escape codes, which a terminal obeys, and line
ends, which forge a line. An error's text may contain the secrets of a URL.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from store.addresses import without_secrets
from store.text import printable, printable_lines

MADE_SAFE = "sluice_made_safe"  # an attribute of a record: each of several handlers filters it
PLAIN = logging.Formatter()
NAME, FIELDS = "sluice_event", "sluice_fields"  # attributes of a record
OF_A_LIBRARY = "library"  # the event of a line that is not ours

Format = Literal["text", "json"]
Scalar = str | int | float | None


def event(name: str, /, **fields: Scalar) -> dict[str, Any]:
    """What a line of ours is about, for its `extra`: ids and counts, and no value of a record."""
    return {NAME: name, FIELDS: fields}


class AsJson(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """With the ids and counts of its event beside the message."""
        body: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.__dict__.get(NAME, OF_A_LIBRARY),
            **record.__dict__.get(FIELDS, {}),
            "message": record.getMessage(),
            "logger": record.name,
            "pid": record.process,
        }
        if record.exc_info and not record.exc_text:
            record.exc_text = PLAIN.formatException(record.exc_info)
        if record.exc_text:
            body["traceback"] = record.exc_text
        shown = {
            name: without_secrets(each) if isinstance(each, str) else each for name, each in body.items()
        }
        return json.dumps(shown)  # what is not ASCII is escaped, and so is every control character


AS_JSON = AsJson()
_formats: list[Format] = []  # the one that was chosen, if one was


def use(format: Format) -> None:
    """Writes all further lines of this process, and of those that it forks, in this format."""
    _formats[:] = [format]
    guard()


def use_by_default(format: Format) -> None:
    """The same, unless one was chosen: a worker of `worker up` writes as that was asked to."""
    if not _formats:
        use(format)


def is_json() -> bool:
    """Whether lines are written as JSON."""
    return _formats == ["json"]


def guard() -> None:
    """Puts filter and format on every handler that there is now, and on Python's own for programs without a log."""
    for handler in _handlers():
        if safe not in handler.filters:
            handler.addFilter(safe)
        if is_json():
            handler.setFormatter(AS_JSON)


def _handlers() -> Iterator[logging.Handler]:
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield from logger.handlers
    if logging.lastResort:
        yield logging.lastResort


def safe(record: logging.LogRecord) -> bool:
    """A handler's filter: the line without control characters and secrets; a traceback keeps its lines, indented."""
    if MADE_SAFE in record.__dict__:
        return True
    record.__dict__[MADE_SAFE] = True
    message = record.getMessage()
    record.msg = (
        safe_lines(message) if record.levelno >= logging.ERROR else printable(without_secrets(message))
    )
    record.args = ()
    if record.exc_info and not record.exc_text:
        record.exc_text = PLAIN.formatException(record.exc_info)
    if record.exc_text:
        record.exc_text = "  " + safe_lines(record.exc_text)
    return True


def safe_lines(text: str) -> str:
    """Several lines, of which all but the first are indented: none of them looks like the beginning of a log line."""
    return printable_lines(without_secrets(text)).replace("\n", "\n  ")

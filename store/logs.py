"""Log lines made safe, at the handlers: whatever logger, level or library they come from.

A message from the queue, a file's name or an error's text may contain escape codes, which a terminal obeys, and line
ends, which forge a line. An error's text may contain the secrets of a URL.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from store.addresses import without_secrets
from store.text import printable, printable_lines

MADE_SAFE = "sluice_made_safe"  # an attribute of a record: each of several handlers filters it
PLAIN = logging.Formatter()


def guard() -> None:
    """Puts the filter on every handler that there is now, and on Python's own for programs that set up no log."""
    for handler in _handlers():
        if safe not in handler.filters:
            handler.addFilter(safe)


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

"""The common parts of the three commands: errors in one line, named exit codes, JSON on standard output."""

from __future__ import annotations

import enum
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable
from io import TextIOWrapper
from typing import Any

import orjson

from store import logs
from store.addresses import without_secrets
from store.errors import SluiceError
from store.text import encodable, printable, shown_path

log = logging.getLogger("sluice.command")


class Exit(enum.IntEnum):
    """The exit codes."""

    OK = 0
    FAILED = 1  # a law is violated, a job failed for good, or nothing was found
    USAGE = 2  # the user can fix this; or Redis or the database is not available
    INTERRUPTED = 130


def run(app: Callable[[], Any]) -> None:
    """Runs a command: a SluiceError is one line on standard error, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8
    logs.guard()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe; Python would fail again when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.OK)
    except SluiceError as error:
        fail(str(error))
        sys.exit(error.exit_code)
    except (TypeError, UnicodeEncodeError) as error:  # of orjson; of the driver of a database
        if not (odd := undecodable_arguments()) or "surrogates not allowed" not in str(error):
            raise
        fail(
            f"the argument {odd[0]} is not UTF-8 text: only a path and the name of a stream may be other bytes"
        )
        sys.exit(Exit.USAGE)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except Exception:  # a mistake of ours: shown whole, but for what nobody may see
        print(logs.safe_lines(traceback.format_exc()), file=sys.stderr)
        sys.exit(Exit.FAILED)


def undecodable_arguments() -> list[str]:
    """The arguments of this command that are not UTF-8, as they are shown."""
    return [shown_path(each) for each in sys.argv[1:] if encodable(each) != each]


def fail(message: str) -> None:
    """`error: …` on standard error, red on a terminal."""
    note(message, "error", "31")


def warn(message: str) -> None:
    """`warning: …` on standard error, yellow on a terminal."""
    note(message, "warning", "33")


def note(message: str, word: str, colour: str) -> None:
    if logs.is_json():
        level = logging.ERROR if word == "error" else logging.WARNING
        log.log(level, "%s", message, extra=logs.event("command"))
        return
    coloured = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    label = f"\x1b[{colour}m{word}:\x1b[0m" if coloured else f"{word}:"
    print(label, printable(without_secrets(message)), file=sys.stderr)


def counted(number: int, one: str, many: str = "") -> str:
    """`1 batch`, `2 batches`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json_text(value) + "\n")


def json_text(value: Any, *, indented: bool = True) -> str:
    """JSON with every control character escaped, and what turns the direction of text around."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 if indented else None).decode()
    # JSON escapes most control characters, but not these, which terminals obey. They occur only in strings.
    return re.sub(
        "[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]",
        lambda found: f"\\u{ord(found[0]):04x}",
        text,
    )

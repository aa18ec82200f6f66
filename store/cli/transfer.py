"""`store letters export`: letters as a file, for a spreadsheet, a script or a test."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated

import typer

from store.cli.choosing import Status, choosing
from store.cli.command import Json, examples, reading, show
from store.dead_letters.filters import Filter
from store.errors import InputError, UsageError
from store.terminal import counted
from store.text import printable, shown_path

EXAMPLES = examples(
    "store letters export --group 9c01 --output fix.csv",
    "store letters export --format ndjson --source shop | jq .",
    "store letters export --as-test --group 9c01 --output tests/test_shop.py",
)


class Format(StrEnum):
    """How letters are written."""

    CSV = "csv"
    NDJSON = "ndjson"


@choosing(status=Status.OPEN)
def export(
    which: Filter,
    format: Annotated[Format, typer.Option(help="csv, for a spreadsheet, or ndjson.")] = Format.CSV,
    output: Annotated[
        Path | None, typer.Option(help="The file; it must not exist yet.", show_default="standard output")
    ] = None,
    as_test: Annotated[
        bool, typer.Option("--as-test", help="A pytest file with up to 20 letters of one --group.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write letters to a file, a row each. Fixed there, `producer replay --from FILE` sends them back.

    The fields of a record are columns under their own names. --json, with --output, says how many were written.
    """
    from store.dead_letters.transfer import export as letters
    from store.dead_letters.transfer.as_test import write_test

    if as_test and len(which.groups) != 1:
        raise UsageError(
            "--as-test writes the letters of one group: give its --group, as `store letters` shows it"
        )
    if as_json and output is None:
        raise UsageError("--json tells what was written to --output: give both")
    with reading() as connection, _opened(output) as out:
        matching = which.conditions(connection)
        write = letters.write_csv if format is Format.CSV else letters.write_ndjson
        if as_test:
            write = write_test
        written = write(connection, matching, out)
    if output is None:
        return
    name = shown_path(str(output))
    found = {"file": name, **written._asdict()}
    without = (
        f"; {written.without_fields:,} without fields: see letter.note" if written.without_fields else ""
    )
    text = f"{counted(written.letters, 'letter')} written to {name}{without}"
    show(found, as_json, lambda _: [printable(text)])


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[str]]:
    """A file that gets its name when it is whole; or standard output, as UTF-8. Raises UsageError, InputError."""
    if output is None:
        sys.stdout.flush()
        stream = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="", write_through=True)
        try:
            yield stream
        finally:
            stream.detach()  # it is not ours to close
        return
    if output.exists():
        raise UsageError(f"{shown_path(str(output))} exists: remove it, or give another --output")
    part = output.with_name(output.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        os.replace(part, output)  # noqa: PTH105 - as it reads
    except OSError as error:
        raise InputError(f"{shown_path(str(output))} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)

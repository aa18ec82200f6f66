"""The common parts of the commands: help, options, the open database, and output for people or as JSON.

Help is plain text: rich, which would draw boxes around it, takes as long to import as all the rest of it.
"""

from __future__ import annotations

import csv
import gc
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.completion import get_completion_inspect_parameters, install_callback, show_callback

from store import terminal
from store.errors import UsageError
from store.terminal import print_json
from store.text import printable, spreadsheet_cell

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

Json = Annotated[bool, typer.Option("--json", help="As JSON on standard output.")]
# Imports make many objects, and all stay. With Python's default of 700 the collector took 0.16 of the 1.4 s of
# `store report`, with this 0.09.
OBJECTS_BETWEEN_COLLECTIONS = 20_000

Csv = Annotated[bool, typer.Option("--csv", help="As CSV on standard output; no cell is a formula.")]


def program(name: str, help: str) -> typer.Typer:
    """One of the three commands, with `--version` and shell completion."""
    app = group(name, help)
    app.callback()(_common_options)
    return app


def group(name: str, help: str, examples: str | None = None) -> typer.Typer:
    """A group of commands."""
    return typer.Typer(
        name=name,
        help=help,
        epilog=examples,
        no_args_is_help=True,
        rich_markup_mode=None,
        add_completion=False,  # typer's own options would import pydantic for every command: see _common_options
        pretty_exceptions_enable=False,
    )


def examples(*lines: str) -> str:
    """The end of a help text: commands as they are typed, one a line."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def run(app: typer.Typer) -> None:
    """Runs a command, or completes one for a shell, which asks with a variable like `_STORE_COMPLETE`."""
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    if any(name.endswith("_COMPLETE") for name in os.environ):
        get_completion_inspect_parameters()  # registers the shells that typer knows
    terminal.run(app)


def _show_version(context: typer.Context, asked: bool) -> None:
    if asked:
        from importlib.metadata import version  # slow to import

        print(f"{context.info_name} (sluice) {version('sluice')}, Python {platform.python_version()}")
        raise typer.Exit


def _common_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    install_completion: Annotated[
        bool,
        typer.Option(
            "--install-completion", callback=install_callback, help="Install completion for your shell."
        ),
    ] = False,
    show_completion: Annotated[
        bool,
        typer.Option(
            "--show-completion", callback=show_callback, help="Show the script that completes for your shell."
        ),
    ] = False,
) -> None: ...


@contextmanager
def opened() -> Iterator[Engine]:
    """The database, created on first use."""
    from store.database import install
    from store.settings import StoreSettings

    engine = install.prepare(StoreSettings.load())
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def reading(*, scratch: bool = False) -> Iterator[Connection]:
    """A read transaction: one consistent view of the data; with `scratch`, one that may make temporary tables."""
    from store import database

    with opened() as engine, database.reading(engine, scratch=scratch) as connection:
        yield connection


@contextmanager
def changing() -> Iterator[Connection]:
    """A write transaction: everything or nothing."""
    from store import database

    with opened() as engine, database.transaction(engine) as connection:
        yield connection


def one_format(as_csv: bool, as_json: bool) -> None:
    """Raises UsageError for two."""
    if as_csv and as_json:
        raise UsageError("--json and --csv are two formats of one output: choose one")


def put_csv(rows: Iterable[Iterable[object]]) -> None:
    """Rows as CSV, each when it comes; see `spreadsheet_cell`."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for row in rows:
        cells = [spreadsheet_cell(value) for value in row]
        writer.writerow([printable(each) for each in cells] if sys.stdout.isatty() else cells)


def confirm(what: str, option: str) -> None:
    """Asks on a terminal whether to go on; ends the command otherwise. Raises UsageError where nobody can answer."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"{what}: give {option} to do it")
    typer.confirm(f"{what}. Go on?", abort=True, err=True)


def show(found: Any, as_json: bool, render: Callable[[Any], list[Any]]) -> None:
    """Prints the same data as JSON or, rendered, for people."""
    if as_json:
        print_json(found)
    else:
        from store.cli.render import elements

        elements.put(*render(found))

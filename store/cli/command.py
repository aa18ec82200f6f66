"""The common parts of the commands: the open database, and output for people or as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from store.terminal import print_json

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

Json = Annotated[bool, typer.Option("--json", help="As JSON on standard output.")]


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
def reading() -> Iterator[Connection]:
    """A read transaction: one consistent view of the data."""
    from store import database

    with opened() as engine, database.reading(engine) as connection:
        yield connection


@contextmanager
def changing() -> Iterator[Connection]:
    """A write transaction: everything or nothing."""
    from store import database

    with opened() as engine, database.transaction(engine) as connection:
        yield connection


def show(found: Any, as_json: bool, render: Callable[[Any], list[Any]]) -> None:
    """Prints the same data as JSON or, rendered, for people."""
    from store.cli.render import elements

    if as_json:
        print_json(found)
    else:
        elements.put(*render(found))

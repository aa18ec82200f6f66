"""`store report`, `batches`, `runs`, `lineage`, `dead-letters`, `watermark`, `check`, `digest`, `init`.

The database's libraries are slow to import, so each command imports them itself: `--help` is quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from store import console
from store.console import Exit, print_json
from store.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

app = typer.Typer(
    name="store",
    help="Look at what was stored, check it, repair it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
)
watermark_app = typer.Typer(help="Show each source's watermark, or repair them.", rich_markup_mode="rich")
app.add_typer(
    watermark_app,
    name="watermark",
    epilog="Examples:\n\n  store watermark\n\n  store watermark --json\n\n  store watermark repair",
)

LETTERS_IN_TABLE = 20

Json = Annotated[bool, typer.Option("--json", help="As JSON on standard output.")]
Limit = Annotated[int, typer.Option(help="How many, newest first.", min=1)]


class Status(StrEnum):
    """Which dead letters."""

    OPEN = "open"
    RESOLVED = "resolved"
    ALL = "all"


@contextmanager
def opened() -> Iterator[Engine]:
    """The database, made on first use."""
    from store import database
    from store.settings import StoreSettings

    engine = database.prepare(StoreSettings.load())
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def reading() -> Iterator[Connection]:
    """One consistent view of the data."""
    from store import database

    with opened() as engine, database.reading(engine) as connection:
        yield connection


def show(found: Any, as_json: bool, render: Callable[[Any], list[Any]]) -> None:
    """The same data either way."""
    from store import rendering

    if as_json:
        print_json(found)
    else:
        rendering.put(*render(found))


@app.callback()
def store() -> None:
    """Look at what was stored, check it, repair it."""


@app.command(epilog="Examples:\n\n  store init\n\n  DATABASE_URL=sqlite:////data/sluice.db store init --json")
def init(as_json: Json = False) -> None:
    """Make the database, or bring it to today's tables. Every other command does so too on first use."""
    from store import schema

    with opened() as engine:
        where = engine.url.render_as_string(hide_password=True)
    found = {"database": where, "revision": schema.SCHEMA_REVISION}
    show(found, as_json, lambda _: [console.shown(f"{where} is ready, revision {schema.SCHEMA_REVISION}.")])


@app.command(epilog="Examples:\n\n  store report\n\n  store report --json")
def report(as_json: Json = False) -> None:
    """The receipt of everything so far: what came in, and what became of it."""
    from store import looking, tables

    with reading() as connection:
        found = looking.report(connection)
    show(found, as_json, tables.report)


@app.command(epilog="Examples:\n\n  store batches\n\n  store batches --limit 5 --json")
def batches(limit: Limit = 20, as_json: Json = False) -> None:
    """The latest batches, each with its receipt."""
    from store import looking, tables

    with reading() as connection:
        found = looking.recent_batches(connection, limit)
    show(found, as_json, tables.batches)


@app.command(epilog="Examples:\n\n  store runs\n\n  store runs --limit 5 --json")
def runs(limit: Limit = 20, as_json: Json = False) -> None:
    """The loader's latest runs: what each did, how long it took, why it failed."""
    from store import looking, tables

    with reading() as connection:
        found = looking.recent_runs(connection, limit)
    show(found, as_json, tables.runs)


@app.command(
    epilog="Examples:\n\n"
    "  store lineage ci37868143\n\n"
    "  store lineage order-17 --source shop --json\n\n"
    "  store lineage --file orders.csv --line 12\n\n"
    "  store lineage --by-step"
)
def lineage(
    key: Annotated[str | None, typer.Argument(help="A record's key.", show_default=False)] = None,
    source: Annotated[str | None, typer.Option(help="Only this source's record of that key.")] = None,
    file: Annotated[str | None, typer.Option(help="A file, named as it was sent; with --line.")] = None,
    line: Annotated[int | None, typer.Option(help="A line of that file.", min=0)] = None,
    by_step: Annotated[bool, typer.Option("--by-step", help="Count the entries of each step.")] = False,
    as_json: Json = False,
) -> None:
    """What was done to a record, from its file and line to the target; or what became of a line."""
    asked = [key is not None, file is not None or line is not None, by_step]
    if sum(asked) != 1 or (file is None) != (line is None):
        raise UsageError("give one of: a KEY, --file with --line, or --by-step")
    if source is not None and key is None:
        raise UsageError("--source goes with a KEY")
    from store import looking, tables
    from store.lineage import count_by_step

    with reading() as connection:
        if by_step:
            show(count_by_step(connection), as_json, tables.steps)
        elif file is not None and line is not None:
            show(looking.lineage_of_line(connection, file, line), as_json, tables.lineage)
        elif key is not None:
            show(looking.lineage_of_key(connection, key, source), as_json, tables.lineage)


@app.command(
    epilog="Examples:\n\n"
    "  store dead-letters\n\n"
    "  store dead-letters --reason invalid_value --reason missing_key --source shop\n\n"
    "  store dead-letters --id 3f2a91c0\n\n"
    "  store dead-letters --status all --json"
)
def dead_letters(
    reason: Annotated[list[str] | None, typer.Option(help="Only with this reason; may be repeated.")] = None,
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    status: Annotated[Status, typer.Option(help="Those to mend, those mended, or all.")] = Status.OPEN,
    limit: Annotated[
        int | None,
        typer.Option(help="How many, oldest first.", min=1, show_default="20; all of them with --json"),
    ] = None,
    id: Annotated[str | None, typer.Option(help="This one in full; its first digits will do.")] = None,
    as_json: Json = False,
) -> None:
    """Rejected records: why, where they stand, what they say."""
    if id is not None and (reason or source or limit):
        raise UsageError("--id names one letter: it goes with no other choice")
    from store import batches as inbox
    from store import dead_letters as letters
    from store import looking, tables

    with reading() as connection:
        if id is not None:
            show(looking.letter(connection, id), as_json, tables.dead_letter)
            return
        which, reasons = (None if status is Status.ALL else status.value), reason or []
        most = limit if limit or as_json else LETTERS_IN_TABLE
        found = looking.letters(connection, which, reasons, source, most)
        matching = letters.count(connection, status=which, reasons=reasons, source=source)
        is_empty = inbox.count(connection) == 0
    show(
        found,
        as_json,
        lambda found: [tables.EMPTY] if is_empty else tables.dead_letters(found, matching, status.value),
    )


@watermark_app.callback(invoke_without_command=True)
def watermark(context: typer.Context, as_json: Json = False) -> None:
    """Show each source's watermark: the greatest event time loaded, its age and its last move."""
    if context.invoked_subcommand:
        return
    from store import looking, tables
    from store.settings import ClockSettings

    with reading() as connection:
        found = looking.watermark(connection, ClockSettings.load().max_future_skew)
    show(found, as_json, tables.watermark)


@watermark_app.command(epilog="Examples:\n\n  store watermark repair\n\n  store watermark repair --json")
def repair(as_json: Json = False) -> None:
    """Restore each watermark that does not hold, from its history and the target."""
    from store import database, looking, tables
    from store.settings import ClockSettings

    with opened() as engine, database.transaction(engine) as connection:
        found = looking.repair(connection, ClockSettings.load().max_future_skew)
    show(found, as_json, tables.repaired)


@app.command(epilog="Examples:\n\n  store check\n\n  store check --repair\n\n  store check --json")
def check(
    repair: Annotated[
        bool, typer.Option("--repair", help="Make the Redis DLQ equal the open letters.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Hold the laws of conservation against every batch, run and row, and the Redis DLQ against the table.

    Ends with 1 where one does not hold.
    """
    from store import looking, tables

    with reading() as connection:
        found = looking.check(connection, repair)
    show(found, as_json, tables.check)
    if not found["holds"]:
        raise typer.Exit(Exit.FAILED)


@app.command(epilog="Examples:\n\n  store digest\n\n  test $(store digest) = $(cat digest.txt)")
def digest(as_json: Json = False) -> None:
    """One hash over the target and the open dead letters: the same for the same records, however they came."""
    from store import accounting

    with reading() as connection:
        found = accounting.digest(connection)
    if as_json:
        print_json({"digest": found})
    else:
        print(found)


def main() -> None:
    """The command's entry point."""
    console.run(app)

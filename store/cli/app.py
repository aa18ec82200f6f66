"""`store report`, `batches`, `runs`, `lineage`, `dead-letters`, `check`, `digest`, `init`; the rest is registered.

The database's libraries are slow to import, so each command imports them itself: `--help` is quick.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from store import terminal
from store.cli import lineage, reconcile, timing, watermarks
from store.cli.command import Json, opened, reading, show
from store.errors import UsageError
from store.terminal import Exit, print_json

app = typer.Typer(
    name="store",
    help="Look at what was stored, check it, repair it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(watermarks.app, name="watermark", epilog=watermarks.EXAMPLES)
app.command(epilog=lineage.LINEAGE_EXAMPLES)(lineage.lineage)
app.command(epilog=lineage.EXPLAIN_EXAMPLES)(lineage.explain)
app.command(epilog=lineage.OPENLINEAGE_EXAMPLES)(lineage.openlineage)
app.command(epilog=timing.FRESHNESS_EXAMPLES)(timing.freshness)
app.command(epilog=timing.LATENESS_EXAMPLES)(timing.lateness)
app.command(epilog=reconcile.EXAMPLES)(reconcile.reconcile)

LETTERS_IN_TABLE = 20

Limit = Annotated[int, typer.Option(help="How many, newest first.", min=1)]


class Status(StrEnum):
    """Which dead letters."""

    OPEN = "open"
    RESOLVED = "resolved"
    ALL = "all"


@app.callback()
def store() -> None:
    """Look at what was stored, check it, repair it."""


@app.command(epilog="Examples:\n\n  store init\n\n  DATABASE_URL=sqlite:////data/sluice.db store init --json")
def init(as_json: Json = False) -> None:
    """Make the database, or bring it to today's tables. Every other command does so too on first use."""
    from store.database import schema

    with opened() as engine:
        where = engine.url.render_as_string(hide_password=True)
    found = {"database": where, "revision": schema.SCHEMA_REVISION}
    show(found, as_json, lambda _: [terminal.shown(f"{where} is ready, revision {schema.SCHEMA_REVISION}.")])


@app.command(epilog="Examples:\n\n  store report\n\n  store report --json")
def report(as_json: Json = False) -> None:
    """The receipt of everything so far: what came in, and what became of it."""
    from store.cli.render import summary
    from store.reports import answers
    from store.settings import StoreSettings

    with reading() as connection:
        found = answers.report(connection, StoreSettings.load().idle_after)
    show(found, as_json, summary.report)


@app.command(epilog="Examples:\n\n  store batches\n\n  store batches --limit 5 --json")
def batches(limit: Limit = 20, as_json: Json = False) -> None:
    """The latest batches, each with its receipt."""
    from store.cli.render import summary
    from store.reports import answers

    with reading() as connection:
        found = answers.recent_batches(connection, limit)
    show(found, as_json, summary.batches)


@app.command(
    epilog="Examples:\n\n  store runs\n\n  store runs --detail\n\n  store runs --detail --batches --json"
)
def runs(
    limit: Limit = 20,
    detail: Annotated[
        bool, typer.Option("--detail", help="The whole receipts of runs, batches and enqueues.")
    ] = False,
    batches: Annotated[
        bool, typer.Option("--batches", help="With --detail: those of batches alone.")
    ] = False,
    as_json: Json = False,
) -> None:
    """The loader's latest runs: what each did, how long it took, why it failed."""
    if batches and not detail:
        raise UsageError("--batches goes with --detail: `store batches` lists batches")
    from store.cli.render import receipts as receipt_tables
    from store.cli.render import summary
    from store.reports import answers, receipts

    if detail:
        with reading() as connection:
            kept = receipts.recent(connection, limit)
        show({"batches": kept["batches"]} if batches else kept, as_json, receipt_tables.receipts)
        return
    with reading() as connection:
        found = answers.recent_runs(connection, limit)
    show(found, as_json, summary.runs)


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
    from store.cli.render import summary
    from store.reports import answers
    from store.tables import batches as inbox
    from store.tables import dead_letters as letters

    with reading() as connection:
        if id is not None:
            show(answers.letter(connection, id), as_json, summary.dead_letter)
            return
        which, reasons = (None if status is Status.ALL else status.value), reason or []
        most = limit if limit or as_json else LETTERS_IN_TABLE
        found = answers.letters(connection, which, reasons, source, most)
        matching = letters.count(connection, status=which, reasons=reasons, source=source)
        is_empty = inbox.count(connection) == 0
    show(
        found,
        as_json,
        lambda found: [summary.EMPTY] if is_empty else summary.dead_letters(found, matching, status.value),
    )


@app.command(
    epilog="Examples:\n\n  store check\n\n  store check --lineage\n\n  store check --repair\n\n  store check --json"
)
def check(
    repair: Annotated[
        bool, typer.Option("--repair", help="Make the Redis DLQ equal the open letters.")
    ] = False,
    lineage: Annotated[
        bool, typer.Option("--lineage", help="Hold every record's chain of entries together too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Hold the laws of conservation against every batch, run and row, and the Redis DLQ against the table.

    Ends with 1 where one does not hold.
    """
    from store.cli.render import summary
    from store.reports import answers

    with reading() as connection:
        found = answers.check(connection, repair, lineage)
    show(found, as_json, summary.check)
    if not found["holds"]:
        raise typer.Exit(Exit.FAILED)


@app.command(epilog="Examples:\n\n  store digest\n\n  test $(store digest) = $(cat digest.txt)")
def digest(as_json: Json = False) -> None:
    """One hash over the target and the open dead letters: the same for the same records, however they came."""
    from store.checks import conservation

    with reading() as connection:
        found = conservation.digest(connection)
    if as_json:
        print_json({"digest": found})
    else:
        print(found)


def main() -> None:
    """The command's entry point."""
    terminal.run(app)

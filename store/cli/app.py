"""The command `store`: `report`, `batches`, `runs`, `check`, `digest`, `init`, and the registered ones.

The database libraries are slow to import, so each command imports them itself and `--help` is fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from store import terminal
from store.cli import copies, letters, lineage, moving, reconcile, rows, timing, transfer, watermarks
from store.cli.command import Json, examples, opened, program, reading, run, show
from store.errors import UsageError
from store.terminal import Exit, print_json
from store.text import printable

app = program("store", "Show, check and repair what is stored.")


Limit = Annotated[int, typer.Option(help="How many, newest first.", min=1)]


@app.command(epilog=examples("store init", "DATABASE_URL=sqlite:////data/sluice.db store init --json"))
def init(as_json: Json = False) -> None:
    """Create the database, or migrate it to this version. Every other command does the same on first use."""
    from store import database
    from store.database import install, schema
    from store.errors import ConfigError
    from store.settings import StoreSettings

    with opened() as engine, database.reading(engine) as connection:
        url, partitions = database.shown(engine), len(install.partitions(connection))
        if why := install.other_partitions(connection, StoreSettings.load().partitions):
            raise ConfigError(why)
    found = {"database": url, "revision": schema.SCHEMA_REVISION, "partitions": partitions}
    divided = f", {install.in_partitions(partitions)}" if partitions > 1 else ""
    show(
        found, as_json, lambda _: [printable(f"{url} is ready, revision {schema.SCHEMA_REVISION}{divided}.")]
    )


@app.command(epilog=examples("store report", "store report --json"))
def report(as_json: Json = False) -> None:
    """Show what came in so far, and what became of it."""
    from store.cli.render import summary
    from store.reports import answers
    from store.settings import StoreSettings

    with reading() as connection:
        found = answers.report(connection, StoreSettings.load().idle_after)
    show(found, as_json, summary.report)


@app.command(epilog=examples("store batches", "store batches --limit 5 --json"))
def batches(limit: Limit = 20, as_json: Json = False) -> None:
    """List the latest batches and their counts."""
    from store.cli.render import summary
    from store.reports import receipts

    with reading() as connection:
        found = receipts.batches(connection, limit)
    show(found, as_json, summary.batches)


@app.command(epilog=examples("store runs", "store runs --detail", "store runs --detail --batches --json"))
def runs(
    limit: Limit = 20,
    detail: Annotated[
        bool, typer.Option("--detail", help="The full receipts of runs, batches and deliveries.")
    ] = False,
    batches: Annotated[
        bool, typer.Option("--batches", help="With --detail: only the receipts of batches.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the latest runs of the loader. Each with its counts, duration and error."""
    if batches and not detail:
        raise UsageError("--batches needs --detail; `store batches` lists batches without it")
    from store.cli.render import receipts as receipt_tables
    from store.cli.render import summary
    from store.reports import receipts

    with reading() as connection:
        if not detail:
            show(receipts.runs(connection, limit), as_json, summary.runs)
        elif batches:
            show({"batches": receipts.batches(connection, limit)}, as_json, receipt_tables.receipts)
        else:
            show(receipts.recent(connection, limit), as_json, receipt_tables.receipts)


@app.command(
    epilog=examples("store check", "store check --lineage", "store check --repair", "store check --json")
)
def check(
    repair: Annotated[
        bool, typer.Option("--repair", help="Make the Redis DLQ equal to the open dead letters.")
    ] = False,
    lineage: Annotated[
        bool, typer.Option("--lineage", help="Check the lineage of every record too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check the laws of conservation.

    For every batch, run and row. The Redis DLQ is compared with the table.

    Ends with 1 where a law is violated.
    """
    from sqlalchemy.exc import DBAPIError

    from store import database, timestamps
    from store.cli.render import summary
    from store.errors import StoreUnavailable
    from store.reports import answers
    from store.tables import law_checks

    with opened() as engine:
        with database.reading(engine) as connection:
            at = timestamps.to_text(database.now(connection))
            found = answers.check(connection, repair, lineage)
        try:
            with database.transaction(engine) as connection:
                law_checks.note(connection, found["laws"], at)
        except (StoreUnavailable, DBAPIError) as error:  # a user who may only read, too
            terminal.warn(f"what was found is not noted for the metrics: {error}")
    show(found, as_json, summary.check)
    if not found["holds"]:
        raise typer.Exit(Exit.FAILED)


@app.command(epilog=examples("store digest", "test $(store digest) = $(cat digest.txt)"))
def digest(as_json: Json = False) -> None:
    """Hash the target and the open dead letters. The same deliveries in the same order give the same hash."""
    from store.checks import conservation

    with reading() as connection:
        found = conservation.digest(connection)
    if as_json:
        print_json({"digest": found})
    else:
        print(found)


@app.command(
    epilog=examples("store metrics", "store metrics --textfile /var/lib/prometheus/node-exporter/sluice.prom")
)
def metrics(
    textfile: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Write to this file, which is replaced as a whole.")
    ] = None,
) -> None:
    """Print the store's metrics for Prometheus. Those of the queue too: `worker metrics`, and the page.

    With --textfile for the textfile collector of node_exporter.

    Ends with 1 where a part could not be read.
    """
    from store.reports import exposition
    from store.reports.metrics import METRICS, store_values
    from store.settings import StoreSettings

    problems: list[str] = []
    text, _ = exposition.exposed(METRICS, store_values(StoreSettings.load(), problems.append))
    if textfile is None:
        print(text.decode(), end="")
    else:
        exposition.replace(textfile, text)
    for problem in problems:
        terminal.fail(problem)
    if problems:
        raise typer.Exit(Exit.FAILED)


app.command(epilog=copies.BACKUP_EXAMPLES)(copies.backup)
app.command(epilog=copies.RESTORE_EXAMPLES)(copies.restore)
app.command(epilog=moving.EXAMPLES)(moving.copy)
app.command(epilog=lineage.ACCOUNT_EXAMPLES)(lineage.account)
app.command(epilog=rows.EXPORT_EXAMPLES)(rows.export)
app.command(epilog=rows.QUERY_EXAMPLES)(rows.query)
letters.app.command("export", epilog=transfer.EXAMPLES)(transfer.export)
app.add_typer(letters.app)
app.add_typer(letters.app, name="dead-letters", hidden=True)
app.add_typer(watermarks.app)
app.command(epilog=lineage.LINEAGE_EXAMPLES)(lineage.lineage)
app.command(epilog=lineage.EXPLAIN_EXAMPLES)(lineage.explain)
app.command(epilog=lineage.CONFLICTS_EXAMPLES)(lineage.conflicts)
app.command(epilog=lineage.OPENLINEAGE_EXAMPLES)(lineage.openlineage)
app.command(epilog=timing.FRESHNESS_EXAMPLES)(timing.freshness)
app.command(epilog=timing.LATENESS_EXAMPLES)(timing.lateness)
app.command(epilog=reconcile.EXAMPLES)(reconcile.reconcile)


def main() -> None:
    """The command's entry point."""
    run(app)

"""`store export` and `store query`: rows as a file or on standard output, over connections that only read."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from store.cli.command import Csv, Json, examples, one_format, put_csv
from store.errors import UsageError
from store.terminal import counted, json_text, warn
from store.text import printable

EXPORT_EXAMPLES = examples(
    "store export --source shop > shop.csv",
    "store export --format ndjson --since 2025-01-15 --to orders.ndjson",
    "store export --format parquet --to orders.parquet",
)
QUERY_EXAMPLES = examples(
    'store query "SELECT source, count(*) AS keys FROM current GROUP BY source"',
    'store query "SELECT * FROM target WHERE value > 5" --csv --limit 100000 > large.csv',
)


def export(
    source: Annotated[str | None, typer.Option(help="Only rows of this source.")] = None,
    format: Annotated[Literal["csv", "ndjson", "parquet"], typer.Option(help="Of the output.")] = "csv",
    since: Annotated[
        str | None, typer.Option(metavar="TS", help="Only rows with this event time or a later one.")
    ] = None,
    deleted: Annotated[
        bool,
        typer.Option(
            "--deleted", help="Also rows that their sources have deleted, with a column that says so."
        ),
    ] = False,
    to: Annotated[
        Path | None, typer.Option(help="A file, written whole or not at all.", show_default="standard output")
    ] = None,
) -> None:
    """Export the target. The newest record of each key, by source and key.

    In CSV no cell is a formula. NDJSON and Parquet hold values as they are.
    """
    from store.api.opened import open_store

    if format == "parquet" and to is None:
        raise UsageError("Parquet is not text: give --to FILE")
    with open_store() as store:
        rows = store.target(source, since=since, deleted=deleted)
        if format == "parquet" and to is not None:
            number = rows.parquet(to)
        else:
            number = rows.csv(to) if format == "csv" else rows.ndjson(to)
    print(f"{counted(number, 'row')} exported" + (f" to {to}" if to else ""), file=sys.stderr)


def query(
    statement: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT.", show_default=False)],
    limit: Annotated[int, typer.Option(help="How many rows, at most.", min=1)] = 1000,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """Answer a SELECT. The database itself refuses all else.

    `target` has a row for each source and key, `current` leaves out deleted ones, `golden` has the best source's row
    of each key. docs/architecture.md lists all tables.
    """
    from store.api.opened import open_store

    one_format(as_csv, as_json)
    with open_store() as store, store.query(statement).answered() as (names, rows):
        found = list(islice(rows, limit + 1))
    is_cut = len(found) > limit
    del found[limit:]
    if as_csv:
        from store.api.forms import as_text

        put_csv([names, *(map(as_text, row) for row in found)])
    elif as_json:
        from store.api.forms import as_json as plain

        print(json_text({"columns": names, "rows": [list(map(plain, row)) for row in found], "cut": is_cut}))
    else:
        from store.cli.render.elements import put, table

        put(
            table(
                "Answer",
                dict.fromkeys(map(printable, names), "text"),
                [list(map(_shown, row)) for row in found],
            )
        )
    if is_cut:
        warn(f"only the first {counted(limit, 'row')}: there are more; see --limit")


def _shown(value: Any) -> str:
    from store.api.forms import as_text

    return "" if value is None else printable(str(as_text(value)))

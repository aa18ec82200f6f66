"""`store lineage`, `explain`, `account`, `conflicts`, `openlineage`: what became of records, why, runs as events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from store.cli.command import Json, examples, reading, show
from store.errors import UsageError
from store.terminal import Exit, counted

LINEAGE_EXAMPLES = examples(
    "store lineage ci37868143",
    "store lineage order-17 --source shop --json",
    "store lineage --file orders.csv --line 12",
    "store lineage --id stage-1048577",
    "store lineage --by-step",
)
EXPLAIN_EXAMPLES = examples("store explain ci37868143", "store explain order-17 --source shop --json")
ACCOUNT_EXAMPLES = examples("store account", "store account orders.csv", "store account --delivery 3 --json")
CONFLICTS_EXAMPLES = examples(
    "store conflicts",
    "store conflicts --source shop --key order-17",
    "store conflicts --run 3 --limit 500 --json",
)
OPENLINEAGE_EXAMPLES = examples(
    "store openlineage --run 3",
    "store openlineage --since-run 10 --file runs.ndjson",
    "store openlineage --url http://localhost:5000/api/v1/lineage",
)


def lineage(
    key: Annotated[str | None, typer.Argument(help="A record's key.", show_default=False)] = None,
    source: Annotated[str | None, typer.Option(help="Only this source's record of that key.")] = None,
    file: Annotated[
        str | None, typer.Option(help="A file, by the name under which it was sent; with --line.")
    ] = None,
    line: Annotated[int | None, typer.Option(help="A line of that file.", min=0)] = None,
    id: Annotated[
        str | None, typer.Option(help="An entry (stage-…, load-…, event-…), or a dead letter's first digits.")
    ] = None,
    by_step: Annotated[bool, typer.Option("--by-step", help="Count the entries of each step.")] = False,
    as_json: Json = False,
) -> None:
    """Show the entries of a record, from its file to the target. Also by line or by entry."""
    asked = [key is not None, file is not None or line is not None, id is not None, by_step]
    if sum(asked) != 1 or (file is None) != (line is None):
        raise UsageError("give one of: a KEY, --file with --line, --id, or --by-step")
    if source is not None and key is None:
        raise UsageError("--source needs a KEY")
    from store.cli.render import lineage as lineage_tables
    from store.reports import answers
    from store.tables.lineage import count_by_step

    with reading() as connection:
        if by_step:
            show(count_by_step(connection), as_json, lineage_tables.steps)
        elif file is not None and line is not None:
            show(answers.lineage_of_line(connection, file, line), as_json, lineage_tables.lineage)
        elif id is not None:
            show(answers.lineage_of_id(connection, id), as_json, lineage_tables.lineage)
        elif key is not None:
            show(answers.lineage_of_key(connection, key, source), as_json, lineage_tables.lineage)


def explain(
    key: Annotated[str, typer.Argument(help="A record's key.", show_default=False)],
    source: Annotated[str | None, typer.Option(help="Only this source's record of that key.")] = None,
    as_json: Json = False,
) -> None:
    """Explain the target's row of a key. Also what became of the key's other records."""
    from store.cli.render import lineage as lineage_tables
    from store.lineage import explain as reasons

    with reading() as connection:
        found = reasons.explain(connection, key, source)
    show(found, as_json, lineage_tables.explanation)


def conflicts(
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    run: Annotated[int | None, typer.Option(help="Only those that this run found.", min=1)] = None,
    key: Annotated[str | None, typer.Option(help="Only of this key.")] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 50,
    as_json: Json = False,
) -> None:
    """List conflicts: equal time and sequence, other content. With the file and line of both records.

    A conflict is two records of a key with the same time and sequence and different content: the later delivery
    wins, and within one file the later line. With `ties = "hash"` the greater content hash wins.
    """
    from store.cli.render import conflicts as conflict_tables
    from store.cli.render.elements import EMPTY
    from store.lineage import conflicts as ties
    from store.tables import batches

    with reading() as connection:
        found = ties.find(connection, source=source, run=run, key=key, limit=limit)
        matching = len(found)
        if matching == limit and not as_json:
            matching = ties.count(connection, source=source, run=run, key=key)
        is_empty = not found and batches.count(connection) == 0
    is_filtered = (source, run, key) != (None, None, None)
    show(
        found,
        as_json,
        lambda found: [EMPTY] if is_empty else conflict_tables.conflicts(found, matching, is_filtered),
    )


def openlineage(
    run: Annotated[int | None, typer.Option(help="Only this run.", min=1)] = None,
    since_run: Annotated[int | None, typer.Option(help="This run and all later ones.", min=1)] = None,
    file: Annotated[Path | None, typer.Option(help="Write the events to this file, one a line.")] = None,
    url: Annotated[
        str | None, typer.Option(help="Send the events to this URL, with OPENLINEAGE_API_KEY.")
    ] = None,
    namespace: Annotated[str, typer.Option(help="The namespace of the job.")] = "sluice",
) -> None:
    """Export the loader's runs as OpenLineage events. Oldest first, one a line.

    Then the last `store check`, which is a FAIL where a law is broken; not with --run.
    """
    if run is not None and since_run is not None:
        raise UsageError("give one of: --run, --since-run")
    if file is not None and url is not None:
        raise UsageError("give one of: --file, --url")
    from store.lineage import openlineage as export

    with reading() as connection:
        events = export.events(connection, namespace, first=run or since_run or 1, last=run)
    if url is not None:
        export.send(events, url)
        print(f"{counted(len(events), 'event')} sent.")
    elif file is not None:
        export.write(events, file)
        print(f"{counted(len(events), 'event')} written.")
    else:
        for event in events:
            print(event)


def account(
    file: Annotated[
        str | None, typer.Argument(help="A file, by the name it was sent under.", show_default=False)
    ] = None,
    delivery: Annotated[int | None, typer.Option(help="One delivery, by its number.")] = None,
    as_json: Json = False,
) -> None:
    """Show what became of every record of a delivery. In the target, replaced, duplicate, open, discarded: a sum.

    Without a file, the latest deliveries. Ends with 1 where the sum is not the number of records.
    """
    if file is not None and delivery is not None:
        raise UsageError("give a file or --delivery, not both")
    from store.cli.render import account as tables
    from store.reports import account as accounting

    with reading() as connection:
        found = accounting.accounts(connection, file, delivery)
    in_full = file is not None or delivery is not None
    show(found, as_json, tables.in_full if in_full else tables.accounts)
    if not all(each["adds_up"] for each in found):
        raise typer.Exit(Exit.FAILED)

"""`store letters`, long name `dead-letters`: groups, `list`, `show`, `actions`, `alarm`; see `letter_actions` too."""

from __future__ import annotations

from typing import Annotated

import typer

from store.cli import letter_actions
from store.cli.choosing import Status, choosing
from store.cli.command import Csv, Json, examples, group, one_format, reading, show
from store.dead_letters.filters import Filter
from store.errors import UsageError
from store.terminal import print_json

app = group(
    "letters",
    "Show dead letters by group, list, park and discard them.",
    examples(
        "store letters",
        "store letters --file orders.csv --field value --newest",
        "store letters list --reason invalid_value --source shop",
        "store letters show 3f2a91c0",
        'store letters discard --group 9c01 --why "test orders"',
        "store letters undo 7",
    ),
)
IN_TABLE = 20
LOOK_AT = 100_000
Source = Annotated[str | None, typer.Option(help="Only of this source.")]
Limit = Annotated[
    int | None, typer.Option(help="How many.", min=1, show_default="20; all with --json or --csv")
]


@app.callback(invoke_without_command=True, no_args_is_help=False)
@choosing(status=Status.OPEN, without=["ids"])
def letters(
    context: typer.Context,
    which: Filter,
    newest: Annotated[
        bool, typer.Option("--newest", help="The groups that were seen last come first.")
    ] = False,
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="The groups behind this one: `next` of --json.")
    ] = None,
    limit: Limit = None,
    id: Annotated[list[str] | None, typer.Option("--id", hidden=True)] = None,
    contains: Annotated[str | None, typer.Option("--contains", hidden=True)] = None,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """Show dead letters by group, the largest first. A group is one source, contract, field, rule and shape of value.

    `d+,d+` is the shape of `12,50`: digits, a mark, digits. With options that choose letters, the numbers are of these.
    """
    if context.invoked_subcommand:
        _refuse_options(context, context.invoked_subcommand)
        return
    if id:
        raise UsageError("--id is of one letter, which has one group: `store letters show ID` names it")
    if contains is not None:
        raise UsageError(
            "--contains reads single letters: `store letters list --contains TEXT`, with --group"
        )
    from store.cli import letter_list

    one_format(as_csv, as_json)
    most = limit if limit or as_json or as_csv else IN_TABLE
    with reading() as connection:
        letter_list.put_groups(connection, which, most, after, newest=newest, as_csv=as_csv, as_json=as_json)


def _refuse_options(context: typer.Context, command: str) -> None:
    """Raises UsageError for options before the name of a command, which would not get them."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"options of {command} stand behind it: `store letters {command} …`")


@app.command(
    "list",
    epilog=examples(
        "store letters list",
        "store letters list --reason invalid_value --reason missing_key --source shop",
        "store letters list --group 9c01 --status all --json",
        "store letters list --group 9c01 --contains EUR --csv > letters.csv",
    ),
)
@choosing(status=Status.OPEN)
def list_letters(
    which: Filter,
    contains: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only with this text in the payload, as it is stored.")
    ] = None,
    look_at: Annotated[
        int, typer.Option(metavar="N", help="With --contains: read so many payloads, at most.", min=1)
    ] = LOOK_AT,
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="The letters behind this one: `next` of --json.")
    ] = None,
    limit: Limit = None,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """List rejected records, oldest first. Each with its reason, error, file, line and payload."""
    from store.cli import letter_list
    from store.dead_letters.paging import Ask, Cursor

    one_format(as_csv, as_json)
    if contains is not None and not contains:
        raise UsageError("--contains is blank: every payload contains it")
    most = limit if limit or as_json or as_csv else IN_TABLE
    ask = Ask(most, Cursor.of(after) if after else None, contains, look_at)
    with reading() as connection:
        letter_list.put(connection, which, ask, as_csv=as_csv, as_json=as_json)


@app.command("show", epilog=examples("store letters show 3f2a91c0", "store letters show 3f2a91c0 --json"))
def show_letter(
    id: Annotated[str, typer.Argument(help="Its id, or the first digits of it.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Show one dead letter in full. Every fault beside its field, attempts, lineage, and what the target holds.

    At the end: what a replay would do now, judged by the contract and the mapping in force.
    """
    from store.reports.one_letter.view import view

    with reading() as connection:
        found = view(connection, id)
    if as_json:
        print_json(found.to_json())
        return
    from store.cli.render import elements, one_letter

    elements.put(*one_letter.letter(found))


@app.command(epilog=examples("store letters actions", "store letters actions --limit 5 --json"))
def actions(
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20, as_json: Json = False
) -> None:
    """List the latest actions over letters. Who decided what and why, and what became of the letters."""
    from store.cli.render import letters as tables
    from store.reports import letters as answers

    with reading() as connection:
        found = answers.acted(connection, limit)
    show(found, as_json, tables.actions)


@app.command(
    epilog=examples(
        "store letters alarm --max-open 1000",
        "store letters alarm --max-open 1000 --max-age 2h --max-rate 5% --source shop",
    )
)
def alarm(
    max_open: Annotated[int | None, typer.Option(help="Open letters, at most.", min=0)] = None,
    max_age: Annotated[str | None, typer.Option(help="Age of the oldest open letter, like 2h.")] = None,
    max_rate: Annotated[
        str | None, typer.Option(help="Rejected records of those received in the last 24 hours, like 5%.")
    ] = None,
    source: Source = None,
    as_json: Json = False,
) -> None:
    """Check dead letters as a monitoring system does. One line.

    Ends with 0 where all limits hold, 1 from 80% of one on, 2 beyond one.
    """
    from store.cli.render import letters as tables
    from store.reports import alarms

    limits = alarms.Limits.of(max_open, max_age, max_rate)
    with reading() as connection:
        found = alarms.alarm(connection, limits, source)
    show(found, as_json, tables.alarm)
    if found["level"]:
        raise typer.Exit(found["level"])


app.command(epilog=letter_actions.DISCARD_EXAMPLES)(letter_actions.discard)
app.command(epilog=letter_actions.PARK_EXAMPLES)(letter_actions.park)
app.command(epilog=letter_actions.UNPARK_EXAMPLES)(letter_actions.unpark)
app.command(epilog=letter_actions.UNDO_EXAMPLES)(letter_actions.undo)
app.command(epilog=letter_actions.PRUNE_EXAMPLES)(letter_actions.prune)

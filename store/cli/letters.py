"""`store letters`, long name `dead-letters`: groups, `list`, `show`, and the actions over letters but for replay."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from store.cli.command import Json, changing, examples, group, reading, show
from store.errors import UsageError

if TYPE_CHECKING:
    from store.reports.letters import Filter

app = group(
    "letters",
    "Show dead letters by group, list, park and discard them.",
    examples(
        "store letters",
        "store letters list --reason invalid_value --source shop",
        "store letters show 3f2a91c0",
        'store letters discard --group 9c01 --why "test orders"',
        "store letters undo 7",
    ),
)
IN_TABLE = 20


class Status(StrEnum):
    """Which dead letters."""

    OPEN = "open"
    REPLAYING = "replaying"
    PARKED = "parked"
    RESOLVED = "resolved"
    DISCARDED = "discarded"
    ALL = "all"

    @property
    def state(self) -> str | None:
        """None for all."""
        return None if self is Status.ALL else self.value


Ids = Annotated[
    list[str] | None, typer.Option("--id", help="Only this letter: its id, or the first digits of it.")
]
Groups = Annotated[
    list[str] | None, typer.Option("--group", help="Only of this group: its id, or the first digits of it.")
]
Reasons = Annotated[
    list[str] | None, typer.Option("--reason", help="Only with this reason; may be repeated.")
]
Fields = Annotated[
    list[str] | None, typer.Option("--field", help="Only with a fault at this field; may be repeated.")
]
Rules = Annotated[list[str] | None, typer.Option("--rule", help="Only with a fault of this rule.")]
Shapes = Annotated[list[str] | None, typer.Option("--shape", help="Only with a value of this shape.")]
File = Annotated[str | None, typer.Option(help="Only of this file, as the list shows it.")]
Since = Annotated[str | None, typer.Option(metavar="TS", help="Only seen at this time or later; ISO 8601.")]
Until = Annotated[str | None, typer.Option(metavar="TS", help="Only seen before this time.")]
Source = Annotated[str | None, typer.Option(help="Only of this source.")]
Which = Annotated[Status, typer.Option("--status", help="Letters in this state, or all.")]
Limit = Annotated[int | None, typer.Option(help="How many.", min=1, show_default="20; all with --json")]
Why = Annotated[str, typer.Option(help="The reason; it is stored with the action.", show_default=False)]
By = Annotated[str | None, typer.Option(help="Who decides it.", show_default="user@host")]
All = Annotated[bool, typer.Option("--all", help="Every letter; without it, choose some.")]
MayWhy = Annotated[str, typer.Option(help="The reason; it is stored with the action.")]


@app.callback(invoke_without_command=True, no_args_is_help=False)
def letters(
    context: typer.Context,
    reason: Reasons = None,
    source: Source = None,
    status: Which = Status.OPEN,
    newest: Annotated[
        bool, typer.Option("--newest", help="The groups that were seen last come first.")
    ] = False,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Show dead letters by group, the largest first. A group is one source, contract, field, rule and shape of value.

    `d+,d+` is the shape of `12,50`: digits, a mark, digits.
    """
    if context.invoked_subcommand:
        return
    from store.cli.render import elements
    from store.cli.render import letters as tables
    from store.dead_letters import groups as counted
    from store.reports import letters as answers
    from store.tables import batches

    most = limit if limit or as_json else IN_TABLE
    with reading() as connection:
        found = answers.grouped(connection, status.state, reason or [], source, most, newest_first=newest)
        replaying = counted.count_replaying(connection)
        is_empty = batches.count(connection) == 0
    show(
        found,
        as_json,
        lambda found: [elements.EMPTY] if is_empty else tables.groups(found, status.value, most, replaying),
    )


@app.command(
    "list",
    epilog=examples(
        "store letters list",
        "store letters list --reason invalid_value --reason missing_key --source shop",
        "store letters list --group 9c01 --status all --json",
    ),
)
def list_letters(
    group: Groups = None,
    reason: Reasons = None,
    field: Fields = None,
    rule: Rules = None,
    shape: Shapes = None,
    source: Source = None,
    file: File = None,
    since: Since = None,
    until: Until = None,
    status: Which = Status.OPEN,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """List rejected records, oldest first. Each with its reason, error, file, line and payload."""
    from store.cli.render import letters as tables
    from store.reports import letters as answers
    from store.tables import batches, dead_letters

    which = answers.Filter(
        (),
        group or [],
        reason or [],
        source,
        status.state,
        field or [],
        rule or [],
        shape or [],
        file,
        since,
        until,
    )
    most = limit if limit or as_json else IN_TABLE
    with reading() as connection:
        found = answers.listed(connection, which, most)
        matching = dead_letters.count(connection, which.conditions(connection))
        is_empty = batches.count(connection) == 0
    show(found, as_json, lambda found: tables.listed(found, matching, status.value, is_empty=is_empty))


@app.command("show", epilog=examples("store letters show 3f2a91c0", "store letters show 3f2a91c0 --json"))
def show_letter(
    id: Annotated[str, typer.Argument(help="Its id, or the first digits of it.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Show one dead letter in full. Its payload, every fault, and what happened to it."""
    from store.cli.render import letters as tables
    from store.reports import letters as answers

    with reading() as connection:
        found = answers.letter(connection, id)
    show(found, as_json, tables.letter)


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


@app.command(
    epilog=examples(
        'store letters discard --group 9c01 --why "test orders"',
        'store letters discard --reason stale --source shop --why "older than the shop" --by ann',
    )
)
def discard(
    why: Why,
    id: Ids = None,
    group: Groups = None,
    reason: Reasons = None,
    field: Fields = None,
    rule: Rules = None,
    shape: Shapes = None,
    source: Source = None,
    file: File = None,
    since: Since = None,
    until: Until = None,
    every: All = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Close open or parked letters that nobody wants. They stay in the table; `undo` opens them again."""
    _act("discard", _chosen(locals(), every), why, by, as_json)


@app.command(epilog=examples('store letters park --reason late --why "until the supplier answers"'))
def park(
    why: Why,
    id: Ids = None,
    group: Groups = None,
    reason: Reasons = None,
    field: Fields = None,
    rule: Rules = None,
    shape: Shapes = None,
    source: Source = None,
    file: File = None,
    since: Since = None,
    until: Until = None,
    every: All = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Take open letters off the Redis DLQ until somebody unparks them. A replay leaves them alone."""
    _act("park", _chosen(locals(), every), why, by, as_json)


@app.command(epilog=examples("store letters unpark --source shop"))
def unpark(
    id: Ids = None,
    group: Groups = None,
    reason: Reasons = None,
    field: Fields = None,
    rule: Rules = None,
    shape: Shapes = None,
    source: Source = None,
    file: File = None,
    since: Since = None,
    until: Until = None,
    every: All = False,
    why: MayWhy = "",
    by: By = None,
    as_json: Json = False,
) -> None:
    """Open parked letters again."""
    _act("unpark", _chosen(locals(), every), why, by, as_json, needs_why=False)


@app.command(epilog=examples("store letters undo 7", 'store letters undo 7 --why "wrong group"'))
def undo(
    action: Annotated[
        int, typer.Argument(help="The number of a discard or park: see `actions`.", show_default=False)
    ],
    why: MayWhy = "",
    by: By = None,
    as_json: Json = False,
) -> None:
    """Undo a discard or a park. Letters that have moved on since stay as they are."""
    from store.cli.render import letters as tables
    from store.dead_letters import actions as acting
    from store.load.watermark_moves import who
    from store.reports import letters as answers

    order = acting.Order("undo", {"action": action}, why.strip(), by or who())
    with changing() as connection:
        done = acting.undo(connection, action, order)
        outcomes = acting.outcomes(connection, done.seq) if done else {}
    answers.refresh_mirrors()
    show(answers.action_report(done, outcomes) if done else {"letters": 0}, as_json, tables.acted)


def _chosen(given: dict[str, Any], every: bool) -> Filter:
    """The letters that the options of a command choose.

    Raises UsageError where nothing chooses them, or `--all` stands beside what does.
    """
    from store.reports.letters import Filter

    lists = {name: given[name] or [] for name in ("id", "group", "reason", "field", "rule", "shape")}
    which = Filter(
        lists["id"],
        lists["group"],
        lists["reason"],
        given["source"],
        None,
        lists["field"],
        lists["rule"],
        lists["shape"],
        given["file"],
        given["since"],
        given["until"],
    )
    if which.is_empty != every:
        raise UsageError(
            "choose letters with options such as --group, --id, --reason or --source; --all alone takes every letter"
        )
    return which


def _act(
    verb: str, which: Filter, why: str, by: str | None, as_json: bool, *, needs_why: bool = True
) -> None:
    from store.cli.render import letters as tables
    from store.dead_letters import actions as acting
    from store.load.watermark_moves import who
    from store.reports import letters as answers

    if needs_why and not why.strip():
        raise UsageError("--why is blank: give the reason; it is stored with the action")
    order = acting.Order(verb, which.to_json(), why.strip(), by or who())
    with changing() as connection:
        done = acting.begin(connection, order, which.conditions(connection))
        outcomes = acting.outcomes(connection, done.seq) if done else {}
    answers.refresh_mirrors()
    found: dict[str, Any] = answers.action_report(done, outcomes) if done else {"letters": 0}
    show(found, as_json, tables.acted)

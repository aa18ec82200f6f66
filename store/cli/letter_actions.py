"""The actions over letters, but for replay: discard, park, unpark, undo, and prune. Part of `store letters`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from store.cli.choosing import choosing
from store.cli.command import Json, changing, confirm, examples, opened, show
from store.dead_letters.filters import Filter
from store.errors import UsageError

Why = Annotated[str, typer.Option(help="The reason; it is stored with the action.", show_default=False)]
MayWhy = Annotated[str, typer.Option(help="The reason; it is stored with the action.")]
By = Annotated[str | None, typer.Option(help="Who decides it.", show_default="user@host")]

DISCARD_EXAMPLES = examples(
    'store letters discard --group 9c01 --why "test orders"',
    'store letters discard --superseded --source shop --why "the file was corrected"',
    'store letters discard --reason stale --source shop --why "older than the shop" --by ann',
)
PARK_EXAMPLES = examples(
    'store letters park --reason late --why "until the supplier answers"',
    'store letters park --group 9c01 --until 2025-02-01 --why "the supplier sends it again"',
)
PRUNE_EXAMPLES = examples(
    "store letters prune --older-than 90d", "store letters prune --older-than 1d --yes --json"
)
UNPARK_EXAMPLES = examples("store letters unpark --source shop")
UNDO_EXAMPLES = examples("store letters undo 7", 'store letters undo 7 --why "wrong group"')


@choosing(some=True)
def discard(which: Filter, why: Why, by: By = None, as_json: Json = False) -> None:
    """Close open or parked letters that nobody wants. They stay in the table; `undo` opens them again."""
    _act("discard", which, _given(why), by, as_json)


@choosing(some=True, without=["until"])
def park(
    which: Filter,
    why: Why,
    until: Annotated[
        str | None, typer.Option(metavar="TS", help="Open them again at this time; ISO 8601.")
    ] = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Take open letters off the Redis DLQ until somebody unparks them, or a time comes.

    A replay leaves them alone. `worker up` opens them when it is time.
    """
    _act("park", which, _given(why), by, as_json, until)


@choosing(some=True)
def unpark(which: Filter, why: MayWhy = "", by: By = None, as_json: Json = False) -> None:
    """Open parked letters again."""
    _act("unpark", which, why, by, as_json)


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
    answers.refresh_mirrors()
    show(answers.action_report(done) if done else {"letters": 0}, as_json, tables.acted)


def prune(
    older_than: Annotated[str, typer.Option(help="Only those unchanged for so long, like 90d.")],
    yes: Annotated[bool, typer.Option("--yes", help="Without a question.")] = False,
    why: MayWhy = "",
    by: By = None,
    as_json: Json = False,
) -> None:
    """Delete resolved and discarded letters for good. Their groups, lineage and accounts go on counting them.

    Says how many first. Open, parked and replaying letters are never deleted.
    """
    from store import database
    from store.cli.render import letters as tables
    from store.dead_letters import actions as acting
    from store.dead_letters import pruning
    from store.load.watermark_moves import who
    from store.reports import letters as answers

    with opened() as engine:
        with database.reading(engine) as connection:
            before = pruning.time_of(connection, older_than)
            found = pruning.count(connection, before)
        done = None
        if found:
            if not yes:
                confirm(tables.to_be_pruned(found), "--yes")
            order = acting.Order(
                "prune", {"older_than": older_than, "before": before}, why.strip(), by or who()
            )
            done = pruning.prune_all(engine, before, order)
    show(answers.action_report(done) if done else {"letters": 0}, as_json, tables.pruned)


def _given(why: str) -> str:
    if not why.strip():
        raise UsageError("--why is blank: give the reason; it is stored with the action")
    return why


def _act(verb: str, which: Filter, why: str, by: str | None, as_json: bool, until: str | None = None) -> None:
    from store.cli.render import letters as tables
    from store.dead_letters import actions as acting
    from store.dead_letters import parking, superseded
    from store.load.watermark_moves import who
    from store.reports import letters as answers

    order = acting.Order(verb, which.to_json(), why.strip(), by or who())
    with changing() as connection:
        chosen = which.conditions(connection)
        loaded = superseded.find(connection, chosen) if which.superseded else {}
        opens_at = parking.time_of(connection, until) if until is not None else None
        done = acting.begin(connection, order, chosen)
        if done and opens_at:
            parking.open_at(connection, done.seq, opens_at)
            done = acting.find(connection, done.seq)
        if done and loaded:
            superseded.record(connection, done.seq, loaded)
    answers.refresh_mirrors()
    found: dict[str, Any] = answers.action_report(done) if done else {"letters": 0}
    show(found, as_json, tables.acted)

"""`store watermark`, with `set`, `rewind`, `repair` and `history`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from store.cli.command import Json, changing, examples, group, reading, show
from store.errors import UsageError

if TYPE_CHECKING:
    from store.load.watermark_moves import ByHand

app = group(
    "watermark",
    "Show the watermark of each source, move or repair it.",
    examples(
        "store watermark",
        "store watermark --json",
        'store watermark rewind shop 2025-01-14 --why "the 15th was sent wrong"',
        "store watermark repair",
    ),
)

Source = Annotated[str, typer.Argument(help="The source.", show_default=False)]
Moment = Annotated[
    str, typer.Argument(metavar="TS", help="ISO 8601; UTC where it has no offset.", show_default=False)
]
Why = Annotated[str, typer.Option(help="The reason; it is stored with the move.", show_default=False)]


@app.callback(invoke_without_command=True, no_args_is_help=False)
def watermark(context: typer.Context, as_json: Json = False) -> None:
    """Show the watermark of each source (the greatest event time loaded), its age and last move, and the pipeline's."""
    if context.invoked_subcommand:
        return
    from store.cli.render import timing as time_tables
    from store.reports import timing
    from store.settings import ClockSettings, StoreSettings

    skew, idle_after = ClockSettings.load().max_future_skew, StoreSettings.load().idle_after
    with reading() as connection:
        found = timing.watermark(connection, skew, idle_after)
    show(found, as_json, time_tables.watermark)


@app.command(
    epilog=examples(
        'store watermark set shop 2025-01-15T12:00:00Z --why "loaded by hand until noon"',
        'store watermark set shop 2025-01-15 --why "its history is elsewhere" --json',
    )
)
def set(source: Source, ts: Moment, why: Why, as_json: Json = False) -> None:
    """Move the watermark of a source forward. At most to now plus max_future_skew."""
    _move("set", source, ts, why, as_json)


@app.command(
    epilog=examples(
        'store watermark rewind shop 2025-01-14 --why "the 15th was sent wrong"',
        "store watermark rewind shop 2025-01-14T08:00:00+01:00 --why again --json",
    )
)
def rewind(source: Source, ts: Moment, why: Why, as_json: Json = False) -> None:
    """Move the watermark of a source back. Records from then on are not late any more. No loaded row changes."""
    _move("rewind", source, ts, why, as_json)


def _move(verb: str, source: str, ts: str, why: str, as_json: bool) -> None:
    from store import timestamps
    from store.cli.render import timing as time_tables
    from store.load import watermark_moves
    from store.settings import ClockSettings
    from store.tables import watermarks

    move = _move_by_hand(source, ts, why)
    max_future = ClockSettings.load().max_future_skew
    with changing() as connection:
        latest = watermarks.latest_sound(connection, max_future)
        change = watermark_moves.set_forward if verb == "set" else watermark_moves.rewind
        previous = change(connection, move, latest)
    found = {
        "source": source,
        "previous": previous and timestamps.to_iso(previous),
        "watermark": timestamps.to_iso(move.value),
        "why": move.why,
        "by": move.by,
    }
    show(found, as_json, time_tables.moved)


def _move_by_hand(source: str, ts: str, why: str) -> ByHand:
    """The move that the user gave. Raises UsageError for a bad time or a blank reason."""
    from store import timestamps
    from store.load import watermark_moves

    if not why.strip():
        raise UsageError("--why is blank: give the reason of the move; it is stored with it")
    try:
        value = timestamps.to_text(timestamps.from_iso(ts))
    except ValueError as error:
        raise UsageError(f"{ts!r} is not an ISO 8601 time: write it like 2025-01-15T12:00:00Z") from error
    return watermark_moves.ByHand(source, value, why.strip(), watermark_moves.who())


@app.command(epilog=examples("store watermark repair", "store watermark repair --json"))
def repair(as_json: Json = False) -> None:
    """Restore each corrupt watermark from its history and the target."""
    from store.cli.render import timing as time_tables
    from store.reports import timing
    from store.settings import ClockSettings

    with changing() as connection:
        found = timing.repair(connection, ClockSettings.load().max_future_skew)
    show(found, as_json, time_tables.repaired)


@app.command(epilog=examples("store watermark history", "store watermark history shop --limit 5 --json"))
def history(
    source: Annotated[str | None, typer.Argument(help="Only this source.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
    as_json: Json = False,
) -> None:
    """List the moves of watermarks. From and to, by which record of which run, or by whom and why."""
    from store.cli.render import timing as time_tables
    from store.reports import timing

    with reading() as connection:
        found = timing.moves(connection, source, limit)
    show(found, as_json, time_tables.moves)

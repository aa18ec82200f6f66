"""`store watermark`, and `set`, `rewind`, `repair`, `history` beneath it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from store.cli.command import Json, changing, reading, show
from store.errors import UsageError

if TYPE_CHECKING:
    from store.load.watermark_moves import ByHand

EXAMPLES = (
    "Examples:\n\n"
    "  store watermark\n\n"
    "  store watermark --json\n\n"
    '  store watermark rewind shop 2025-01-14 --why "the 15th was sent wrong"\n\n'
    "  store watermark repair"
)
app = typer.Typer(help="Show each source's watermark, move or repair it.", rich_markup_mode="rich")

Source = Annotated[str, typer.Argument(help="Whose watermark.", show_default=False)]
Moment = Annotated[
    str, typer.Argument(metavar="TS", help="ISO 8601; without an offset UTC.", show_default=False)
]
Why = Annotated[str, typer.Option(help="The reason, which is kept.", show_default=False)]


@app.callback(invoke_without_command=True)
def watermark(context: typer.Context, as_json: Json = False) -> None:
    """Show each source's watermark: the greatest event time loaded, its age, its last move; and the pipeline's."""
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
    epilog="Examples:\n\n"
    '  store watermark set shop 2025-01-15T12:00:00Z --why "loaded by hand until noon"\n\n'
    '  store watermark set shop 2025-01-15 --why "its history is elsewhere" --json'
)
def set(source: Source, ts: Moment, why: Why, as_json: Json = False) -> None:
    """Move a source's watermark forward, to now and max_future_skew at most."""
    _move("set", source, ts, why, as_json)


@app.command(
    epilog="Examples:\n\n"
    '  store watermark rewind shop 2025-01-14 --why "the 15th was sent wrong"\n\n'
    "  store watermark rewind shop 2025-01-14T08:00:00+01:00 --why again --json"
)
def rewind(source: Source, ts: Moment, why: Why, as_json: Json = False) -> None:
    """Move a source's watermark back: what comes between is not late any more. Nothing loaded is taken away."""
    _move("rewind", source, ts, why, as_json)


def _move(verb: str, source: str, ts: str, why: str, as_json: bool) -> None:
    from store import timestamps
    from store.cli.render import timing as time_tables
    from store.load import watermark_moves
    from store.settings import ClockSettings

    move = _asked(source, ts, why)
    latest = timestamps.now() + ClockSettings.load().max_future_skew
    with changing() as connection:
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


def _asked(source: str, ts: str, why: str) -> ByHand:
    """What somebody asks for. Raises UsageError for a time that is none, or no reason."""
    from store import timestamps
    from store.load import watermark_moves

    if not why.strip():
        raise UsageError("--why is blank: say why the watermark is moved; it is kept with the move")
    try:
        value = timestamps.to_text(timestamps.from_iso(ts))
    except ValueError as error:
        raise UsageError(f"{ts!r} is no ISO 8601 time: write it like 2025-01-15T12:00:00Z") from error
    return watermark_moves.ByHand(source, value, why.strip(), watermark_moves.who())


@app.command(epilog="Examples:\n\n  store watermark repair\n\n  store watermark repair --json")
def repair(as_json: Json = False) -> None:
    """Restore each watermark that does not hold, from its history and the target."""
    from store.cli.render import timing as time_tables
    from store.reports import timing
    from store.settings import ClockSettings

    with changing() as connection:
        found = timing.repair(connection, ClockSettings.load().max_future_skew)
    show(found, as_json, time_tables.repaired)


@app.command(
    epilog="Examples:\n\n  store watermark history\n\n  store watermark history shop --limit 5 --json"
)
def history(
    source: Annotated[str | None, typer.Argument(help="Only this source's.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
    as_json: Json = False,
) -> None:
    """Every move of a watermark: from where to where, by which record of which run, or by whom and why."""
    from store.cli.render import timing as time_tables
    from store.reports import timing

    with reading() as connection:
        found = timing.moves(connection, source, limit)
    show(found, as_json, time_tables.moves)

"""`store freshness` and `store lateness`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from store.cli.command import Json, examples, reading, show
from store.errors import UsageError

FRESHNESS_EXAMPLES = examples("store freshness", "store freshness --json")
LATENESS_EXAMPLES = examples(
    "store lateness",
    "store lateness shop usgs --allowed 1h",
    "store lateness --plot lags.png",
    "store lateness --allowed 0 --allowed 15m --json",
)


def freshness(as_json: Json = False) -> None:
    """Show how old the newest record of each source is. Also whether the source is late for its own rhythm."""
    from store.cli.render import timing as time_tables
    from store.reports import timing
    from store.settings import StoreSettings

    with reading() as connection:
        found = timing.freshness(connection, StoreSettings.load().idle_after)
    show(found, as_json, time_tables.freshness)


def lateness(
    sources: Annotated[
        list[str] | None, typer.Argument(help="Only these sources.", show_default="all")
    ] = None,
    allowed: Annotated[
        list[str] | None,
        typer.Option(
            help="An allowed lateness, as 90s, 15m, 1h, 7d; may be repeated.",
            show_default="0, 1m, 1h, 1d, 7d",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw the histograms into this file.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how long after their event time records arrive. Also how many would be late for an allowed lateness."""
    from store.cli.render import timing as time_tables
    from store.reports import lateness as lag
    from store.reports import timing

    spans = [_span(text) for text in allowed] if allowed else list(lag.CANDIDATES)
    with reading(scratch=True) as connection:
        found = timing.lateness(connection, sources or [], spans)
    if plot is not None:
        from store.cli.render import lateness_plot

        figure = lateness_plot.figure_for(found)
        lateness_plot.draw(figure, found)
        lateness_plot.save(figure, plot)
    show(found, as_json, time_tables.lateness)


def _span(text: str) -> timedelta:
    """A length of time in the notation of the settings. Raises UsageError."""
    from pydantic import TypeAdapter, ValidationError

    from store.settings import Duration

    try:
        found: timedelta = TypeAdapter(Duration).validate_python(text)
    except ValidationError as error:
        raise UsageError(
            f"--allowed {text!r} is not a length of time: write it like 90s, 15m, 1h or 7d"
        ) from error
    return found

"""`worker sources`: the configured feeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from store.cli.command import Json, examples
from store.terminal import print_json
from store.text import printable, shortened

if TYPE_CHECKING:
    from rich.table import Table

    from worker.settings import SourceSettings

MOST_IN_CELL = 300
EPILOG = examples("worker sources", "worker sources --json")


def sources(as_json: Json = False) -> None:
    """List the configured feeds, and how each is read.

    `producer try FILE --source NAME` tries one on a file.
    """
    from worker.contract import load_contract
    from worker.judge.stages import judge_for
    from worker.settings import WorkerSettings

    settings = WorkerSettings.load()
    contract = load_contract(settings)
    for source in settings.sources.values():
        judge_for(contract, source, settings.max_future_skew)  # raises now if an adapter cannot be imported
    if as_json:
        print_json({name: source.model_dump(mode="json") for name, source in settings.sources.items()})
        return
    if not settings.sources:
        print("no source has an entry: records are not mapped; see [sources.NAME] in docs/sources.md")
        return
    from store.cli.render.elements import put

    rows = [
        (name, how(source), time_of(source), source.late, str(source.priority or ""))
        for name, source in settings.sources.items()
    ]
    put(wrapped("Sources", ("source", "how it is read", "time", "late", "priority"), rows))


def how(source: SourceSettings) -> str:
    """A source's mapping in words."""
    if source.adapter:
        return f"function {source.adapter}"
    parts = [f"{name} from {expression}" for name, expression in source.fields.items()]
    parts += [f"{name} read as {cast}" for name, cast in source.casts.items()]
    parts += [f"{name} is {value!r}" for name, value in source.constants.items()]
    parts += [f"{name} is {value!r} where absent" for name, value in source.defaults.items()]
    return "; ".join(parts) or "as it is"


def time_of(source: SourceSettings) -> str:
    """The format of a source's times."""
    if source.ts_unit:
        return f"{source.ts_unit} since 1970"
    return f"{source.ts_format or 'ISO 8601'}, {source.assume_tz} where it has no offset"


def wrapped(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table whose long cells continue on the next line."""
    from rich.text import Text  # slow to import, and not needed for --json

    from store.cli.render.elements import frame

    made = frame(printable(title))
    for name in columns:
        made.add_column(name, overflow="fold")
    for row in rows:
        made.add_row(*(Text(shortened(value, MOST_IN_CELL)) for value in row))
    return made

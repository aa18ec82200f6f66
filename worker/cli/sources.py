"""`worker sources`: the configured feeds, and a trial of one on a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from store.cli.command import Json, examples, group
from store.errors import ConfigError
from store.terminal import print_json
from store.text import encodable, printable, shortened, shown_path

if TYPE_CHECKING:
    from rich.table import Table

    from worker.judge.stages import Judge
    from worker.queue.message import Message
    from worker.settings import SourceSettings

app = group(
    "sources",
    "The configured feeds, and a trial of one on a file.",
    examples("worker sources", "worker sources try usgs data/earthquakes.json"),
)
MOST_IN_CELL = 300


@app.callback(invoke_without_command=True, no_args_is_help=False)
def sources(context: typer.Context, as_json: Json = False) -> None:
    """List the configured feeds, and how each is read."""
    if context.invoked_subcommand:
        return
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
    parts += [f"{name} is {value!r}" for name, value in source.constants.items()]
    parts += [f"{name} is {value!r} where absent" for name, value in source.defaults.items()]
    return "; ".join(parts) or "as it is"


def time_of(source: SourceSettings) -> str:
    """The format of a source's times."""
    if source.ts_unit:
        return f"{source.ts_unit} since 1970"
    return f"{source.ts_format or 'ISO 8601'}, {source.assume_tz} where it has no offset"


@app.command(
    "try",
    epilog=examples("worker sources try usgs data/earthquakes.json", "worker sources try shop x.csv --json"),
)
def try_source(
    name: Annotated[str, typer.Argument(help="A source of the configuration.")],
    file: Annotated[str, typer.Argument(help="A file of its records.")],
    limit: Annotated[int, typer.Option(help="How many records.", min=1)] = 10,
    as_json: Json = False,
) -> None:
    """Try a source on a file, and send nothing.

    Shows the first records raw and adapted, and which of them would be rejected.
    """
    from worker.contract import load_contract
    from worker.judge.stages import judge_for
    from worker.settings import WorkerSettings

    settings = WorkerSettings.load()
    if name not in settings.sources:
        raise ConfigError(settings.without_entry(name))
    judge = judge_for(load_contract(settings), settings.sources[name], settings.max_future_skew)
    trials = [trial(message, position, judge) for message, position in first_records(name, file, limit)]
    if as_json:
        print_json(trials)
        return
    from store.cli.render.elements import put

    rows = [(str(each["line"]), each["raw"], as_text(each["adapted"]), each["verdict"]) for each in trials]
    put(wrapped(f"{shown_path(file)} as {name}", ("line", "raw", "adapted", "verdict"), rows))
    accepted = sum(each["verdict"] == "accepted" for each in trials)
    print(f"{accepted} of {len(trials)} would be accepted; nothing was sent")


def first_records(name: str, file: str, limit: int) -> list[tuple[Message, int]]:
    """The first records of a file, each as (its message, its position in it)."""
    reader = registered_reader()
    messages = reader(name, file)
    positions = chain.from_iterable(
        ((message, position) for position in range(len(message.records))) for message in messages
    )
    return list(islice(positions, limit))


def registered_reader() -> Any:
    """The producer's reader of files: an entry point, because `worker` must not import `producer`."""
    from importlib.metadata import entry_points

    return next(iter(entry_points(group="sluice.readers"))).load()


def trial(message: Message, position: int, judge: Judge) -> dict[str, Any]:
    """One record raw, adapted, and whether it would be accepted."""
    from store import timestamps
    from worker.judge.faults import Rejection
    from worker.judge.stages import judge_batch, parse

    record, judge = message.records[position], judge.of(message)
    adapted: dict[str, Any] | None = None
    with suppress(Rejection):  # the verdict below says why
        adapted = judge.adapter.adapt(parse(record, message))
    one = replace(message, records=[record], lines=[message.lines[position]], letters=[], size=0)
    judged = judge_batch(one, judge, None, timestamps.now())
    faults = [f"{fault.reason}: {fault.message}" for bad in judged.bad for fault in bad.faults]
    return {
        "line": message.lines[position],
        "raw": record if isinstance(record, str) else record.content.decode("utf-8", "backslashreplace"),
        "adapted": as_json(adapted),
        "verdict": "; ".join(faults) or "accepted",
    }


def as_json(value: Any) -> Any:
    """A value that JSON can hold; for a value that no column can hold, the reason."""
    from worker.judge.parse import Unusable

    if isinstance(value, Unusable):
        return f"({value.why})"
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {as_json(name): as_json(inner) for name, inner in value.items()}
    return [as_json(inner) for inner in value] if isinstance(value, list) else value


def as_text(adapted: dict[str, Any] | None) -> str:
    """A record as JSON with spaces, at which a line can break."""
    return "" if adapted is None else json.dumps(adapted, ensure_ascii=False)


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

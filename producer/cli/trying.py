"""`producer try`: a file judged under the settings of its source; nothing is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from store.cli.command import Json, examples
from store.errors import InputError
from store.terminal import Exit, counted, fail, print_json
from store.text import shortened, shown_path

if TYPE_CHECKING:
    from rich.table import Table

    from producer.trial import Shown, Trial

MOST_IN_VALUE = 200
MOST_KINDS_SHOWN = 20
EPILOG = examples(
    "producer try data/earthquakes.json --source usgs",
    "producer try orders.csv --source shop --rejected --limit 3",
    "producer try orders.csv --source shop --first 1000 --json",
)


def try_records(
    file: Annotated[str, typer.Argument(help="JSON, NDJSON or CSV, also .gz; - is standard input.")],
    source: Annotated[
        str, typer.Option(help="The feed whose settings in sluice.toml are tried.")
    ] = "default",
    limit: Annotated[int, typer.Option(help="How many records are shown.", min=0)] = 5,
    rejected: Annotated[
        bool, typer.Option("--rejected", "--rejected-only", help="Show only records that would be rejected.")
    ] = False,
    first: Annotated[
        int | None, typer.Option(help="Judge only so many records.", min=1, show_default="all")
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="json, ndjson or csv, if the name does not show it.")
    ] = None,
    records: Annotated[
        str | None, typer.Option(help="Path of the array of records in a JSON document.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge the records of a file, and send nothing.

    They are judged by the contract and the settings of a source. Shows the first records raw and adapted, times in UTC,
    and counts what would be rejected in the whole file. Needs no queue and no database; so it cannot say which records
    are late, and does not see what `worker flags` has switched.

    Ends with 0 where every record would be accepted, 1 where one would not, 2 where the file cannot be read.
    """
    from producer.cli.enqueue import note_unknown_source, refuse_missing, warn_of_lacking_columns
    from producer.feed import Feed
    from producer.settings import ProducerSettings
    from producer.trial import Chosen, facts, try_file
    from store.cli.render.progress import Bar
    from worker.contract import load_contract
    from worker.settings import WorkerSettings

    worker = WorkerSettings.load()
    shares = worker.stages.shares()
    feed = Feed(
        source,
        worker.source(source),
        load_contract(worker),
        ProducerSettings.load(),
        format,
        records,
        shares,
    )
    note_unknown_source(source, worker, strict=False)
    feed.check_options(file)
    refuse_missing(file)
    with feed.open(file) as opened, Bar(opened.name, opened.size) as bar:
        warn_of_lacking_columns(feed, opened)
        trial = try_file(
            feed,
            opened,
            Chosen(limit, rejected, first),
            shares,
            worker.max_future_skew,
            lambda done: bar.update(opened.bytes_read, done),
        )
    if trial.error and not trial.records:
        raise InputError(trial.error)
    if as_json:
        print_json(facts(trial))
    else:
        put_trial(trial, shown_path(file))
    if trial.error:
        fail(trial.error)
    if trial.rejected or trial.error:
        raise typer.Exit(Exit.FAILED)


def put_trial(trial: Trial, file: str) -> None:
    """A trial for people: some records, the totals, and what is wrong with which number of records."""
    from store.cli.render.elements import put, table

    things: list[Any] = [_records(trial.shown, f"{file} as source {trial.source}")] if trial.shown else []
    things.append(("\n" if things else "") + totals(trial))
    if trial.kinds:
        kinds = sorted(trial.kinds.items(), key=lambda each: (-each[1].number, each[1].first_line))
        rows = [
            (count.number, reason, str(count.first_line), f"{field}: {message}" if field else message)
            for (reason, field, _, message), count in kinds[:MOST_KINDS_SHOWN]
        ]
        things.append(
            table(
                "What is wrong, by number of records",
                {"records": "number", "reason": "fixed", "first line": "number", "fault": "text"},
                rows,
            )
        )
        if more := len(kinds) - MOST_KINDS_SHOWN:
            things += [f"and {more:,} other kinds: --json has all"] if more > 0 else []
    put(*things)


def totals(trial: Trial) -> str:
    """How many records would be accepted."""
    judged = counted(trial.records, "record") + ("" if trial.is_whole else " (not the whole file)")
    parts = [f"{trial.accepted:,} would be accepted"]
    if trial.stale:
        parts[0] += f" ({trial.stale:,} of them stale)"
    parts += [f"{trial.skipped:,} skipped"] if trial.skipped else []
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in trial.reasons.items())
    parts.append(f"{trial.rejected:,} rejected" + (f" ({reasons})" if reasons else ""))
    return f"{judged}: {', '.join(parts)}; nothing was sent"


def _records(shown: list[Shown], title: str) -> Table:
    from rich.text import Text

    from store.cli.render.elements import frame

    made = frame(shortened(title, MOST_IN_VALUE))
    for name in ("line", "raw", "adapted"):
        made.add_column(name, overflow="fold", justify="right" if name == "line" else "left")
    for number, each in enumerate(shown):
        if number:
            made.add_row("", "", "")
        raw = (
            "\n".join(_fields(each.fields)) if each.fields is not None else shortened(each.raw, MOST_IN_VALUE)
        )
        adapted = [*_fields(each.adapted or {}), *_faults(each)]
        made.add_row(str(each.line), Text(raw), Text("\n".join(adapted)))
    return made


def _fields(fields: dict[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        written = json.dumps(value, ensure_ascii=False)
        yield f"{shortened(name)}: {shortened(written, MOST_IN_VALUE)}"


def _faults(each: Shown) -> Iterator[str]:
    if each.outcome == "skipped":
        yield "skipped"
    for fault in each.faults:
        about = f"{fault.field}: " if fault.field else ""
        yield shortened(f"rejected, {fault.reason}: {about}{fault.message}", MOST_IN_VALUE)

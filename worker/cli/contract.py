"""`worker contract`: what a contract or a mapping would change, before it is in force."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from store.cli.command import Json, examples, group, reading, show
from store.errors import UsageError
from store.terminal import Exit, counted
from store.text import printable

app = group(
    "contract",
    "Try a contract before it is in force; add its columns.",
    examples(
        "worker contract test", "worker contract test --contract orders:Order2 --all", "worker contract adopt"
    ),
)
SAMPLE = 10_000
MOST_SHOWN = 10


@app.callback()
def contract() -> None:
    """Try a contract or a mapping on what the store holds; give the tables its columns."""


@app.command(
    "adopt", epilog=examples("worker contract adopt", "worker contract adopt --contract orders:Order2 --json")
)
def adopt(
    contract: Annotated[
        str | None, typer.Option(help="module:Model as it will be.", show_default="the configured one")
    ] = None,
    as_json: Json = False,
) -> None:
    """Give the tables the columns of a contract. Makes or migrates the tables too, where that is to be done.

    A worker does the same when it starts: this is for the owner of the tables, where workers may not change them.

    Ends with 1 where a table holds a field as another type.
    """
    from store import database
    from store.cli.command import opened
    from store.database import install
    from worker.contract import load_contract
    from worker.settings import WorkerSettings

    settings = WorkerSettings.load(contract=contract)
    columns = load_contract(settings).columns
    with opened() as engine:
        with database.reading(engine) as connection:
            before = {column.name for column in install.contract_columns(connection)}
        adopted = install.add_contract_columns(engine, columns)
    new = [column.name for column in columns if column.name in adopted.kinds and column.name not in before]
    found = {"contract": settings.contract, "columns": adopted.kinds, "new": new, "refused": adopted.refused}
    show(found, as_json, _adopted)
    if adopted.refused:
        raise typer.Exit(Exit.FAILED)


def _adopted(found: dict[str, Any]) -> list[Any]:
    """For people."""
    new = (
        f"{counted(len(found['new']), 'new column')}: {', '.join(found['new'])}"
        if found["new"]
        else "no new column"
    )
    return [printable(f"{found['contract']}: {new}"), *map(printable, found["refused"].values())]


@app.command(
    "test",
    epilog=examples(
        "worker contract test",
        "worker contract test --contract orders:Order2 --source shop",
        "worker contract test --mapping mended.toml --all --json",
    ),
)
def test_contract(
    contract: Annotated[
        str | None, typer.Option(help="module:Model as it would be.", show_default="the configured one")
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(help="A file like sluice.toml: its keys go before those of the configuration."),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only letters and rows of this source.")] = None,
    sample: Annotated[
        int | None, typer.Option(help="Rows of the target.", min=1, show_default="10,000")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every row of the target.")] = False,
    as_json: Json = False,
) -> None:
    """Back-test a contract and a mapping. What newly passes, what newly fails, and why; nothing is changed.

    Open and discarded letters are judged as a replay would judge them, by the contract and the mapping.

    The target's rows are judged by the contract alone, by its fields as they are stored: the records that they came
    from are not stored, so this says nothing about the mapping.

    Ends with 0 where no row of the target newly fails, 1 where one does.
    """
    from worker.backtest.comparison import Asked, back_test

    if every and sample is not None:
        raise UsageError("--all judges every row: leave --sample out")
    asked = Asked(contract, mapping, source, None if every else sample or SAMPLE)
    with reading() as connection, progress() as on_records:
        found = back_test(connection, asked, on_records)
    show(found, as_json, lines)
    if found["target"]["newly_fail"]:
        raise typer.Exit(Exit.FAILED)


@contextmanager
def progress() -> Iterator[Callable[[int], None]]:
    """A count of the records that were judged, on a terminal."""
    from store.cli.render.progress import Bar

    done = 0
    with Bar("judging", None, unit="records") as bar:

        def advance(number: int) -> None:
            nonlocal done
            done += number
            bar.update(done, done)

        yield advance


def lines(found: dict[str, Any]) -> list[Any]:
    """What was found, for people."""
    letters, rows = found["letters"], found["target"]
    skipped = f", {letters['skipped']:,} skipped as late" if letters["skipped"] else ""
    judged = letters["letters"] - letters["not_judged"]
    things: list[Any] = [
        f"Letters by {found['contract']} and its mapping: {judged:,} judged, "
        f"{letters['newly_pass']:,} newly pass, {letters['still_fail']:,} still fail{skipped}"
    ]
    things += _reasons(letters["why_not_judged"])
    if letters["passing"]:
        shown = [
            (
                each["letters"],
                each["status"],
                each["source"],
                faults_text(each["faults"]) or each["reason"],
                each["samples"][0][:8],
            )
            for each in letters["passing"]
        ]  # fmt: skip
        columns = {
            "letters": "number",
            "status": "fixed",
            "source": "text",
            "rejected for": "text",
            "like": "fixed",
        }
        things.append(_table("Newly pass", columns, shown))
    if letters["failing"]:
        things.append(_failing("Still fail", "letters", letters["failing"], 8))
    things += [
        "",
        f"Target as stored, without the mapping: {rows['sampled']:,} of {rows['rows']:,} rows, "
        f"{rows['pass']:,} pass, {rows['newly_fail']:,} newly fail, {rows['not_judged']:,} not judged",
    ]
    things += _reasons(rows["why_not_judged"])
    if rows["failing"]:
        things.append(_failing("Newly fail", "rows", rows["failing"], 40))
    return things


def _reasons(why: dict[str, int]) -> list[str]:
    return [f"  {number:,} not judged: {reason}" for reason, number in why.items()]


def _failing(title: str, noun: str, failing: list[dict[str, Any]], most: int) -> Any:
    shown = [
        (each["records"], each["source"], faults_text(each["faults"]) or each["reason"], each["message"],
         each["samples"][0][:most])
        for each in failing
    ]  # fmt: skip
    return _table(
        title, {noun: "number", "source": "text", "fault": "text", "message": "text", "like": "text"}, shown
    )


def _table(title: str, columns: Any, rows: list[Any]) -> Any:
    from store.cli.render.elements import table  # slow to import

    more = f" (the first {MOST_SHOWN} of {len(rows):,})" if len(rows) > MOST_SHOWN else ""
    return table(title + more, columns, rows[:MOST_SHOWN])


def faults_text(faults: list[dict[str, str]]) -> str:
    """The faults of a group."""
    return "; ".join(
        " ".join(part for part in (each["field"], each["rule"], each["shape"]) if part) for each in faults
    )

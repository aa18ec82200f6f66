"""`store reconcile`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import groupby, islice
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TextIO, cast

import typer

from store.cli.command import Json, changing, examples, reading, show
from store.errors import ConfigError, UsageError
from store.terminal import Exit, warn

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from store.reconcile.runs import Difference, Result

EXAMPLES = examples(
    "store reconcile",
    "store reconcile --sources billing,field --tolerance value=0.01",
    "store reconcile --since 2025-01-15 --csv > mismatches.csv",
    "store reconcile --keep --fail-on-mismatch --json",
    "store reconcile --history",
)
KEYS_IN_TABLE = 20
NEW_KEYS_SHOWN = 5


def reconcile(
    *,
    sources: Annotated[
        str | None,
        typer.Option(help="These sources, separated by commas.", show_default="all with rows"),
    ] = None,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            help="FIELD=NUMBER: values that differ by at most NUMBER match; ts=SECONDS compares ts, "
            "which is not compared without it. May be repeated.",
            show_default="values must be equal",
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only keys with a row of this ts or later in some source.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            help="How many mismatched keys to list.", min=1, show_default="20; all with --json or --csv"
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Store the result, and list the mismatches that are new.")
    ] = False,
    history: Annotated[bool, typer.Option("--history", help="List the stored results.")] = False,
    fail_on_mismatch: Annotated[
        bool, typer.Option("--fail-on-mismatch", help="End with 1 if a key is mismatched.")
    ] = False,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="The differences as CSV on standard output.")] = False,
) -> None:
    """Compare the rows of the same keys in all sources. They match, differ, or are in one source only."""
    if as_json and as_csv:
        raise UsageError("--json and --csv are two formats of one output: choose one")
    if history:
        if sources or tolerance or since or keep or fail_on_mismatch or as_csv:
            raise UsageError("--history lists stored results: combine it only with --limit and --json")
        return show_history(limit or KEYS_IN_TABLE, as_json)
    names = None if sources is None else source_names(sources)
    tolerances, moment = tolerances_of(tolerance or []), None if since is None else stored_moment(since)
    most = limit if limit or as_json or as_csv else KEYS_IN_TABLE
    mismatched = compare_and_print(Question(names, tolerances, moment, most, keep), as_json, as_csv)
    if fail_on_mismatch and mismatched:
        raise typer.Exit(Exit.FAILED)
    return None


class Question(NamedTuple):
    """What is to be compared, and how much of the answer is printed."""

    sources: list[str] | None
    tolerances: dict[str, float]
    since: str | None
    most: int | None  # keys
    keep: bool


def compare_and_print(asked: Question, as_json: bool, as_csv: bool) -> int:
    """Compares, stores the result if so asked, and prints it; how many keys are mismatched."""
    from store.reconcile import compare
    from store.reconcile import runs as reconciliation

    access: AbstractContextManager[Connection] = changing() if asked.keep else reading()
    # The output goes through a file: a slow reader of it must not hold the database transaction open.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogatepass", newline="") as out:
        with access as connection:
            comparison = compare.comparison_of(connection, asked.sources, asked.tolerances, asked.since)
            note = nothing_to_compare(connection, comparison.sources)
            result = reconciliation.reconcile(connection, comparison)
            if asked.keep and note is None:
                result = reconciliation.keep(connection, comparison, result)
            rows = first_keys(reconciliation.differences(connection, comparison), asked.most)
            printed = write(connection, result, rows, note, (as_json, as_csv), cast(TextIO, out))
        put(printed, cast(TextIO, out))
    if as_csv and note:
        warn(note)
    return result.mismatched


def write(
    connection: Connection, result: Result, rows: Iterable[Difference], note: str | None,
    shape: tuple[bool, bool], out: TextIO,
) -> list[Any]:  # fmt: skip
    """Writes JSON or CSV to `out`; returns the tables for people."""
    from store.cli.render import reconcile as tables
    from store.reconcile import runs as reconciliation

    as_json, as_csv = shape
    if as_json:
        tables.write_json(tables.as_json(result, note), rows, out)
    elif as_csv:
        tables.write_csv(rows, out, to_terminal=sys.stdout.isatty())
    else:
        new = reconciliation.first_found_keys(connection, result.seq, NEW_KEYS_SHOWN) if result.seq else []
        return tables.reconciliation(result, list(rows), note, new)
    return []


def put(things: list[Any], out: TextIO) -> None:
    """Prints these tables, or copies what was written to `out`, on standard output."""
    from store.cli.render import elements

    if things:
        elements.put(*things)
    out.seek(0)
    shutil.copyfileobj(out, sys.stdout)


def show_history(limit: int, as_json: bool) -> None:
    """Prints the stored results, each with the first of the keys that it was the first to find."""
    from store.cli.render import reconcile as reconcile_tables
    from store.reconcile import runs as reconciliation

    with reading() as connection:
        found = reconciliation.history(connection, limit)
        for row in found:
            row["new_keys"] = reconciliation.first_found_keys(connection, row["seq"], NEW_KEYS_SHOWN)
    show(reconcile_tables.history_json(found), as_json, reconcile_tables.history)


def first_keys(differences: Iterator[Difference], most: int | None) -> Iterator[Difference]:
    """The differences of the first `most` keys; of all keys where it is None."""
    for _, of_key in islice(groupby(differences, key=lambda each: each.key), most):
        yield from of_key


def nothing_to_compare(connection: Connection, sources: tuple[str, ...]) -> str | None:
    """The reason why there is nothing to compare: fewer than two of the sources have rows. None if there is."""
    from store.reconcile import compare

    loaded = compare.sources_with_rows(connection)
    chosen = [name for name in sources if name in loaded]
    if len(chosen) > 1:
        return None
    reason = f"only {chosen[0]!r} has rows" if chosen else "none has rows"
    others = f"; those with rows are {', '.join(loaded)}" if len(loaded) > len(chosen) else ""
    return f"Nothing to compare: it takes two sources, {reason}{others}."


def source_names(text: str) -> list[str]:
    """The names in `a,b`. Raises UsageError where there is none."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError(f"--sources {text!r} names no source: write them as --sources a,b")
    return names


def tolerances_of(given: list[str]) -> dict[str, float]:
    """field -> tolerance, from `field=number`. Raises ConfigError with the wrong text."""
    found: dict[str, float] = {}
    for text in given:
        name, equals, number = (part.strip() for part in text.partition("="))
        if not (name and equals):
            raise ConfigError(f"--tolerance {text!r} should be FIELD=NUMBER, like value=0.01")
        if name in found:
            raise ConfigError(f"--tolerance gives {name!r} twice: give it once")
        try:
            found[name] = float(number)
        except ValueError as error:
            raise ConfigError(
                f"--tolerance {name}={number!r}: a tolerance is a number, 0 or greater"
            ) from error
    return found


def stored_moment(text: str) -> str:
    """A date or an ISO 8601 time as stored text; UTC where it has no offset. Raises UsageError."""
    from store import timestamps

    try:
        moment = datetime.fromisoformat(text.strip())
        return timestamps.to_text(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--since {text!r} is not a time: write 2025-01-15 or 2025-01-15T12:00:00Z"
        ) from error

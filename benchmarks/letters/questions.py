"""`store letters` over a store of 1,000,000 letters: each command, its CPU time beside an empty store's, and the query.

PYTHONPATH=benchmarks python -m letters.questions
PYTHONPATH=benchmarks python -m letters.questions --letters 100000 --groups 50
PYTHONPATH=benchmarks python -m letters.questions --home FOLDER     # one that `letters.screens` has filled

The rows are written directly: see `filling`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import machine
import orjson
from letters.asking import Took, at, timed
from letters.filling import build, group
from sqlalchemy import Connection, func, select

from store import database, timestamps
from store.database import install
from store.database.letters import dead_letters
from store.dead_letters import paging
from store.dead_letters.filters import Filter
from store.dead_letters.paging import Ask, Cursor
from store.reports import alarms
from store.reports import letters as answers
from store.reports.one_letter.view import view
from store.settings import StoreSettings

STORE = str(Path(sys.executable).parent / "store")
QUERIES, COMMANDS = 5, 3


class Case(NamedTuple):
    """A command, and what it asks the store."""

    name: str
    command: list[str]
    query: Callable[[Connection], Any]


def cases(connection: Connection) -> list[Case]:
    """What is measured, of this store."""
    letter = dead_letters.c
    total = connection.execute(select(func.count()).select_from(dead_letters)).scalar_one()
    order = (letter.first_seen_at, letter.id)
    deep = Cursor(*connection.execute(select(*order).order_by(*order).offset(total * 9 // 10).limit(1)).one())
    last = connection.execute(
        select(letter.file, letter.last_seen_at).order_by(letter.batch_seq.desc()).limit(1)
    ).one()
    of = group(7)
    field = orjson.loads(of.faults)[0]["field"]

    def listed(
        name: str, which: Filter, *options: str, after: Cursor | None = None, text: str | None = None
    ) -> Case:
        def query(connection: Connection) -> None:
            for page in paging.pages(connection, which, Ask(20, after, text, 100_000 if text else 0)):
                answers.letters_json(connection, page.letters)
            paging.count(connection, which)

        return Case(name, ["list", *options], query)

    def grouped(name: str, which: Filter, *options: str, after: str | None = None) -> Case:
        given = [*options, *(["--after", after] if after else [])]
        return Case(name, given, lambda connection: answers.grouped(connection, which, 20, after))

    far = answers.grouped(connection, Filter(status="open"), 200)["next"]
    middle = timestamps.to_iso(
        connection.execute(
            select(letter.first_seen_at).order_by(*order).offset(total // 2).limit(1)
        ).scalar_one()
    )

    def alarm(connection: Connection) -> None:
        alarms.alarm(connection, alarms.Limits.of(1000, "2h", "5%"))

    still = "open"
    filters = ("--source", of.source, "--field", field, "--rule", "missing", "--until", "2026-01-01")
    return [
        Case("groups", [], lambda c: answers.grouped(c, Filter(status=still), 20)),
        grouped("groups, those behind the 200th", Filter(status=still), after=far),
        grouped(
            "groups --field --rule", Filter(fields=[field], rules=["missing"], status=still), *filters[2:6]
        ),
        grouped("groups --file (the last one)", Filter(file=last[0], status=still), "--file", last[0]),
        grouped("groups --delivery", Filter(delivery=3, status=still), "--delivery", "3"),
        grouped(
            "groups --since (the last minute)",
            Filter(since=timestamps.to_iso(last[1]), status=still),
            "--since",
            timestamps.to_iso(last[1]),
        ),
        grouped("groups --since (half of all)", Filter(since=middle, status=still), "--since", middle),
        listed("list, the first page", Filter(status=still)),
        listed("list, a page after 90%", Filter(status=still), "--after", str(deep), after=deep),
        listed("list --status all", Filter(), "--status", "all"),
        listed("list --group", Filter(groups=[of.id[:8]], status=still), "--group", of.id[:8]),
        listed(
            "list --source --field --rule --until",
            Filter(source=of.source, fields=[field], rules=["missing"], until="2026-01-01", status=still),
            *filters,
        ),
        listed("list --file (the last one)", Filter(file=last[0], status=still), "--file", last[0]),
        listed(
            "list --since (the last minute)",
            Filter(since=timestamps.to_iso(last[1]), status=still),
            "--since",
            timestamps.to_iso(last[1]),
        ),
        listed("list --delivery", Filter(delivery=3, status=still), "--delivery", "3"),
        listed(
            "list --group --contains (1 letter)",
            Filter(groups=[of.id], status=still),
            *("--group", of.id, "--contains", "999999,50"),
            text="999999,50",
        ),
        Case("show", ["show", deep.id], lambda c: view(c, deep.id)),
        Case("alarm", ["alarm", "--max-open", "1000", "--max-age", "2h", "--max-rate", "5%"], alarm),
    ]


def run(home: Path, command: list[str]) -> Took:
    """The real command."""
    environment = {**os.environ, "SLUICE_HOME": str(home)}
    words = [STORE, "letters", *command]
    ask = partial(subprocess.run, words, env=environment, capture_output=True, check=False)
    return timed(ask, COMMANDS)


def main() -> None:
    """Fills a store, unless one is given, and asks it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--letters", type=int, default=1_000_000)
    parser.add_argument("--groups", type=int, default=300)
    parser.add_argument("--home", type=Path, help="the state directory of a store that is filled already")
    options = parser.parse_args()
    print(machine.in_words(machine.describe()))
    with ExitStack() as stack:
        folder = options.home or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        empty = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine = install.prepare(StoreSettings(home=folder, database_url=None))
        stack.callback(engine.dispose)
        install.prepare(StoreSettings(home=empty, database_url=None)).dispose()
        if not options.home:
            build(engine, options.letters, options.groups)
        ask_all(folder, empty)


def ask_all(folder: Path, empty: Path) -> None:
    """Each case: the query at first and later, then the command over the store and over an empty one, the quickest."""
    engine = database.existing(StoreSettings(home=folder, database_url=None))
    for each in entry_points(group="sluice.outlook"):
        each.load()  # what `show` imports is part of its command, as with the others
    print(f"{'':38}{'first':>9}{'later':>9}{'command':>9}{'its CPU':>9}{'on empty':>9}")
    with database.reading(engine) as connection:
        for case in cases(connection):
            query = partial(case.query, connection)
            first, later = timed(query, 1), timed(query, QUERIES)
            asked, base = run(folder, case.command), run(empty, case.command)
            seconds = (first.wall[0], at(later.wall, 50), asked.wall[0], asked.cpu[0], base.cpu[0])
            figures = "".join(f"{each * 1000:>6.0f} ms" for each in seconds)
            print(f"{case.name:38}{figures}", flush=True)
    engine.dispose()


if __name__ == "__main__":
    main()

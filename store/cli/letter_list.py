"""The output of `store letters` and `list`: a table, or JSON or CSV; that of letters is written as pages are read."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection

from store.cli.choosing import arguments
from store.cli.command import put_csv
from store.cli.render import elements
from store.cli.render import letters as tables
from store.dead_letters import groups, paging
from store.dead_letters.filters import Filter
from store.dead_letters.paging import Ask, Cursor
from store.reports import letters as answers
from store.tables import batches
from store.terminal import json_text, print_json, warn

COLUMNS = (
    "id", "source", "status", "reason", "group_id", "errors", "file", "line", "record_key", "occurrences", "replays",
    "first_seen_at", "last_seen_at", "encoding", "payload",
)  # fmt: skip


class Reading:
    """Letters of some pages, as data, and what is known when they are read to the end."""

    def __init__(self, connection: Connection, which: Filter, ask: Ask) -> None:
        self.connection = connection
        self.pages = paging.pages(connection, which, ask)
        self.ask = ask
        self.next: Cursor | None = None
        self.looked_at = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for page in self.pages:
            self.next = page.next
            self.looked_at += page.looked_at
            yield from answers.letters_json(self.connection, page.letters)

    @property
    def is_cut(self) -> bool:
        """Whether letters that match may be among those that were not looked at."""
        return self.next is not None and self.ask.contains is not None and self.looked_at >= self.ask.look_at


def put(connection: Connection, which: Filter, ask: Ask, *, as_csv: bool, as_json: bool) -> None:
    """Prints the letters that are asked for."""
    reading = Reading(connection, which, ask)
    if as_csv:
        put_csv([COLUMNS])
        put_csv(map(_cells, reading))
    elif as_json:
        _put_json(reading)
    else:
        found = list(reading)
        number = None if ask.contains else paging.count(connection, which)
        more = _next_command(which, reading) if reading.next else None
        empty = batches.count(connection) == 0
        elements.put(
            *([elements.EMPTY] if empty else tables.listed(found, number, which.status or "all", more))
        )
    if reading.is_cut:
        warn(
            f"looked at {reading.looked_at:,} payloads, and there are more letters: go on with --after, or --look-at"
        )


def _next_command(which: Filter, reading: Reading) -> str:
    ask = reading.ask
    given = arguments(which) + (f" --contains {shlex.quote(ask.contains)}" if ask.contains else "")
    return f"store letters list{given} --after {reading.next}"


def _cells(letter: dict[str, Any]) -> Iterable[object]:
    return (tables.errors_text(letter) if name == "errors" else letter[name] for name in COLUMNS)


def _put_json(reading: Reading) -> None:
    """One object, written letter by letter: there may be a million."""
    before = '{\n  "letters": ['
    for letter in reading:
        sys.stdout.write(f"{before}\n    " + json_text(letter).replace("\n", "\n    "))
        before = ","
    rest: dict[str, Any] = {"next": str(reading.next) if reading.next else None}
    if reading.ask.contains is not None:
        rest["looked_at"] = reading.looked_at
    end = "\n  ]" if before == "," else before + "]"
    sys.stdout.write(f"{end},\n" + json_text(rest).removeprefix("{\n") + "\n")


def put_groups(
    connection: Connection,
    which: Filter,
    most: int | None,
    after: str | None,
    *,
    newest: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Prints the groups with letters that match."""
    found = answers.grouped(connection, which, most, after, newest_first=newest)
    if as_csv:
        put_csv(tables.groups_csv(found["groups"]))
    elif as_json:
        print_json(found)
    elif batches.count(connection) == 0:
        elements.put(elements.EMPTY)
    else:
        order = " --newest" if newest else ""
        size = f" --limit {most}" if most else ""
        more = (
            f"store letters{arguments(which)}{order}{size} --after {found['next']}" if found["next"] else None
        )
        replaying = groups.count_replaying(connection)
        elements.put(*tables.groups(found["groups"], which.status or "all", more, replaying))

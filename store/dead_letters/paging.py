"""Pages of letters in the order in which they were first seen, each read from where the last one ended.

No page sorts or scans all letters: those of one group and state stand in an index by time, so a page is merged from the
beginnings of a few hundred such rows of letters. `--contains` has to read payloads: so many of them, and no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, literal, select, tuple_

from store import database
from store.database.letters import STATES, dead_letters
from store.dead_letters import matching
from store.dead_letters.filters import Filter
from store.errors import UsageError
from store.tables.dead_letters import COLUMNS, DeadLetter, letter_of

STEP = 1000  # letters read at a time
MOST_WALKS = 1500  # beyond so many groups and states, one walk over all letters of a state is quicker

_letter = dead_letters.c
_CURSOR = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z),([0-9a-f]{32})")


class Cursor(NamedTuple):
    """A position between two letters: behind the one that was first seen then and has this id."""

    first_seen_at: str
    id: str

    @classmethod
    def of(cls, text: str) -> Cursor:
        """Raises UsageError."""
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise UsageError(
                f"--after {text!r} is no cursor: take `next` of --json, or the last line of the list"
            )
        return cls(match[1], match[2])

    def __str__(self) -> str:
        return f"{self.first_seen_at},{self.id}"


@dataclass(frozen=True)
class Page:
    """Some letters, and where the next page begins; None: there are no more."""

    letters: list[DeadLetter]
    next: Cursor | None
    looked_at: int  # letters whose payload was read for `contains`


@dataclass(frozen=True)
class Ask:
    """Which of the letters that match; without a limit, all."""

    limit: int | None
    after: Cursor | None = None
    contains: str | None = None  # only those whose payload, as it is stored, has this text
    look_at: int = 0  # with `contains`: how many payloads are read, at most

    @property
    def is_exhausted(self) -> bool:
        return self.contains is not None and self.look_at == 0

    def without(self, page: Page) -> Ask:
        """What is still to be read behind a page."""
        left = None if self.limit is None else self.limit - len(page.letters)
        return replace(self, limit=left, after=page.next, look_at=self.look_at - page.looked_at)


class Walk(NamedTuple):
    """Letters that stand together in an index by time: all those that meet these conditions."""

    conditions: list[ColumnElement[bool]]
    begins: str  # none of them was seen before


def count(connection: Connection, which: Filter) -> int | None:
    """How many letters match; None where only a scan of all of them would say."""
    if which != of_groups(which):
        return None
    found = matching.groups_of(connection, which)
    return sum(int(each[state]) for each in found for state in _states(which))


def of_groups(which: Filter) -> Filter:
    """Only what groups and their counts tell."""
    return replace(which, ids=(), file=None, delivery=None, since=None, until=None, superseded=False)


def pages(connection: Connection, which: Filter, ask: Ask) -> Iterator[Page]:
    """What is asked for, a page at a time, so that memory stays flat; the `next` of the last one goes on behind it.

    Raises UsageError for a filter that names what is unknown.
    """
    walks, left = _walks(connection, which), ask
    while True:
        found = _page(connection, walks, left)
        yield found
        left = left.without(found)
        if found.next is None or left.limit == 0 or left.is_exhausted:
            return


def _page(connection: Connection, walks: Sequence[Walk], ask: Ask) -> Page:
    """The next letters, one step at most."""
    size = STEP if ask.limit is None else min(STEP, ask.limit)
    if ask.contains is None:
        keys = _keys(connection, walks, ask.after, size + 1)
        more = len(keys) > size
        return Page(_letters(connection, keys[:size]), keys[size - 1] if more else None, 0)
    step = min(STEP, ask.look_at)
    keys = _keys(connection, walks, ask.after, step + 1)
    wanted, found = ask.contains.encode(), []
    for number, letter in enumerate(_letters(connection, keys[:step]), 1):
        if wanted in letter.raw:
            found.append(letter)
        if len(found) == size and number < len(keys):
            return Page(found, keys[number - 1], number)
    more = len(keys) > step
    return Page(found, keys[step - 1] if more else None, min(step, len(keys)))


def _states(which: Filter) -> Sequence[str]:
    return [which.status] if which.status else STATES


def _walks(connection: Connection, which: Filter) -> list[Walk]:
    """Those that the filter needs, the earliest first."""
    if not (which.ids or which.superseded):
        return _walks_of_groups(connection, which)
    return [Walk(matching.conditions(connection, which), "")]


def _walks_of_groups(connection: Connection, which: Filter) -> list[Walk]:
    rest = matching.conditions(connection, replace(which, **NOT_OF_GROUPS))
    found = matching.groups_of(connection, which)
    status: ColumnElement[str] = _letter.status
    if which.since:
        since = matching.moment("--since", which.since)
        found = [each for each in found if each["last_seen_at"] >= since]
        if matching.are_few(connection, since):
            status = _letter.status.concat("")  # by these letters, not by an index of all
    filled = [(each, state) for each in found for state in _states(which) if each[state]]
    if which.has_groups and len(filled) <= MOST_WALKS:
        return [
            Walk([_letter.group_id == each["id"], _letter.status == state, *rest], each["first_seen_at"])
            for each, state in sorted(filled, key=lambda pair: str(pair[0]["first_seen_at"]))
        ]
    if which.has_groups:
        rest.append(database.member_of(connection, _letter.group_id, [each["id"] for each in found]))
    return [Walk([status == state, *rest], "") for state in {state: 0 for _, state in filled}]


NOT_OF_GROUPS: dict[str, Any] = {
    "groups": (), "reasons": (), "source": None, "status": None, "fields": (), "rules": (), "shapes": (),
}  # fmt: skip


def _keys(connection: Connection, walks: Sequence[Walk], after: Cursor | None, number: int) -> list[Cursor]:
    """The first so many letters behind the cursor, over all walks."""
    order = (_letter.first_seen_at, _letter.id)
    found: list[Cursor] = []
    for walk in walks:
        if len(found) == number and walk.begins > found[-1].first_seen_at:
            break  # walks stand in the order in which they begin: no later one has an earlier letter
        statement = select(*order).where(*walk.conditions)
        if after:
            statement = statement.where(
                tuple_(*order) > tuple_(literal(after.first_seen_at), literal(after.id))
            )
        if len(found) == number:
            statement = statement.where(_letter.first_seen_at <= found[-1].first_seen_at)
        rows = connection.execute(statement.order_by(*order).limit(number))
        found = sorted([*found, *(Cursor(*row) for row in rows)])[:number]
    return found


def _letters(connection: Connection, keys: Sequence[Cursor]) -> list[DeadLetter]:
    chosen = database.member_of(connection, _letter.id, [key.id for key in keys])
    rows = connection.execute(select(*COLUMNS).where(chosen)).mappings()
    by_id = {row["id"]: letter_of(row) for row in rows}
    return [by_id[key.id] for key in keys]

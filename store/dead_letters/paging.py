"""Pages of letters in the order in which they were first seen, each read from where the last one ended.

No page sorts or scans all letters: those of one group and state stand in an index by time, so a page is merged from the
beginnings of a few hundred such rows of letters. `--contains` has to read payloads: so many of them, and no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, literal, select, tuple_

from store import database
from store.database.letters import STATES, dead_letters
from store.dead_letters import groups, matching
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


# --- pages of groups ---

LETTERS, LAST_SEEN = "letters", "last_seen_at"  # the orders
_CURSORS = {LETTERS: r"(\d{1,18})", LAST_SEEN: r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)"}


class GroupPage(NamedTuple):
    """Some groups, each with `letters`, how many of its letters match; and where the next page begins."""

    groups: list[dict[str, Any]]
    next: str | None  # None: there are no more


def groups_page(
    connection: Connection,
    which: Filter,
    limit: int | None,
    after: str | None = None,
    *,
    newest_first: bool = False,
) -> GroupPage:
    """Groups with letters that match, those with the most of them first, or those that were seen last.

    Raises UsageError for a filter that names what is unknown, and for a cursor of another order.
    """
    order = LAST_SEEN if newest_first else LETTERS
    start = _group_cursor(after, order) if after else None
    if which == of_groups(which) and not (which.fields or which.rules or which.shapes):
        found = _stored(connection, which, None if limit is None else limit + 1, start, newest_first)
    else:
        found = sorted(_counted(connection, which), key=lambda each: str(each["id"]))
        found.sort(key=lambda each: each[order], reverse=True)
        found = [each for each in found if start is None or _is_behind(each, order, start)]
    if limit is None or len(found) <= limit:
        return GroupPage(found, None)
    last = found[limit - 1]
    return GroupPage(found[:limit], f"{last[order]},{last['id']}")


def _group_cursor(text: str, order: str) -> tuple[int | str, str]:
    match = re.fullmatch(_CURSORS[order] + ",([0-9a-f]{32})", text)
    if match is None:
        raise UsageError(
            f"--after {text!r} is no cursor of this order: take `next` of --json, or the last line of the table, "
            "with --newest where that was given"
        )
    return (match[1] if order == LAST_SEEN else int(match[1])), match[2]


def _is_behind(group: dict[str, Any], order: str, start: tuple[Any, str]) -> bool:
    value, id = start
    return bool(group[order] < value or (group[order] == value and group["id"] > id))


def _stored(
    connection: Connection,
    which: Filter,
    limit: int | None,
    start: tuple[int | str, str] | None,
    newest_first: bool,
) -> list[dict[str, Any]]:
    """Groups by what their rows alone say."""
    ids = [matching.group_id(connection, each) for each in which.groups]
    found = groups.select_groups(
        connection, status=which.status, source=which.source, reasons=which.reasons, ids=ids,
        newest_first=newest_first, limit=limit, after=start,
    )  # fmt: skip
    return [{LETTERS: _in_states(each, which), **each} for each in found]


def _in_states(group: dict[str, Any], which: Filter) -> int:
    return sum(int(group[state]) for state in _states(which))


def _counted(connection: Connection, which: Filter) -> list[dict[str, Any]]:
    """Groups with the letters that match counted, where the group's own counts do not say it."""
    found = [each for each in matching.groups_of(connection, which) if _in_states(each, which)]
    partly = [each for each in found if not _is_whole(each, which)]
    counts = {each["id"]: _in_states(each, which) for each in found}
    if partly:
        counts |= dict.fromkeys((each["id"] for each in partly), 0)
        ids = [each["id"] for each in partly if _may_match(each, which)]
        counts |= _matching(connection, which, ids)
    return [{LETTERS: counts[each["id"]], **each} for each in found if counts[each["id"]]]


def _is_whole(group: dict[str, Any], which: Filter) -> bool:
    """Whether all letters of a group match that are in the states asked for."""
    if which.file or which.delivery is not None or which.superseded:
        return False
    since, until = _moments(which)
    return (not since or group["first_seen_at"] >= since) and (not until or group["last_seen_at"] < until)


def _may_match(group: dict[str, Any], which: Filter) -> bool:
    since, until = _moments(which)
    return (not since or group["last_seen_at"] >= since) and (not until or group["first_seen_at"] < until)


def _moments(which: Filter) -> tuple[str | None, str | None]:
    since = matching.moment("--since", which.since) if which.since else None
    return since, matching.moment("--until", which.until) if which.until else None


def _matching(connection: Connection, which: Filter, ids: Sequence[str]) -> dict[str, int]:
    """Group -> its letters that match, of these groups."""
    of_letters = matching.conditions(connection, replace(which, **(NOT_OF_GROUPS | {"status": which.status})))
    statement = (
        select(_letter.group_id, func.count())
        .where(database.member_of(connection, _letter.group_id, ids), *of_letters)
        .group_by(_letter.group_id)
    )
    return {id: int(number) for id, number in connection.execute(statement)}

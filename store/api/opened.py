"""`open_store`: what is stored, for programs. Every connection only reads, and sees one state of the data."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, Unpack

from sqlalchemy import Engine

from store import database, timestamps
from store.api.asked import Answer
from store.api.target import Target
from store.database import install
from store.database.letters import STATES
from store.dead_letters import matching, paging
from store.dead_letters.filters import Filter
from store.dead_letters.paging import Ask
from store.errors import UsageError
from store.lineage import explain
from store.reports import account, answers
from store.reports import letters as letter_answers
from store.settings import StoreSettings
from store.tables.rows import Choice


@contextmanager
def open_store(url: str | None = None) -> Iterator[Store]:
    """The store of the configuration, or of a SQLAlchemy URL. Raises StoreUnavailable where there is none."""
    settings = StoreSettings.load(database_url=url)
    with install.opened_for_reading(settings) as engine:
        yield Store(engine, settings)


class Which(TypedDict, total=False):
    """Which letters, as the options of the commands."""

    ids: Sequence[str]  # whole, or their first digits
    group: str
    reason: str
    source: str
    field: str
    rule: str
    shape: str
    file: str
    delivery: int
    since: str  # seen then or later
    until: str  # seen before
    superseded: bool  # their key or line was loaded since


class Chosen(Which, total=False):
    """Which letters, of whatever state."""

    status: str | None  # None: whatever their state


SEVERAL: dict[str, str] = {
    "group": "groups", "reason": "reasons", "field": "fields", "rule": "rules", "shape": "shapes",
}  # fmt: skip


@dataclass(frozen=True)
class Store:
    """What is stored. Each question is answered by one read transaction."""

    engine: Engine
    settings: StoreSettings

    def target(
        self, source: str | None = None, *, since: str | datetime | None = None, deleted: bool = False
    ) -> Target:
        """The newest record of each key: of a source, with an event time of `since` or later; deleted ones too."""
        return Target(self.engine, Choice(source, moment("since", since), deleted))

    def letters(self, **chosen: Unpack[Chosen]) -> Letters:
        """Dead letters that match all that is given, by default open ones."""
        return Letters(self.engine, filter_of({"status": "open", **chosen}, Chosen.__annotations__))

    def lineage(self, key: str, source: str | None = None) -> list[dict[str, Any]]:
        """Every entry of a key, from file and line on. Raises SluiceError where it is unknown."""
        with database.reading(self.engine) as connection:
            return answers.lineage_of_key(connection, key, source)

    def explain(self, key: str, source: str | None = None) -> dict[str, Any]:
        """Why the target holds what it holds for a key, and what became of its other records."""
        with database.reading(self.engine) as connection:
            return explain.explain(connection, key, source)

    def check(self, *, lineage: bool = False) -> dict[str, Any]:
        """The laws, each with its violations; `holds` where all of them do. The Redis DLQ is not asked."""
        with database.reading(self.engine) as connection:
            return answers.check(connection, repair=False, with_lineage=lineage, registered=False)

    def account(self, file: str | None = None, *, delivery: int | None = None) -> list[dict[str, Any]]:
        """What became of every record of a file's deliveries, of one delivery, or of the latest ones."""
        with database.reading(self.engine) as connection:
            return account.accounts(connection, file, delivery)

    def report(self) -> dict[str, Any]:
        """What came in so far, and what became of it."""
        with database.reading(self.engine) as connection:
            return answers.report(connection, self.settings.idle_after)

    def query(self, statement: str) -> Answer:
        """The answer to a SELECT. The database refuses all else: UsageError."""
        return Answer(self.engine, statement)


@dataclass(frozen=True)
class Letters:
    """Dead letters, read page by page; iterate over them."""

    engine: Engine
    which: Filter

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with database.reading(self.engine) as connection:
            for page in paging.pages(connection, self.which, Ask(None)):
                yield from letter_answers.letters_json(connection, page.letters)

    def groups(self) -> list[dict[str, Any]]:
        """Their groups, the largest first. Raises UsageError for a filter that groups do not have."""
        if self.which != paging.of_groups(self.which):
            raise UsageError(
                "groups are counted, not their letters: choose them by group, reason, source, status, field, rule and "
                "shape, or iterate over the letters"
            )
        with database.reading(self.engine) as connection:
            found = matching.groups_of(connection, self.which)
        states = [self.which.status] if self.which.status else STATES
        counted = [{"letters": sum(each[state] for state in states), **each} for each in found]
        return sorted((each for each in counted if each["letters"]), key=lambda each: -int(each["letters"]))


def filter_of(chosen: Mapping[str, Any], names: Collection[str]) -> Filter:
    """The letters that match all of this. Raises UsageError for what is none of the names that letters have here."""
    if unknown := [name for name in chosen if name not in names]:
        raise UsageError(f"letters are not chosen by {unknown[0]!r}: give one of {', '.join(sorted(names))}")
    if isinstance(chosen.get("ids"), str):
        raise UsageError("ids is a text: give a list of ids")
    given: dict[str, Any] = {
        SEVERAL.get(name, name): (value,) if name in SEVERAL else value for name, value in chosen.items()
    }
    return Filter(**given)


def moment(name: str, value: str | datetime | None) -> str | None:
    """A point in time as it is stored. Raises UsageError for text that is none."""
    if value is None:
        return None
    try:
        found = timestamps.from_iso(value) if isinstance(value, str) else value
    except ValueError as error:
        raise UsageError(f"{name} {value!r} is no time: write it like 2025-01-15T12:00:00Z") from error
    if found.tzinfo is None:
        raise UsageError(f"{name} {value!r} has no zone: give it one, like timezone.utc")
    return timestamps.to_text(found)

"""Which letters: what the options of the commands choose by. Plain data; `matching` has the SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection


@dataclass(frozen=True)
class Filter:
    """Letters that match all that is given. Ids may be shortened to a beginning that no other has."""

    ids: Sequence[str] = ()
    groups: Sequence[str] = ()
    reasons: Sequence[str] = ()
    source: str | None = None
    status: str | None = None
    fields: Sequence[str] = ()
    rules: Sequence[str] = ()
    shapes: Sequence[str] = ()
    file: str | None = None
    delivery: int | None = None  # the number of one that they were rejected in
    since: str | None = None  # seen then or later
    until: str | None = None  # seen before
    superseded: bool = False  # open or parked, and their key or line was loaded since

    @property
    def is_empty(self) -> bool:
        """Whether every letter matches."""
        return not self.to_json()

    @property
    def has_groups(self) -> bool:
        """Whether it chooses groups: all letters of a group have the same source, reason and faults."""
        return any((self.groups, self.reasons, self.source, self.fields, self.rules, self.shapes))

    def to_json(self) -> dict[str, Any]:
        """For an action: what is given."""
        given = {
            name: value
            for name, value in asdict(self).items()
            if value not in (None, "", (), []) and value is not False
        }
        return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}

    def conditions(self, connection: Connection) -> list[ColumnElement[bool]]:
        """In SQL. Raises UsageError for an id or delivery that is unknown, an ambiguous id, and for no time."""
        from store.dead_letters import matching  # SQLAlchemy is slow to import, and `--help` needs none of it

        return matching.conditions(connection, self)

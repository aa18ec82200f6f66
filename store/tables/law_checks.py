"""`law_checks`: what `store check` found last, a row a law. A law that could not be looked at keeps its last result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from store import database
from store.database.schema import law_checks


def note(connection: Connection, laws: Sequence[Mapping[str, Any]], at: str) -> None:
    """Notes what was found of the data as it was then: `law`, `violations` and `unchecked` of each."""
    rows = [
        {"law": each["law"], "violations": len(each["violations"]), "checked_at": at}
        for each in laws
        if each["violations"] or not each["unchecked"]
    ]
    if not rows:
        return
    statement = database.insert(connection, law_checks)
    changed = {name: statement.excluded[name] for name in ("violations", "checked_at")}
    connection.execute(statement.on_conflict_do_update(index_elements=["law"], set_=changed), rows)


def stored(connection: Connection) -> dict[str, tuple[int, str]]:
    """law -> how many violations its last check found, and when that was."""
    return {law: (violations, at) for law, violations, at in connection.execute(select(law_checks))}

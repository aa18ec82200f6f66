"""`flags`: which stages run, and on what share of the records, changed while workers run; every change is kept."""

from __future__ import annotations

from sqlalchemy import Connection, select

from store import database, timestamps
from store.database.schema import flag_history, flags


def overrides(connection: Connection) -> dict[str, float]:
    """stage -> share, for the stages whose flag was set by hand; the others go by the configuration."""
    return {name: share for name, share in connection.execute(select(flags.c.name, flags.c.share))}


def change(connection: Connection, name: str, share: float | None, why: str, by: str) -> None:
    """Sets a flag, or with None gives it back to the configuration; the change is kept."""
    previous = overrides(connection).get(name)
    connection.execute(flags.delete().where(flags.c.name == name))
    if share is not None:
        connection.execute(flags.insert().values(name=name, share=share))
    connection.execute(
        flag_history.insert().values(
            name=name, previous=previous, share=share, why=why, by=by, at=timestamps.now_text()
        )
    )


def history(connection: Connection, limit: int) -> list[dict[str, object]]:
    """The latest changes, newest first."""
    rows = connection.execute(select(flag_history).order_by(flag_history.c.id.desc()).limit(limit)).mappings()
    return [database.as_dict(row) for row in rows]

"""The raw field of each of the contract's fields, as the mapping had it that rejected a letter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, select

from store import database
from store.database.letters import letter_groups
from store.database.schema import contracts
from store.paths import Path

Origins = Mapping[str, Mapping[str, Any]]  # field -> {path: [names]} or {by: what makes it}


def origins_of(connection: Connection, groups: Sequence[str]) -> dict[str, Origins]:
    """Group -> the raw fields under the mapping that rejected its letters."""
    statement = (
        select(letter_groups.c.id, contracts.c.origins)
        .join(contracts, contracts.c.fingerprint == letter_groups.c.fingerprint)
        .where(database.member_of(connection, letter_groups.c.id, groups))
    )
    return {group: orjson.loads(text) for group, text in connection.execute(statement)}


def path_of(origins: Origins, field: str) -> Path | None:
    """The path of the one raw field that a field is read from; None where there is none, or it is not known.

    A field beyond the contract has its own name.
    """
    origin = origins.get(field)
    if origin is None:
        return (field,)
    return tuple(origin["path"]) if "path" in origin else None

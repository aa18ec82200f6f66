"""The databases that the store runs on: what differs between them, and nothing else of it, is in these files."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from store.database.backends.base import Backend
from store.errors import ConfigError

NAMES = ("sqlite", "postgresql")


@cache
def of(name: str) -> Backend:
    """The backend of this name, imported on its first use. Raises ConfigError for another database."""
    if name not in NAMES:
        raise ConfigError(
            f"database_url names {name}, on which the store does not run: write it like sqlite:////data/sluice.db or "
            "postgresql+psycopg://user@host/database"
        )
    backend: Backend = import_module(f"{__name__}.{name}").BACKEND
    return backend

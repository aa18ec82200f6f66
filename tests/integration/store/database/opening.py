"""Opening a database as a command does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from store.database import install
from store.settings import StoreSettings


def prepare(**settings: Any) -> None:
    """Prepares a database and lets it go."""
    install.prepare(StoreSettings.load(**settings)).dispose()


def url(path: Path) -> str:
    return f"sqlite:///{path}"

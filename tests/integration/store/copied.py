"""Stores that several tests begin with: filled once, and copied for each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from store.database import generation

from .conftest import Ledger

FILLED: dict[Callable[[Ledger], None], bytes] = {}


def filled(ledger: Ledger, fill: Callable[[Ledger], None]) -> Ledger:
    """An empty ledger, filled. On SQLite, a process fills one, and the others are copies of its file."""
    if ledger.engine.dialect.name != "sqlite":
        fill(ledger)
        return ledger
    ledger.engine.dispose()  # with the last connection SQLite's log goes into the file
    file = Path(str(ledger.engine.url.database))
    if fill in FILLED:
        file.write_bytes(FILLED[fill])
        generation.forget()
    else:
        fill(ledger)
        ledger.engine.dispose()
        assert not file.with_name(f"{file.name}-wal").exists()
        FILLED[fill] = file.read_bytes()
    return ledger

"""A database of PostgreSQL for a sandbox."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from ... import postgresql as servers

NUMBERS = count()


@contextmanager
def new_database(server: str, template: str = "template0") -> Iterator[str]:
    """One that is gone afterwards: its URL."""
    name = f"box_{os.getpid()}_{next(NUMBERS)}"
    try:
        yield servers.create(server, name, template)
    finally:
        servers.drop(server, name)

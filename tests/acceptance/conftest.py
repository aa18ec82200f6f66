"""The sandbox as a fixture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .sandbox import Sandbox, sandbox


@pytest.fixture
def box() -> Iterator[Sandbox]:
    """A home of the test's own."""
    with sandbox() as made:
        yield made

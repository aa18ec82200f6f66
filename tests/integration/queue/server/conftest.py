"""Homes with a private server of their own, which is ended after the test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .private_homes import stopped_afterwards


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder with a short name: pytest's own is too deep for a socket."""
    with tempfile.TemporaryDirectory(prefix="sl-") as folder:
        yield Path(folder)


@pytest.fixture
def home(base: Path) -> Iterator[Path]:
    yield from stopped_afterwards(base / "home")


@pytest.fixture
def deep_home(base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Too deep for a socket; the runtime directory is `base / "run"`."""
    (base / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base / "run"))
    yield from stopped_afterwards(base / ("d" * 120))

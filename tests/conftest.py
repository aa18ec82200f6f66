"""No test sees the settings, the Redis or the database of whoever runs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def isolation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A state directory of the test's own, and nothing else from the environment."""
    for name in list(os.environ):
        if name.startswith("SLUICE_") or name in ("REDIS_URL", "DATABASE_URL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    yield
    if jobs := sys.modules.get("worker.jobs"):
        jobs.close_workplace()

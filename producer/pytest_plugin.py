"""The pytest plugin, for a `conftest.py` that names it. It imports nothing; the fixture does.

It is no entry point: pytest would import it in each run wherever Sluice is installed, and a run whose folder has a
`worker.py` of its own would end there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from producer.testing import Sluice


@pytest.fixture(scope="session")
def sluice_empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the store of each test is a copy of."""
    from producer.testing import make_empty

    return make_empty(tmp_path_factory.mktemp("sluice-empty"))


@pytest.fixture
def sluice(tmp_path: Path, sluice_empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sluice]:
    """All of Sluice in this process, over a temporary store: see `producer.testing.Sluice`."""
    from producer.testing import opened

    with opened(tmp_path / "sluice", sluice_empty_database, monkeypatch) as made:
        yield made

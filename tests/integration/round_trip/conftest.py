"""The desk as a fixture."""

from __future__ import annotations

import pytest

from ..plant import Plant
from ..replaying import Replay
from .desk import Desk


@pytest.fixture
def replay(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Replay:
    return Replay(plant, monkeypatch)


@pytest.fixture
def desk(plant: Plant, replay: Replay) -> Desk:
    return Desk(plant, replay)

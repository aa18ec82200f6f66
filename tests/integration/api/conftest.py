"""The Python API over a plant."""

from __future__ import annotations

import pytest

from producer.resources import Resources
from producer.settings import ProducerSettings
from worker.contract import load_contract

from ..plant import Plant


@pytest.fixture
def api(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Plant:
    """A plant to which the functions of the API send."""

    def resources(**overrides: object) -> Resources:
        settings = ProducerSettings.load(**overrides)
        return Resources(settings, plant.settings, load_contract(plant.settings), plant.broker, plant.engine)

    monkeypatch.setattr(Resources, "open", resources)
    monkeypatch.chdir(plant.home)
    return plant

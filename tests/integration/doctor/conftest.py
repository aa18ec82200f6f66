"""`worker doctor` over the plant, whose Redis has no INFO of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from store.settings import StoreSettings
from worker.doctor import examination
from worker.doctor.findings import Finding, Limits
from worker.queue import client

from ..plant import Plant

INFO = {
    "redis_version": "7.2.4",
    "maxmemory_policy": "noeviction",
    "maxmemory": 0,
    "aof_enabled": 1,
    "connected_clients": 1,
    "maxclients": 100,
}
Doctor = Callable[..., dict[str, Finding]]


@pytest.fixture
def info(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Redis answers to INFO."""
    answer = dict(INFO)
    monkeypatch.setattr(plant.redis, "info", lambda *_: answer)
    monkeypatch.setattr(client, "connect_once", lambda *_: plant.redis)
    return answer


@pytest.fixture
def doctor(plant: Plant, info: dict[str, Any]) -> Doctor:
    """All checks, by their names."""

    def examine(**limits: Any) -> dict[str, Finding]:
        with examination.opened(StoreSettings.load(), plant.settings, Limits(**limits)) as site:
            return {found.check: found for found in examination.examine(site)}

    return examine

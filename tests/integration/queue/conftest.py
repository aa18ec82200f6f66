"""RQ's worker with all that it does: what it writes of itself is part of the queue."""

from __future__ import annotations

import pytest

from producer.testing import InProcessWorker

from ..plant import Plant


@pytest.fixture(autouse=True)
def whole_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plant, "worker_class", InProcessWorker)

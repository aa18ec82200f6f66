"""Commands of `producer` over the resources of a plant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from producer.cli.app import app
from producer.cli.command import Resources
from producer.settings import ProducerSettings
from worker.contract import load_contract

from ..plant import Plant

Producer = Callable[..., Any]


@pytest.fixture
def producer(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Producer:
    """`producer …`, in this process."""
    # The runner's standard error is no file, to which a worker that hangs could write.
    monkeypatch.setattr("faulthandler.dump_traceback_later", lambda *_, **__: None)

    def opened(**overrides: Any) -> Resources:
        settings = ProducerSettings.load(**overrides)
        return Resources(settings, plant.settings, load_contract(plant.settings), plant.broker, plant.engine)

    monkeypatch.setattr(Resources, "open", opened)
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path

"""The command `producer replay` over a plant."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from producer.cli.app import app
from producer.cli.command import Resources
from producer.settings import ProducerSettings
from worker.contract import load_contract

from .plant import Plant


class Replay:
    """The command, over the resources of a plant."""

    def __init__(self, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plant = plant
        self.patch = monkeypatch

    def __call__(self, *arguments: str, answer: str = "") -> Any:
        resources = Resources(
            ProducerSettings.load(),
            self.plant.settings,
            load_contract(self.plant.settings),
            self.plant.broker,
            self.plant.engine,
        )
        self.patch.setattr(Resources, "open", lambda **_: resources)
        return CliRunner().invoke(app, ["replay", *arguments], input=answer)

    def json(self, *arguments: str) -> Any:
        done = self(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return orjson.loads(done.stdout)


def statuses(plant: Plant) -> dict[str, str]:
    return {str(letter.record_key): letter.status for letter in plant.letters(None)}

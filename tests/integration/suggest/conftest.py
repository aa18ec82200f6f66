"""Commands over the database of a plant."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

import producer.cli.app
import worker.cli.app
from producer.cli.command import Resources
from producer.settings import ProducerSettings
from worker.contract import load_contract

from ..plant import Plant

APPS = {"producer": producer.cli.app.app, "worker": worker.cli.app.app}

Command = Callable[..., Any]


@pytest.fixture
def answer() -> Command:
    """What a command says with `--json`; it must end with this code."""

    def run(program: str, *arguments: str, code: int = 0) -> Any:
        done = CliRunner().invoke(APPS[program], [*arguments, "--json"])
        assert done.exit_code == code, f"{done.output}{done.exception!r}"
        return orjson.loads(done.stdout)

    return run


@pytest.fixture
def type_command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command as it is shown, as a user types it."""

    def run(plant: Plant, command: str, *more: str) -> Any:
        parts = (
            ProducerSettings.load(),
            plant.settings,
            load_contract(plant.settings),
            plant.broker,
            plant.engine,
        )
        with monkeypatch.context() as patch:
            patch.setattr(Resources, "open", lambda **_: Resources(*parts))
            done = CliRunner().invoke(APPS["producer"], [*shlex.split(command)[1:], "--json", *more])
        assert done.exit_code == 0, f"{done.output}{done.exception!r}"
        return orjson.loads(done.stdout)

    return run


@pytest.fixture
def shown() -> Command:
    """What a command shows to people."""

    def run(program: str, *arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(APPS[program], arguments)
        assert done.exit_code == code, f"{done.output}{done.exception!r}"
        return done.stdout

    return run

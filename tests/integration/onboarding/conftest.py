"""A folder of its own, in which a file is drafted and tried."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from producer.cli.app import app
from store.errors import SluiceError
from worker import contract


class Drafted:
    """A folder of its own, in which a file is drafted and tried."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, content: bytes | str, name: str = "shop.csv") -> str:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def run(self, *words: str) -> tuple[int, dict[str, Any]]:
        done = CliRunner().invoke(app, [*words, "--json"])
        if isinstance(done.exception, SluiceError):
            return done.exception.exit_code, {}
        return done.exit_code, json.loads(done.stdout) if done.stdout else {}

    def draft(self, file: str, *words: str) -> tuple[int, dict[str, Any]]:
        return self.run("draft", file, "--source", "shop", *words)

    def attempt(self, file: str) -> dict[str, Any]:
        contract.forget()
        return self.run("try", file, "--source", "shop", "--limit", "3")[1]

    @property
    def section(self) -> str:
        return (self.folder / "sluice.toml").read_text()

    @property
    def contract(self) -> str:
        return (self.folder / "shop_contract.py").read_text()


@contextmanager
def within(folder: Path) -> Iterator[Drafted]:
    """A folder as the working directory, without a configuration from elsewhere."""
    before, variables = Path.cwd(), dict(os.environ)
    os.environ.pop("SLUICE_CONFIG", None)
    os.environ.pop("SLUICE_CONTRACT", None)
    os.chdir(folder)
    try:
        yield Drafted(folder)
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(variables)
        sys.path[:] = [each for each in sys.path if each != str(folder)]
        contract.forget()


@pytest.fixture
def drafted(tmp_path: Path) -> Iterator[Drafted]:
    with within(tmp_path) as found:
        yield found

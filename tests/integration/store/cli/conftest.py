"""The command `store`, run in this process, over a sample."""

from __future__ import annotations

import pytest

from tests.integration.store.conftest import Bad, Ledger, Record
from tests.integration.store.copied import filled
from tests.integration.store.timing.timeline import Command, commands


@pytest.fixture
def store(
    own_environment: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs the command in this process, as its entry point does."""
    return commands(monkeypatch, capsys)


def fill(ledger: Ledger) -> None:
    records = [Record(key, "2025-01-14") for key in "abcd"]
    latest = Record("e", "2025-01-15T12:00:00.000000Z")
    ledger.receive(
        [*records, latest, Bad("{ nonsense"), Bad('{"key": "g"}', "missing_timestamp", "g")], id="b1"
    )
    ledger.load()


@pytest.fixture
def sample(ledger: Ledger) -> Ledger:
    """Seven records: five valid, two invalid, all loaded; the latest of 2025-01-15 12:00."""
    return filled(ledger, fill)

"""The back-test as `worker contract test` runs it: settings as they would be, letters and rows under them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from store import trust
from store.errors import ConfigError
from store.settings import SECTIONS
from store.tables import watermarks
from worker.backtest.letters import judge_letters
from worker.backtest.rows import Comparison, judge_rows
from worker.contract import load_contract
from worker.settings import WorkerSettings


@dataclass(frozen=True)
class Asked:
    """What to judge, and by what."""

    contract: str | None  # module:Model; None: that of the configuration
    mapping: Path | None
    source: str | None
    sample: int | None  # rows of the target; None: all

    @property
    def is_of_another(self) -> bool:
        return self.contract is not None or self.mapping is not None


def settings_of(asked: Asked) -> WorkerSettings:
    """The settings as they would be. Raises ConfigError."""
    given = WorkerSettings.from_config(read_mapping(asked.mapping)) if asked.mapping else {}
    if asked.contract is not None:
        given["contract"] = asked.contract
    return WorkerSettings.load(**given)


def read_mapping(path: Path) -> dict[str, Any]:
    """A file like sluice.toml, whose keys go before those of the configuration. Raises ConfigError."""
    try:
        config = tomllib.loads(trust.read_code(path).decode())  # it may name a function, which would be run
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"--mapping {path} cannot be read: {error}") from error
    odd = [name for name, value in config.items() if name not in SECTIONS or not isinstance(value, dict)]
    if odd:
        raise ConfigError(
            f"--mapping {path}: {odd[0]!r} is no section; it has [sources.NAME] as sluice.toml has"
        )
    return config


def back_test(connection: Connection, asked: Asked, on_records: Callable[[int], None]) -> dict[str, Any]:
    """What newly passes, and what newly fails and why."""
    settings = settings_of(asked)
    contract = load_contract(settings)
    reached = watermarks.read_all(connection, settings.max_future_skew).sound
    letters = judge_letters(connection, contract, settings, asked.source, reached, on_records)
    present = WorkerSettings.load()
    in_force = (load_contract(present), present) if asked.is_of_another else None
    comparison = Comparison(contract, settings, in_force)
    rows = judge_rows(connection, comparison, asked.source, asked.sample, on_records)
    return {
        "contract": contract.name,
        "mapping": str(asked.mapping) if asked.mapping else None,
        "source": asked.source,
        "letters": letters.to_json(),
        "target": rows.to_json(),
    }

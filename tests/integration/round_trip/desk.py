"""A spreadsheet over an exported file, and the command that takes the file back."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import orjson

from store import database
from store.dead_letters.transfer import export
from store.tables.dead_letters import conditions

from ..plant import Plant
from ..replaying import Replay

Rows = list[dict[str, str]]


class Desk:
    """A spreadsheet over an exported file, and the command that takes it back."""

    def __init__(self, plant: Plant, replay: Replay) -> None:
        self.plant, self.replay, self.path = plant, replay, plant.home / "fixed.csv"

    def export(self, write: Callable[..., Any] = export.write_csv) -> Rows:
        with database.reading(self.plant.engine) as connection, self.path.open("w", newline="") as out:
            write(connection, conditions(connection, status="open"), out)
        with self.path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))

    def save(self, rows: Rows, **dialect: Any) -> None:
        with self.path.open("w", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]), **dialect)
            writer.writeheader()
            writer.writerows(rows)

    def send(self, *arguments: str) -> Any:
        return self.replay("--from", str(self.path), *arguments)

    def proof(self) -> Any:
        return orjson.loads(self.send("--dry-run", "--json").stdout)

    def refusals(self) -> dict[int, str]:
        return {each["line"]: each["why"] for each in self.proof()["from"]["refused"]}

    def work(self) -> None:
        self.plant.work()
        self.plant.load()
        assert self.plant.violations() == []

    def target(self) -> dict[str, Any]:
        return {each["key"]: each["value"] for each in self.plant.rows()}

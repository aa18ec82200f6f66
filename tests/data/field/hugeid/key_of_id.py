"""An adapter that makes a key of a number."""

from typing import Any


def read(raw: dict[str, Any]) -> dict[str, Any]:
    return {"key": str(raw["id"]), "name": raw["name"], "value": raw["value"], "ts": raw["ts"]}

"""Numbers as German programs write them: 1.234,5 is one thousand two hundred and thirty-four and a half."""

from typing import Any


def read(raw: dict[str, Any]) -> dict[str, Any]:
    return raw | {"value": raw["value"].replace(".", "").replace(",", ".")}

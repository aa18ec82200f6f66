"""A contract with an exact number, and an adapter that passes it on."""

from decimal import Decimal
from typing import Any

from worker.contract import Record


class Order(Record):
    amount: Decimal


def read(raw: dict[str, Any]) -> dict[str, Any]:
    return {"key": raw["key"], "ts": raw["ts"], "amount": raw["amount"]}

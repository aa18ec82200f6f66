"""Writes orders.ndjson.gz, 10,000 orders, and orders-faulty.ndjson.gz, the same with eight kinds of faults.

python data/make_orders.py FOLDER
"""

from __future__ import annotations

import gzip
import json
import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

Order = dict[str, Any]
ORDERS = 10_000
START = datetime(2025, 1, 13, 6, tzinfo=UTC)


def orders() -> list[Order]:
    """What the supplier meant."""
    chance = random.Random(2025)  # noqa: S311 - the same orders each time
    return [
        {
            "key": f"A{number:05}",
            "name": chance.choice(["bolt", "nut", "washer", "hinge", "bracket"]),
            "value": chance.randrange(100, 500_000) / 100,
            "ts": f"{START + timedelta(minutes=2 * number):%Y-%m-%dT%H:%M}:00Z",
        }
        for number in range(ORDERS)
    ]


def with_comma(order: Order) -> Order:
    return order | {"value": f"{order['value']:.2f}".replace(".", ",")}


def with_currency(order: Order) -> Order:
    return order | {"value": f"{order['value']:.2f} EUR"}


def with_thousands(order: Order) -> Order:
    return order | {"value": f"{order['value']:,.2f}"}


def with_local_date(order: Order) -> Order:
    return order | {"ts": f"{datetime.fromisoformat(order['ts']):%d.%m.%Y %H:%M}"}


def with_seconds(order: Order) -> Order:
    return order | {"ts": int(datetime.fromisoformat(order["ts"]).timestamp())}


def with_id(order: Order) -> Order:
    return {"id": order["key"], **{name: order[name] for name in ("name", "value", "ts")}}


def with_article(order: Order) -> Order:
    return {"key": order["key"], "article": order["name"], "value": order["value"], "ts": order["ts"]}


def without_name(order: Order) -> Order:
    return order | {"name": None}


# how many, from which order on, and of which amounts
FAULTS: list[tuple[Callable[[Order], Order], int, int, Callable[[Order], bool]]] = [
    (with_comma, 400, 0, lambda order: True),
    (with_currency, 150, 900, lambda order: True),
    (with_thousands, 100, 1500, lambda order: order["value"] >= 1000),
    (with_local_date, 300, 2500, lambda order: True),
    (with_seconds, 120, 4000, lambda order: True),
    (with_id, 174, 5000, lambda order: True),
    (with_article, 80, 6500, lambda order: True),
    (without_name, 60, 8000, lambda order: True),
]


def both() -> tuple[list[Order], list[Order]]:
    """The orders as they were meant, and as they came."""
    meant = orders()
    came = list(meant)
    for spoil, number, first, fits in FAULTS:
        chosen = [index for index in range(first, ORDERS) if fits(meant[index])][:number]
        for index in chosen:
            if spoil is without_name:
                meant[index] = meant[index] | {"name": "unnamed"}
            came[index] = spoil(meant[index])
    return meant, came


def packed(records: list[Order]) -> bytes:
    """The same bytes each time."""
    text = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
    return gzip.compress(text.encode(), 9, mtime=0)


def main(folder: Path) -> None:
    for name, records in zip(("orders", "orders-faulty"), both(), strict=True):
        (folder / f"{name}.ndjson.gz").write_bytes(packed(records))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

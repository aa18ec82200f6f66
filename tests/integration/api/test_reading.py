"""`open_store`: rows in every form hold what the target holds; nothing that it opens can write."""

from __future__ import annotations

import builtins
import csv
import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas
import pyarrow.parquet
import pytest

from producer import send
from store import Store, database, open_store
from store.errors import ForeignDatabase, StoreUnavailable, UsageError

from ..plant import Plant, row

CONTRACT = """
from decimal import Decimal
from worker.contract import Record

class Order(Record):
    amount: Decimal
    pieces: int | None = None
    paid: bool | None = None
    tags: list[str] | None = None
"""
LARGE = 2**53 + 1
ROWS = [
    {
        "key": "a",
        "ts": "2025-01-15T08:00:00Z",
        "amount": Decimal("12345678901234.567891"),
        "pieces": LARGE,
        "more": 1,
    },
    {"key": "b", "ts": "2025-01-16T08:00:00.25Z", "amount": "0.10", "paid": False, "tags": ["=x"]},
]


@pytest.fixture
def orders(api: Plant) -> Plant:
    (api.home / "api_orders.py").write_text(CONTRACT)
    api.configure('[worker]\ncontract = "api_orders:Order"\n[sources.shop]\ndeleted = "gone"\n')
    send(ROWS, source="shop", name="orders")
    send([{"key": "c", "ts": "2025-01-15T08:00:00Z", "gone": True}], source="shop")
    api.work()
    api.load()
    return api


def test_every_form_holds_every_digit_and_what_is_missing(orders: Plant) -> None:
    with open_store() as s:
        first, second = s.target("shop")
        forms = [
            s.target("shop").polars().to_dicts(),
            s.target("shop").arrow().to_pylist(),
            s.target("shop").pandas().astype(object).to_dict("records"),
        ]
        assert s.target("shop").parquet("o.parquet") == s.target("shop").ndjson("o.ndjson") == 2
        assert s.target("shop").csv("o.csv") == 2
    assert (first["amount"], first["pieces"], first["paid"], first["extra"]) == (
        Decimal("12345678901234.567891"), LARGE, None, {"more": 1},
    )  # fmt: skip
    assert (second["amount"], second["paid"], second["tags"]) == (Decimal("0.1"), False, ["=x"])
    forms.append(pyarrow.parquet.read_table("o.parquet").to_pylist())
    for form in forms:
        assert [each["amount"] for each in form] == [first["amount"], second["amount"]]
        assert [each["ts"] for each in form] == [first["ts"], second["ts"]]
        assert form[0]["pieces"] == LARGE
        assert form[1]["pieces"] is None or form[1]["pieces"] is pandas.NA
        assert form[1]["tags"] == '["=x"]'
    lines = [json.loads(line, parse_float=Decimal) for line in Path("o.ndjson").read_text().splitlines()]
    assert [line["amount"] for line in lines] == [first["amount"], second["amount"]]
    with Path("o.csv").open() as file:
        cells = list(csv.DictReader(file))
    assert [(each["amount"], each["paid"], each["ts"]) for each in cells] == [
        ("12345678901234.567891", "", "2025-01-15T08:00:00Z"), ("0.1", "false", "2025-01-16T08:00:00.25Z"),
    ]  # fmt: skip


def test_rows_are_chosen_by_source_time_and_deletion(orders: Plant) -> None:
    with open_store() as s:
        assert [each["key"] for each in s.target(since="2025-01-16")] == ["b"]
        assert [(each["key"], each["deleted"]) for each in s.target(deleted=True)] == [
            ("a", False), ("b", False), ("c", True),
        ]  # fmt: skip
        assert list(s.target("other")) == []
        assert s.target("other").arrow().schema.names == s.target().arrow().schema.names
        with pytest.raises(UsageError, match="tomorrow"):
            s.target(since="tomorrow")


def test_a_decimal_that_a_column_does_not_hold_is_refused_and_not_rounded(orders: Plant) -> None:
    send([{"key": "d", "ts": "2025-01-15T08:00:00Z", "amount": "0.1234567890123456789012"}], source="shop")
    orders.work()
    orders.load()
    with open_store() as s:
        for form in (s.target().arrow, s.target().polars, lambda: s.target().parquet("o.parquet")):
            with pytest.raises(UsageError, match=r"'amount' has the value 0\.12"):
                form()
        assert not Path("o.parquet").exists()
        assert list(Path().glob(".o.parquet*")) == []
        assert Decimal("0.1234567890123456789012") in list(s.target().pandas()["amount"])


def test_a_library_that_is_not_installed_is_named(orders: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] in ("polars", "narwhals"):
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr("importlib.import_module", without)
    monkeypatch.setattr(builtins, "__import__", without)
    with open_store() as s, pytest.raises(UsageError, match=r"pip install 'sluice\[polars\]'"):
        s.target().polars()
    with pytest.raises(UsageError, match=r"pip install 'sluice\[frames\]'"):
        send(pandas.DataFrame([row()]))


def test_letters_are_chosen_and_counted_as_the_commands_do(api: Plant) -> None:
    send([row("a", value="x"), row("b", value="y"), row("c", name=None), row("d")], name="one")
    api.work()
    with open_store() as s:
        assert [(each["letters"], each["reason"]) for each in s.letters().groups()] == [
            (2, "invalid_value"), (1, "missing_name"),
        ]  # fmt: skip
        assert [each["record_key"] for each in s.letters(field="value")] == ["a", "b"]
        assert list(s.letters(status="parked")) == s.letters(status="parked").groups() == []
        with pytest.raises(UsageError, match="iterate"):
            s.letters(file="one").groups()


def test_nothing_can_be_written_through_it(orders: Plant, plant_backend: str) -> None:
    with open_store() as s:
        before = orders.digest()
        with pytest.raises(StoreUnavailable, match="read-only"), database.transaction(s.engine) as connection:
            connection.exec_driver_sql("DELETE FROM target")
        for statement in WRITES + ITS_OWN[plant_backend]:
            refuse(s, statement)
        assert list(s.query("SELECT count(*) AS n FROM target")) == [{"n": 3}]
    assert orders.digest() == before
    assert list(orders.home.glob("*.stolen")) == []


WRITES = (
    "DELETE FROM target",
    "WITH gone AS (SELECT 1) DELETE FROM target",
    "CREATE TEMP TABLE x (a)",
    "COMMIT",
    "SELECT 1; DELETE FROM target",
    "SELECT nope FROM target",
    "SELECT 1 AS a, 2 AS a",
)
ITS_OWN = {
    "sqlite": (
        "ATTACH 'other.stolen' AS other",
        "VACUUM INTO 'copy.stolen'",
        "PRAGMA query_only = 0",
        "SELECT load_extension('x')",
        "SELECT",
    ),
    "postgresql": (
        "COPY target TO '/tmp/other.stolen'",
        "COPY (SELECT 1) TO PROGRAM 'touch other.stolen'",
        "SET TRANSACTION READ WRITE",
        "SELECT setval('batches_seq_seq', 99)",
        "DO $$ BEGIN DELETE FROM target; END $$",
        "WITH gone AS (DELETE FROM target RETURNING 1) SELECT * FROM gone",
    ),
}


def refuse(s: Store, statement: str) -> None:
    with pytest.raises(UsageError):
        list(s.query(statement))


def test_there_must_be_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "nothing"))
    with pytest.raises(StoreUnavailable, match="there is no database"), open_store():
        pass
    assert not (tmp_path / "nothing").exists()
    orders = tmp_path / "orders.db"
    orders.touch(mode=0o600)
    with pytest.raises(StoreUnavailable, match="there is no database"), open_store(f"sqlite:///{orders}"):
        pass
    with closing(sqlite3.connect(orders)) as others, others:
        others.execute("CREATE TABLE orders (id)")
    with pytest.raises(ForeignDatabase, match="not Sluice's"), open_store(f"sqlite:///{orders}"):
        pass

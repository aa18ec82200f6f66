"""What people query on PostgreSQL: views of its own types, in a schema of the user's choice."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import orjson
import pytest
from sqlalchemy import Engine, inspect
from typer.testing import CliRunner

from store import database
from store.cli.app import app
from store.database import install
from store.database.records import ContractColumn, Kind
from store.errors import StoreUnavailable
from store.settings import StoreSettings

from ...plant import Plant, ndjson

pytestmark = pytest.mark.postgresql("its types and schemas")

CONTRACT = """
from decimal import Decimal
from typing import Any
from worker.contract import Record

class Order(Record):
    name: str | None = None
    amount: Decimal | None = None
    paid: bool | None = None
    items: list[Any] | None = None
"""
WANTED = {
    "ts": "TIMESTAMP",
    "amount": "NUMERIC",
    "paid": "BOOLEAN",
    "items": "JSONB",
    "extra": "JSONB",
    "name": "TEXT",
}


@pytest.fixture
def orders(plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """A plant whose contract has a field of each type."""
    name = f"orders_{tmp_path.name.encode().hex()[-12:]}"
    (tmp_path / f"{name}.py").write_text(CONTRACT)
    monkeypatch.syspath_prepend(str(tmp_path))
    plant.configure(f'[worker]\ncontract = "{name}:Order"\n')
    yield plant


UNUSABLE = (
    b'["a\\u0000b"]',
    b'[{"\\u0000": 1}]',
    b'["\\ud800"]',
    b"[1e400]",
    b"[NaN]",
    b"[" + b"9" * 140_000 + b"]",
)
DEEPEST = b"[" * 60 + b"]" * 60


def records() -> bytes:
    """One of each type, two without, and JSON that is no `jsonb` in a field of the contract and beyond it."""
    plain = ndjson(
        {
            "key": "a", "ts": "2025-01-15T09:00:00.000001+01:00", "name": "pump", "amount": "10.10", "paid": True,
            "items": [{"sku": "x", "n": 2}], "colour": "blue",
        },
        {"key": "b", "ts": "0001-01-01T00:00:00Z"},
    )  # fmt: skip
    start = b'{"key": "c", "ts": "2025-01-15T08:00:00Z"'
    odd = b"".join(
        b'%s, "%s": %s}\n' % (start, field, each) for each in UNUSABLE for field in (b"items", b"note")
    )
    return plain + odd + b'%s, "items": %s, "note": [-1.5, 1e-320, 9223372036854775807]}\n' % (start, DEEPEST)


def types(engine: Engine, view: str) -> dict[str, str]:
    with database.reading(engine) as connection:
        found = {
            each["name"]: str(each["type"]).partition("(")[0]
            for each in inspect(connection).get_columns(view)
        }
    return {name: found[name] for name in WANTED}


def answer(statement: str, *options: str) -> str:
    done = CliRunner().invoke(app, ["query", statement, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_views_have_moments_numbers_and_jsonb_whatever_is_stored(orders: Plant) -> None:
    orders.run(records())
    assert orders.violations() == []
    assert len(orders.rows("dead_letters", "id")) == 2 * len(UNUSABLE)
    for view in ("current", "golden"):
        assert types(orders.engine, view) == WANTED
        a, b, c = orders.rows(view, "key")
        assert a["ts"] == datetime(2025, 1, 15, 8, 0, 0, 1, tzinfo=UTC)
        assert (a["amount"], a["paid"], a["items"], a["extra"]) == (
            Decimal("10.1"), True, [{"sku": "x", "n": 2}], {"colour": "blue"},
        )  # fmt: skip
        assert b["ts"] == datetime(1, 1, 1, tzinfo=UTC)
        assert b["items"] is None and b["extra"] is None
        assert c["items"] == orjson.loads(DEEPEST) and c["extra"] == {"note": [-1.5, 1e-320, 2**63 - 1]}


def test_an_answer_shows_moments_and_json_as_they_are_written(
    orders: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")  # as a server may be set too
    orders.run(records())
    statement = "SELECT key, ts, amount, paid, items FROM current WHERE key <> 'c' ORDER BY key"
    assert orjson.loads(answer(statement, "--json"))["rows"] == [
        ["a", "2025-01-15T08:00:00.000001Z", 10.1, True, [{"sku": "x", "n": 2}]],
        ["b", "0001-01-01T00:00:00Z", None, None, None],
    ]
    hashed = "SELECT content_hash FROM current WHERE key = 'a'"
    assert orjson.loads(answer(hashed, "--json"))["rows"] == [[answer(hashed, "--csv").split()[1]]]
    first = list(csv.reader(io.StringIO(answer(statement, "--csv"))))[1]
    assert first == ["a", "2025-01-15T08:00:00.000001Z", "10.1", "true", '[{"n":2,"sku":"x"}]']
    assert "2025-01-15T08:00:00.000001Z" in answer(statement)


def test_a_store_in_a_schema_of_its_own_is_all_there_and_no_other(
    orders: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders.run(ndjson({"key": "public", "ts": "2025-01-15T08:00:00Z"}), "first.ndjson")
    whole = orders.digest()
    url = StoreSettings.load().database_url
    monkeypatch.setenv("SLUICE_DATABASE_SCHEMA", "warehouse")
    orders.configure(orders.config.read_text())
    answered = CliRunner().invoke(app, ["init"], catch_exceptions=False)
    assert answered.exit_code == 0, answered.output
    engine = database.existing(StoreSettings(database_url=url, database_schema="warehouse"))
    with database.reading(engine) as connection:
        made = inspect(connection)
        assert {"staging", "target", "dead_letters"} <= set(made.get_table_names())
        assert connection.exec_driver_sql("SELECT count(*) FROM target").scalar() == 0
        assert database.backend_of(connection).dataset(connection, "target")[1].endswith(".warehouse.target")
        where = "SELECT DISTINCT schemaname FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        assert sorted(connection.exec_driver_sql(where).scalars()) == ["public", "warehouse"]
    engine.dispose()
    assert answer("SELECT key FROM current", "--csv") == "key\n"
    monkeypatch.delenv("SLUICE_DATABASE_SCHEMA")
    assert answer("SELECT key FROM current", "--csv") == "key\npublic\n"
    assert orders.digest() == whole


def test_a_name_that_the_server_keeps_for_itself_is_refused_with_what_to_do(orders: Plant) -> None:
    url = StoreSettings.load().database_url
    with pytest.raises(StoreUnavailable, match="give database_schema another one"):
        install.prepare(StoreSettings(database_url=url, database_schema="pg_own"))


@pytest.mark.parametrize("name", ["a b", 'a"b', "1st", "x" * 64, "ware\n"])
def test_a_name_that_is_no_schema_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        StoreSettings(database_schema=name)


@pytest.mark.parametrize(
    "change", [("color", "text"), ("number", "real")], ids=["a new field", "a wider one"]
)
def test_who_may_read_the_views_may_read_them_after_the_contract_has_changed(
    plant: Plant, change: tuple[str, Kind]
) -> None:
    """They are made again with each change of a column."""
    name = f"reader_{os.getpid()}"
    install.add_contract_columns(plant.engine, [ContractColumn("number", "integer")])
    with database.transaction(plant.engine, "change") as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN")
        connection.exec_driver_sql(f"GRANT SELECT ON current, golden TO {name} WITH GRANT OPTION")
        connection.exec_driver_sql("GRANT SELECT ON golden TO PUBLIC")
    try:
        install.add_contract_columns(plant.engine, [ContractColumn(*change)])
        url = plant.engine.url.set(username=name).render_as_string(hide_password=False)
        reader = database.open_engine(StoreSettings(database_url=url))
        with database.reading(reader) as connection:
            for view in ("current", "golden"):
                connection.exec_driver_sql(f"SELECT {change[0]} FROM {view}")  # noqa: S608
            asked = "SELECT has_table_privilege('current', 'SELECT WITH GRANT OPTION')"
            assert connection.exec_driver_sql(asked).scalar_one()
        reader.dispose()
        with database.reading(plant.engine) as connection:
            asked = "SELECT has_table_privilege('pg_monitor', 'golden', 'SELECT')"
            assert connection.exec_driver_sql(asked).scalar_one()
    finally:
        with database.transaction(plant.engine, "change") as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {name}")
            connection.exec_driver_sql(f"DROP ROLE {name}")


def test_a_view_of_the_users_own_over_ours_outlives_a_new_field_and_keeps_a_type_as_it_is(
    plant: Plant,
) -> None:
    install.add_contract_columns(plant.engine, [ContractColumn("number", "integer")])
    with database.transaction(plant.engine, "change") as connection:
        connection.exec_driver_sql("CREATE VIEW theirs AS SELECT key, number FROM current")
    install.add_contract_columns(plant.engine, [ContractColumn("color", "text")])
    plant.run(ndjson({"key": "a", "name": "pump", "value": 1.5, "ts": "2025-01-15T08:00:00Z"}))
    assert [each["key"] for each in plant.rows("theirs", "key")] == ["a"]
    adopted = install.add_contract_columns(plant.engine, [ContractColumn("number", "real")])
    assert "theirs" in adopted.refused["number"]
    assert "number" in plant.rows("current", "key")[0]

"""`worker contract adopt`: the owner of the tables gives them the contract's columns, and workers need not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from store import database
from store.settings import StoreSettings
from worker.cli.app import app

from ..plant import Plant, ndjson, row

HEAD = "from worker.contract import Record\nclass "
MODULES = {
    "first": "Order(Record):\n    name: str\n    size: int\n",
    "second": "Order(Record):\n    name: str\n    size: float\n    color: str | None = None\n",
    "third": "Order(Record):\n    name: int\n    size: float\n",
}


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in MODULES.items():
        (tmp_path / f"{name}_contract.py").write_text(HEAD + text)
    monkeypatch.syspath_prepend(str(tmp_path))


def adopt(*words: str) -> Result:
    return CliRunner().invoke(app, ["contract", "adopt", *words])


def test_new_columns_are_added_once_and_a_field_of_another_type_is_refused(plant: Plant) -> None:
    plant.configure('[worker]\ncontract = "first_contract:Order"\n')
    done = adopt()
    assert (done.exit_code, done.stdout) == (0, "first_contract:Order: 2 new columns: name, size\n")
    assert adopt().stdout == "first_contract:Order: no new column\n"
    assert (
        adopt("--contract", "second_contract:Order").stdout == "second_contract:Order: 1 new column: color\n"
    )
    assert plant.column_types("target").keys() >= {"name", "size", "color"}
    refused = adopt("--contract", "third_contract:Order")
    assert refused.exit_code == 1
    assert "contract field 'name' is integer now, but the table holds it as text" in refused.stdout


@pytest.mark.postgresql("roles")
def test_a_role_that_changes_no_table_works_once_the_owner_has_adopted_the_contract(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.configure('[worker]\ncontract = "first_contract:Order"\n')
    assert adopt().exit_code == 0
    name = f"hand_{os.getpid()}"
    url = str(StoreSettings.load().database_url)
    owner = database.existing(StoreSettings.load())
    with database.transaction(owner, "change") as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN")
        for right in ("SELECT, INSERT, UPDATE, DELETE ON ALL TABLES", "USAGE, SELECT ON ALL SEQUENCES"):
            connection.exec_driver_sql(f"GRANT {right} IN SCHEMA public TO {name}")
    try:
        plant.move_to(url.replace("//postgres@", f"//{name}@"))
        plant.run(ndjson(row("a", size=3)))
        assert [each["size"] for each in plant.rows()] == [3]
        plant.configure('[worker]\ncontract = "second_contract:Order"\n')
        assert "owner" in str(adopt().exception)
        plant.move_to(url)
        assert adopt().stdout == "second_contract:Order: 1 new column: color\n"
        plant.move_to(url.replace("//postgres@", f"//{name}@"))
        plant.run(ndjson(row("b", size=1.5, color="red")))
        assert {each["key"]: each["color"] for each in plant.rows()} == {"a": None, "b": "red"}
    finally:
        plant.move_to(url)
        with database.transaction(owner, "change") as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {name}")
            connection.exec_driver_sql(f"DROP ROLE {name}")
        owner.dispose()

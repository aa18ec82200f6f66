"""`store copy`: a store on the other backend, both ways; interrupted; refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table

from store import database
from store.checks import conservation
from store.cli.moving import copied
from store.database import install, moving, schema
from store.errors import UsageError
from store.settings import StoreSettings
from store.tables import leases

from ...conftest import MakeDatabase
from ...plant import Plant, ndjson, row
from ..cli.conftest import Command
from ..conftest import Bad, Ledger, Record, install_tables, rejected
from ..timing.timeline import commands


@pytest.fixture
def store(
    own_environment: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    return commands(monkeypatch, capsys)


def fill(ledger: Ledger) -> None:
    """Winners, losers, letters in several states, rows in staging; and a batch whose number is given and gone."""
    ledger.receive(
        [Record("a", "2025-01-01"), Record("b", "2025-01-02"), Bad("{"), Bad("[1"), Bad("\U0001f600")]
    )
    ledger.load()
    ledger.receive([Record("a", "2025-01-03", "later", 0.1), Record("b", "2025-01-02", "tie")])
    ledger.load()
    [letter] = ledger.rows("SELECT id FROM dead_letters WHERE payload = '{'")
    ledger.replay(letter[0], again=[rejected(Bad("{"), number=2)])
    ledger.receive([Record("c", "2025-01-04")])
    gone = ledger.receive([])
    ledger.tamper("DELETE FROM batches WHERE seq = :gone", gone=gone)


def other(backend: str, tmp_path: Path, make: MakeDatabase) -> str:
    """The URL of an empty database of the other backend."""
    return make("template0") if backend == "sqlite" else f"sqlite:///{tmp_path}/moved.db"


def everything(ledger: Ledger) -> dict[str, list[Any]]:
    with database.reading(ledger.engine) as connection:
        return {
            table.name: sorted(map(str, connection.execute(table.select()).all()))
            for table, _ in moving.tables(connection)
        }


def test_a_copy_holds_every_row_and_goes_on_with_the_next_numbers(
    backend: str, ledger: Ledger, store: Command, tmp_path: Path, postgresql_database: MakeDatabase
) -> None:
    fill(ledger)
    url = other(backend, tmp_path, postgresql_database)
    done = store("copy", "--to", url, "--json")
    assert done.code == 0, done.err
    assert (done.json["holds"], done.json["digest"]) == (True, ledger.digest())
    copy = Ledger(install.prepare(StoreSettings(home=tmp_path, database_url=url)))
    assert everything(copy) == everything(ledger)
    for each in (ledger, copy):
        assert each.receive([Record("d", "2025-01-05")], id="next", delivery="next") == 5
        each.load()
    assert copy.digest() == ledger.digest() and copy.violations() == []
    again = store("copy", "--to", url)
    assert (again.code, "holds rows" in again.err) == (2, True)
    copy.engine.dispose()


def test_an_interrupted_copy_goes_on_and_another_store_cannot_use_it(
    ledger: Ledger, store: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ledger)
    real, done_before = moving.copy_table, []

    def copy_table(source: Any, target: Any, table: Table, *rest: Any) -> int:
        if table.name == "staging":
            raise KeyboardInterrupt
        done_before.append(table.name)
        return real(source, target, table, *rest)

    url = f"sqlite:///{tmp_path}/moved.db"
    monkeypatch.setattr(moving, "copy_table", copy_table)
    assert store("copy", "--to", url).code != 0
    monkeypatch.setattr(moving, "copy_table", real)

    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/third.db")
        install_tables(StoreSettings(home=tmp_path, database_url=f"sqlite:///{tmp_path}/third.db")).dispose()
        refused = store("copy", "--to", url)
        assert (refused.code, "an interrupted copy of another store" in refused.err) == (2, True)

    done = store("copy", "--to", url, "--json").json
    assert done["holds"] and "batches" in done_before
    assert (done["rows"]["batches"], done["rows"]["staging"]) == (0, 1)


def test_a_table_that_changed_between_two_tries_is_not_mixed(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    target = install.prepare(StoreSettings(home=tmp_path, database_url=f"sqlite:///{tmp_path}/moved.db"))
    with database.transaction(ledger.engine) as source:
        moving.begin(source, target)
        moving.copy_table(source, target, schema.deliveries, (), lambda rows: None)
    ledger.receive([Record("z", "2025-01-09")])
    with pytest.raises(UsageError, match="was used since"), database.transaction(ledger.engine) as source:
        moving.copy_table(source, target, schema.deliveries, (), lambda rows: None)
    target.dispose()


def test_a_copy_is_refused_while_a_loader_works_and_onto_itself(
    ledger: Ledger, store: Command, tmp_path: Path
) -> None:
    with database.transaction(ledger.engine) as connection:
        leases.acquire(connection, "loader", "elsewhere:1:00", 60)
    refused = store("copy", "--to", f"sqlite:///{tmp_path}/moved.db")
    assert (refused.code, "stop the workers first" in refused.err) == (2, True)
    url = ledger.engine.url.render_as_string(hide_password=False)
    itself = store("copy", "--to", url)
    assert (itself.code, "the store itself" in itself.err) == (2, True)


def test_a_copy_that_is_not_as_the_store_is_reported(
    ledger: Ledger, store: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ledger)
    real = moving.finish

    def finish(source: Any, target: Any) -> None:
        real(source, target)
        Ledger(target).tamper("UPDATE target SET name = 'other' WHERE key = 'a'")

    monkeypatch.setattr(moving, "finish", finish)
    done = store("copy", "--to", f"sqlite:///{tmp_path}/moved.db")
    assert done.code == 1
    assert "WRONG" in done.out


def test_decimals_keep_their_digits(
    plant_backend: str,
    make_plant: Callable[[], Plant],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    postgresql_database: MakeDatabase,
) -> None:
    imports = "from decimal import Decimal\nfrom worker.contract import Event\n"
    (tmp_path / "exact_contract.py").write_text(f"{imports}class Exact(Event):\n    amount: Decimal\n")
    monkeypatch.syspath_prepend(tmp_path)
    plant = make_plant()
    plant.configure('[worker]\ncontract = "exact_contract:Exact"\n')
    digits = ("12345678901234567890.123456789", "0.1", "1E+3", "-0.00")
    plant.run(ndjson(*(row(str(n), amount=each) for n, each in enumerate(digits))))
    assert len(plant.rows()) == 4
    url = other(plant_backend, tmp_path, postgresql_database)
    target = install.prepare(StoreSettings(home=tmp_path, database_url=url))
    found = copied(plant.engine, target)
    assert (found["holds"], found["unchecked"], found["digest"]) == (True, None, plant.digest())
    target.dispose()


@pytest.mark.postgresql("SQLite has one writer")
def test_a_copy_has_the_partitions_that_are_asked_for_and_keeps_them(
    ledger: Ledger, store: Command, tmp_path: Path, postgresql_database: MakeDatabase
) -> None:
    fill(ledger)
    url = postgresql_database("template0")
    done = store("copy", "--to", url, "--partitions", "3", "--json")
    assert (done.code, done.json["holds"]) == (0, True)
    target = database.existing(StoreSettings(home=tmp_path, database_url=url))
    with database.reading(target) as connection:
        assert len(install.partitions(connection)) == 3
        assert conservation.digest(connection) == ledger.digest()
    target.dispose()
    refused = store("copy", "--to", url, "--partitions", "4")
    assert refused.code == 2
    assert "made in 3 partitions" in refused.err
    on_sqlite = store("copy", "--to", f"sqlite:///{tmp_path}/copy.db", "--partitions", "2")
    assert on_sqlite.code == 2
    assert "partitions = 2 needs PostgreSQL" in on_sqlite.err

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, MetaData, event, inspect, text
from sqlalchemy.exc import DBAPIError

from store import database
from store.database import install, letters, records, schema
from store.database.records import ContractColumn
from store.errors import ForeignDatabase, StoreUnavailable
from store.settings import StoreSettings

from .opening import prepare, url

ROOT = Path(__file__).parents[4]


def test_the_migrations_make_what_the_schema_says(settings: StoreSettings) -> None:
    engine = install.prepare(settings)
    declared = MetaData()
    for table in (*letters.metadata.tables.values(), *vars(records.record_tables()).values()):
        if not isinstance(table, tuple):
            table.to_metadata(declared)
    with database.reading(engine) as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "version_table": schema.VERSION_TABLE}
        )
        assert compare_metadata(context, declared) == []
        checks = {
            (table, check["name"])
            for table in inspect(connection).get_table_names()
            for check in inspect(connection).get_check_constraints(table)
        }
        assert checks == {
            (table.name, constraint.name)
            for table in declared.tables.values()
            for constraint in table.constraints
            if type(constraint).__name__ == "CheckConstraint"
        }
    assert install.revision(engine) == schema.SCHEMA_REVISION
    engine.dispose()


def test_preparing_twice_changes_nothing(settings: StoreSettings) -> None:
    for _ in range(2):
        engine = install.prepare(settings)
        with database.transaction(engine) as connection:
            connection.execute(
                text("INSERT INTO locks (name, holder, expires_at) VALUES (:name, 'h', 'e')"),
                {"name": str(id(engine))},
            )
        engine.dispose()
    engine = database.existing(settings)
    with database.reading(engine) as connection:
        assert len(connection.execute(text("SELECT name FROM locks")).all()) == 2
    engine.dispose()


def test_many_may_prepare_a_new_database_at_once(own_environment: None, tmp_path: Path) -> None:
    code = (
        "from store.database import install; from store.settings import StoreSettings; "
        "engine = install.prepare(StoreSettings.load()); print(install.revision(engine)); engine.dispose()"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    reported = [process.communicate(timeout=300)[0].strip() for process in processes]
    assert reported == [schema.SCHEMA_REVISION] * 4


def test_the_file_is_its_owners_alone(own_environment: None, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "home" / "sluice.db"
    prepare(database_url=url(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_tables_of_another_are_refused_and_left_as_they_were(own_environment: None, tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE customers (id INTEGER)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ForeignDatabase, match="customers"):
        prepare(database_url=url(path))
    assert path.read_bytes() == before
    assert ForeignDatabase.exit_code == 2


def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(
    own_environment: None, tmp_path: Path
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Buy milk. " * 200)
    with pytest.raises(ForeignDatabase, match="not a database"):
        prepare(database_url=url(path))
    assert path.read_text() == "Buy milk. " * 200


def test_a_folder_that_cannot_be_written_is_reported(own_environment: None, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match=r"cannot be written.*set database_url"):
        prepare(database_url=url(tmp_path / "file" / "sluice.db"))
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        prepare(database_url=url(tmp_path))


@pytest.mark.sqlite("its file")
def test_a_file_deleted_under_a_worker_does_not_come_back_empty(
    settings: StoreSettings, engine: Engine
) -> None:
    engine.dispose()
    for path in settings.home.glob("sluice.db*"):
        path.unlink()
    with pytest.raises(StoreUnavailable, match=r"is gone.*store init"):
        database.existing(settings)
    assert not (settings.home / "sluice.db").exists()


def test_the_sluice_variable_wins_over_the_common_one(
    own_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:////common.db")
    assert StoreSettings.load().database_url == "sqlite:////common.db"
    monkeypatch.setenv("SLUICE_DATABASE_URL", "sqlite:////own.db")
    assert StoreSettings.load().database_url == "sqlite:////own.db"
    assert StoreSettings.load(database_url="sqlite:////given.db").database_url == "sqlite:////given.db"


def test_a_lock_held_too_long_is_unavailable_and_tells_the_setting(
    settings: StoreSettings, engine: Engine
) -> None:
    impatient = install.prepare(settings.model_copy(update={"busy_timeout_seconds": 0.05}))
    with database.transaction(engine):
        with pytest.raises(StoreUnavailable, match="busy_timeout_seconds"), database.transaction(impatient):
            pass
        with database.reading(impatient) as connection:
            assert connection.execute(text("SELECT count(*) FROM batches")).scalar() == 0
    impatient.dispose()


def test_a_transaction_that_fails_leaves_nothing_and_shows_the_first_error(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), database.transaction(engine) as connection:
        connection.execute(text("INSERT INTO locks (name, holder, expires_at) VALUES ('a', 'h', 'e')"))
        raise ZeroDivisionError
    with database.reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM locks")).scalar() == 0


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO dead_letters (id) VALUES ('x')",
        "INSERT INTO run_log (status, holder, started_at, chunks, inserted, updated, duplicates, superseded, seconds) "
        "VALUES ('asleep', 'h', 't', 0, 0, 0, 0, 0, 0)",
        "INSERT INTO lineage_events (id, step, source, detail, batch_seq, line) "
        "VALUES (1, 'skip', 's', '', 99, 1)",
    ],
    ids=["null", "unknown status", "no such batch"],
)
def test_the_tables_refuse_what_makes_no_sense(engine: Engine, statement: str) -> None:
    with (
        pytest.raises(Exception, match=r"constraint failed|violates .* constraint"),
        database.transaction(engine) as connection,
    ):
        connection.execute(text(statement))


def test_contract_columns_are_added_once_and_keep_their_order(engine: Engine) -> None:
    more = [
        ContractColumn("value", "real"),
        ContractColumn("order", "integer"),
        ContractColumn('a "b"', "json"),
    ]
    for _ in range(2):
        install.add_contract_columns(engine, more)
    with database.reading(engine) as connection:
        names = [column.name for column in install.contract_columns(connection)]
        for table in ("staging", "target"):
            columns = [column["name"] for column in inspect(connection).get_columns(table)]
            assert columns[-4:] == ["name", "value", "order", 'a "b"']
    assert names == ["name", "value", "order", 'a "b"']


def test_a_contract_field_that_changed_its_type_is_refused_and_the_others_are_added(engine: Engine) -> None:
    adopted = install.add_contract_columns(
        engine, [ContractColumn("new", "text"), ContractColumn("value", "text")]
    )
    assert adopted.refused == {
        "value": "contract field 'value' is text now, but the table holds it as real: keep the type, or give the field "
        "another name"
    }
    assert adopted.kinds == {"name": "text", "value": "real", "new": "text"}
    with database.reading(engine) as connection:
        assert {each.name: each.kind for each in install.contract_columns(connection)} == adopted.kinds


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1])
def test_integers_that_no_real_is_keep_their_column(engine: Engine, number: int) -> None:
    install.add_contract_columns(engine, [ContractColumn("size", "integer")])
    with database.transaction(engine) as connection:
        staging = records.record_tables((ContractColumn("size", "integer"),)).staging
        row = {"id": 1, "source": "s", "key": "k", "ts": "t", "content_hash": b"", "line": 1, "size": number}
        connection.execute(staging.insert().values(row))
    adopted = install.add_contract_columns(engine, [ContractColumn("size", "real")])
    assert f"like {number}" in adopted.refused["size"]
    assert adopted.kinds["size"] == "integer"


@pytest.mark.parametrize("statement", ["SELECT nothing_like_it FROM batches", "SELEKT 1"])
def test_a_mistake_in_our_own_sql_is_not_taken_for_a_database_that_is_away(
    engine: Engine, statement: str
) -> None:
    with pytest.raises(DBAPIError), database.reading(engine) as connection:
        connection.exec_driver_sql(statement)


class Clock:
    """Stands for the module `time`: only sleeping takes time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.sqlite("its busy timeout, beside that of the driver")
def test_a_lock_is_waited_for_as_long_as_the_setting_says_and_no_longer(
    settings: StoreSettings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = install.prepare(settings.model_copy(update={"busy_timeout_seconds": 1.0}))
    of_sqlite: list[int] = []

    @event.listens_for(impatient, "before_cursor_execute")
    def note(_connection: object, cursor: Any, statement: str, *_: object) -> None:
        if statement.startswith("BEGIN IMMEDIATE"):
            of_sqlite.extend(cursor.connection.execute("PRAGMA busy_timeout").fetchone())

    clock = Clock()
    monkeypatch.setattr("store.database.backends.sqlite.time", clock)
    with database.transaction(engine):
        with pytest.raises(StoreUnavailable, match="locked"), database.transaction(impatient):
            pass
        assert clock.now == pytest.approx(1.0, abs=0.01)
        assert of_sqlite == [0]  # SQLite does not wait as long a second time
    impatient.dispose()


@pytest.mark.sqlite("an authorizer of its driver")
def test_what_is_wrong_when_a_transaction_begins_is_reported_like_what_is_wrong_within_one(
    settings: StoreSettings, engine: Engine
) -> None:
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)

        def deny(action: int, *_: object) -> int:
            return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_TRANSACTION else sqlite3.SQLITE_OK

        driver.set_authorizer(deny)  # an error that is not OperationalError, as for a damaged file
        with pytest.raises(DBAPIError, match="not authorized"), database.transaction(connection):
            pass
        driver.set_authorizer(None)


def test_a_long_log_is_not_waited_for_while_somebody_reads(
    settings: StoreSettings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.database.backends.sqlite.LONGEST_WAL_BYTES", 0)
    reader = install.prepare(settings)
    patient = install.prepare(settings.model_copy(update={"busy_timeout_seconds": 60.0}))
    with database.reading(reader) as reading, database.connected(patient) as writing:
        reading.execute(text("SELECT count(*) FROM locks")).scalar()
        with database.transaction(writing) as connection:
            connection.execute(text("INSERT INTO locks (name, holder, expires_at) VALUES ('x', 'h', 'e')"))
        started = time.monotonic()
        database.checkpoint(writing)
        assert time.monotonic() - started < 30.0  # not as long as it waits for a lock
    reader.dispose()
    patient.dispose()


@pytest.mark.sqlite("an authorizer of its driver")
def test_a_checkpoint_that_fails_takes_nothing_back(engine: Engine) -> None:
    with database.connected(engine) as connection:
        with database.transaction(connection):
            connection.execute(text("INSERT INTO locks (name, holder, expires_at) VALUES ('x', 'h', 'e')"))
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)

        def deny(_action: int, name: str | None, *_: object) -> int:
            return sqlite3.SQLITE_DENY if name == "wal_checkpoint" else sqlite3.SQLITE_OK

        driver.set_authorizer(deny)
        database.checkpoint(connection)
        driver.set_authorizer(None)
    with database.reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM locks")).scalar() == 1


@pytest.mark.parametrize("count", [0, 1, 332, 333, 334, 1000])  # around what one statement holds
def test_tuples_are_inserted_each_once_in_their_columns(engine: Engine, count: int) -> None:
    rows = [(f"lock {number}", f"holder {number}", f"expiry {number}") for number in range(count)]
    with database.transaction(engine) as connection:
        database.insert_tuples(connection, schema.locks, ("name", "holder", "expires_at"), rows)
    with database.reading(engine) as connection:
        found = connection.execute(text("SELECT name, holder, expires_at FROM locks"))
        assert sorted(map(tuple, found)) == sorted(rows)

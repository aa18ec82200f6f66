"""The first migration is frozen: it must make what the code declares, and other revisions are refused."""

from __future__ import annotations

import importlib.util
import io
import re

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Table, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from store import database
from store.database import install, letters, records, schema
from store.errors import ForeignDatabase
from store.lineage.trace import VIEW
from store.settings import StoreSettings
from tests.integration.store.conftest import Ledger, Record

DIALECTS: dict[str, Dialect] = {"sqlite": sqlite.dialect(), "postgresql": postgresql.dialect()}


def declared() -> list[Table]:
    """Every table of the code, without the contract's columns."""
    tables = records.record_tables()
    return [*letters.metadata.sorted_tables, tables.staging, tables.target]


def statement(sql: str) -> tuple[str, ...]:
    """A CREATE TABLE as its lines, an index as its one line: in no order, for constraints may stand in any."""
    lines = [re.sub(r"\s+", " ", line).strip(" ,") for line in sql.strip().rstrip(";").splitlines()]
    return tuple(sorted(line for line in lines if line))


def migrated_statements(dialect: str) -> list[str]:
    """What the frozen migration says to a database of this kind."""
    (path,) = (install.MIGRATIONS / "versions").glob("0001_*.py")
    spec = importlib.util.spec_from_file_location("first", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    reported = io.StringIO()
    context = MigrationContext.configure(
        dialect_name=dialect, opts={"as_sql": True, "output_buffer": reported, "literal_binds": True}
    )
    with Operations.context(context):
        module.upgrade()
    return [each for each in reported.getvalue().split(";\n") if each.strip()]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_frozen_migration_makes_exactly_the_tables_and_indexes_that_are_declared(dialect: str) -> None:
    for index in (index for table in declared() for index in table.indexes):
        # Declared once, for SQLite: `schema` imports no other dialect. It is every database's.
        index.dialect_options[dialect]["where"] = index.dialect_options["sqlite"]["where"]
        if dialect == "postgresql" and index.name == "lineage_events_by_key":
            index.dialect_options[dialect]["using"] = (
                "hash"  # a key may be longer than its other indexes take
            )
    made = [each for each in migrated_statements(dialect) if not each.strip().startswith("CREATE VIEW")]
    wanted = [CreateTable(table).compile(dialect=DIALECTS[dialect]) for table in declared()]
    wanted += [
        CreateIndex(index).compile(dialect=DIALECTS[dialect], compile_kwargs={"literal_binds": True})
        for table in declared()
        for index in table.indexes
    ]
    assert sorted(statement(each) for each in made) == sorted(statement(str(each)) for each in wanted)


def test_there_is_one_revision_and_it_is_that_of_the_code() -> None:
    files = (install.MIGRATIONS / "versions").glob("0*.py")
    assert [path.name.partition("_")[0] for path in files] == [schema.SCHEMA_REVISION]


def test_the_frozen_views_have_the_columns_that_the_code_reads(settings: StoreSettings) -> None:
    engine = install.prepare(settings)
    with database.reading(engine) as connection:
        found = inspect(connection)
        columns = {
            name: [each["name"] for each in found.get_columns(name)] for name in found.get_view_names()
        }
    engine.dispose()
    target = [column.name for column in records.record_tables().target.columns]
    assert set(columns) == {"record_lineage", "lineage", "golden", "current"}
    assert set(columns["record_lineage"]) == {column.name for column in schema.record_lineage.columns}
    assert columns["lineage"] == [column.name for column in VIEW.columns]
    assert columns["golden"] == columns["current"] == target


@pytest.mark.sqlite("on PostgreSQL they get its own types when they are made again")
def test_the_frozen_views_are_those_that_are_made_again_with_every_new_column(
    settings: StoreSettings,
) -> None:
    def views() -> dict[str, str]:
        statement = "SELECT name, sql FROM sqlite_master WHERE type = 'view'"
        with database.reading(engine) as connection:
            found = connection.exec_driver_sql(statement).all()
        return {name: re.sub(r"\s+", " ", sql.replace('"', "")) for name, sql in found}

    engine = install.prepare(settings)
    frozen = views()
    with database.transaction(engine) as connection:
        install.create_views(connection)
    assert views() == frozen
    engine.dispose()


@pytest.mark.parametrize("revision", ["0004", "9999"])
def test_a_database_of_an_unknown_revision_is_refused_and_left_as_it_is(
    settings: StoreSettings, ledger: Ledger, revision: str
) -> None:
    ledger.receive([Record("a", "2025-01-01")])
    ledger.load()
    ledger.tamper(f"UPDATE {schema.VERSION_TABLE} SET version_num = :revision", revision=revision)  # noqa: S608
    before = ledger.digest()
    with pytest.raises(ForeignDatabase) as refused:
        install.prepare(settings)
    reported = str(refused.value)
    assert revision in reported
    assert schema.SCHEMA_REVISION in reported
    assert "use that version, or give database_url a new database" in reported
    assert ledger.digest() == before
    assert ledger.rows(f"SELECT version_num FROM {schema.VERSION_TABLE}") == [(revision,)]  # noqa: S608

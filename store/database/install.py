"""A database's first use: its file, its migrations, and the columns of the contract."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, Engine, func, inspect, select
from sqlalchemy.engine import URL

from store import database
from store.database import records, schema
from store.errors import ConfigError, ForeignDatabase, StoreUnavailable
from store.settings import StoreSettings

MIGRATIONS = Path(__file__).parent.parent / "migrations"


def prepare(settings: StoreSettings) -> Engine:
    """An engine over a database that exists and has today's tables; creates and migrates as needed.

    Raises ForeignDatabase where somebody else's tables are, StoreUnavailable where it cannot be written.
    """
    engine = database.open_engine(settings)
    create_private_file(engine.url)
    with database.translated(engine):
        if revision(engine) != schema.SCHEMA_REVISION:
            migrate(engine)
    return engine


def create_private_file(url: URL) -> None:
    """SQLite's file and folder, readable by their owner alone."""
    path = database.sqlite_file(url)
    if path is None:
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise StoreUnavailable(
            f"the database {path} cannot be written ({error.strerror}): check its folder, or set database_url"
        ) from error


def revision(engine: Engine) -> str | None:
    """The schema's revision; None for an empty database. Raises ForeignDatabase for another's."""
    with database.connected(engine) as connection:
        names = set(inspect(connection).get_table_names())
        if schema.VERSION_TABLE in names:
            statement = f"SELECT version_num FROM {schema.VERSION_TABLE}"  # noqa: S608
            return connection.exec_driver_sql(statement).scalar()
    if names:
        listed = ", ".join(sorted(names)[:3])
        raise ForeignDatabase(
            f"{database.shown(engine)} holds tables that are not Sluice's ({listed}): give database_url one of its own"
        )
    return None


def migrate(engine: Engine) -> None:
    """Brings the tables to today's revision, in one transaction, once however many ask."""
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.transaction(engine) as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ForeignDatabase(
                f"the database is of another version of Sluice ({error}; this one has {schema.SCHEMA_REVISION}): "
                "use that version, or give database_url a new database"
            ) from error


def add_contract_columns(engine: Engine, columns: Sequence[records.ContractColumn]) -> None:
    """Gives `staging` and `target` the contract's columns; those already there are left alone.

    Raises ConfigError where a field has changed its type since: a column cannot hold two.
    """
    with database.reading(engine) as connection:
        if not missing_columns(connection, columns):
            return
    with database.transaction(engine) as connection:
        for column in missing_columns(connection, columns):
            add_column(connection, column)
        create_views(connection)


def missing_columns(
    connection: Connection, columns: Sequence[records.ContractColumn]
) -> list[records.ContractColumn]:
    kinds = {column.name: column.kind for column in contract_columns(connection)}
    for column in columns:
        if kinds.get(column.name, column.kind) != column.kind:
            raise ConfigError(
                f"contract field {column.name!r} is {column.kind} now, but the table holds it as "
                f"{kinds[column.name]}: keep the type, or give the field another name"
            )
    return [column for column in columns if column.name not in kinds]


# The first row in this order is the golden one; `t` is `target`, `p` is `source_priorities`.
GOLDEN_ORDER = "COALESCE(p.priority, 2147483647), t.ts DESC, t.sequence DESC, t.content_hash DESC, t.source"
# `*` is what the target holds when a view is made, so views are made again with every new column.
# The best source's row of each key; of sources of one priority the newest. A deleted row is none.
GOLDEN = """
CREATE VIEW golden AS
SELECT {columns} FROM (
  SELECT t.*, ROW_NUMBER() OVER (
    PARTITION BY t.key ORDER BY {order}
  ) AS rank
  FROM target t LEFT JOIN source_priorities p ON p.source = t.source WHERE NOT t.deleted
) AS ranked WHERE rank = 1
"""
# The target without the rows that their sources have deleted.
CURRENT = "CREATE VIEW current AS SELECT {columns} FROM target WHERE NOT deleted"


def create_views(connection: Connection) -> None:
    """The views `golden` and `current`, with today's columns."""
    quote = connection.dialect.identifier_preparer.quote
    names = ", ".join(quote(column["name"]) for column in inspect(connection).get_columns("target"))
    for view, statement in (("golden", GOLDEN), ("current", CURRENT)):
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {view}")
        connection.exec_driver_sql(statement.format(order=GOLDEN_ORDER, columns=names))


def add_column(connection: Connection, column: records.ContractColumn) -> None:
    quote = connection.dialect.identifier_preparer.quote
    kind = records.KIND_TYPES[column.kind]().compile(dialect=connection.dialect)
    for table in ("staging", "target"):
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {quote(column.name)} {kind}")
    position = connection.execute(select(func.count()).select_from(schema.contract_columns)).scalar_one()
    connection.execute(
        schema.contract_columns.insert().values(name=column.name, kind=column.kind, position=position)
    )


def contract_columns(connection: Connection) -> tuple[records.ContractColumn, ...]:
    """The contract's columns as the tables have them, in the order they were added."""
    table = schema.contract_columns
    rows = connection.execute(select(table.c.name, table.c.kind).order_by(table.c.position))
    return tuple(records.ContractColumn(name, kind) for name, kind in rows)

"""A database's first use: its file, its migrations, and the columns of the contract, which follow it:

a new field                    a new column, null in the rows before
required or optional           no column changes: all may be null
integer -> real                the column is made again, if each integer in it is a real, as all up to 2^53 are
a field that was taken out     the column stays as it was
any other change of a type     the column stays as it was, for it cannot hold two types: what fills it is refused
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, func, inspect, select

from store import database
from store.database import backends, records, schema
from store.errors import ForeignDatabase
from store.logs import event
from store.settings import StoreSettings

MIGRATIONS = Path(__file__).parent.parent / "migrations"
TABLES = ("staging", "target")
LARGEST_EXACT = 2**53  # up to here, each integer is a real
WAYS_OUT = "keep the type, or give the field another name"

log = logging.getLogger("sluice.store")


def prepare(settings: StoreSettings) -> Engine:
    """An engine over a database that exists and has today's tables; creates and migrates as needed.

    Raises ForeignDatabase where somebody else's tables are, StoreUnavailable where it cannot be written.
    """
    engine = database.open_engine(settings)
    try:
        backends.of(engine.dialect.name).create(engine.url)
        with database.translated(engine):
            if revision(engine) != schema.SCHEMA_REVISION:
                migrate(engine, settings.partitions)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def opened_for_reading(settings: StoreSettings) -> Iterator[Engine]:
    """An engine that cannot write, over a database with today's tables; makes nothing.

    Raises ForeignDatabase where it has others, StoreUnavailable where there is none.
    """
    engine = database.open_for_reading(settings)
    try:
        with database.translated(engine):
            found = revision(engine)
        if found != schema.SCHEMA_REVISION:
            raise ForeignDatabase(
                f"{database.shown(engine)} has the tables of revision {found}, not {schema.SCHEMA_REVISION}: run "
                "`store init`, which makes or migrates them, or use the version of Sluice that made it"
            )
        yield engine
    finally:
        engine.dispose()


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


def migrate(engine: Engine, partitions: int = 1) -> None:
    """Brings the tables to today's revision, in one transaction, once however many ask; `partitions` are of new."""
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    backend = backends.of(engine.dialect.name)
    with database.transaction(engine, "change") as connection:
        backend.check(connection)
        config.attributes.update(connection=connection, partitions=partitions)
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ForeignDatabase(
                f"the database is of another version of Sluice ({error}; this one has {schema.SCHEMA_REVISION}): "
                "use that version, or give database_url a new database"
            ) from error
        backend.number(connection)
        with _views_made_anew(connection):  # those of the migration have no types of the database's own
            pass
    backend.settle(engine)


@dataclass(frozen=True, slots=True)
class Adopted:
    """The columns as the tables have them now, and what of a contract they cannot hold."""

    kinds: dict[str, records.Kind]
    refused: dict[str, str]  # field -> what is different, and the two ways out


def add_contract_columns(engine: Engine, columns: Sequence[records.ContractColumn]) -> Adopted:
    """Gives `staging` and `target` the contract's columns, where no value that they hold is changed by it."""
    with database.reading(engine) as connection:
        kinds = _kinds(connection)
        if all(kinds.get(column.name) == column.kind for column in columns):
            return Adopted(kinds, {})
    with database.transaction(engine, "change") as connection:
        kinds = _kinds(connection)
        refused: dict[str, str] = {}
        for column in columns:
            held = kinds.get(column.name, column.kind)
            if column.name not in kinds:
                _add(connection, column)
            elif (held, column.kind) == ("integer", "real"):
                if (why := _why_not_real(connection, column)) is not None:
                    refused[column.name] = why
                else:
                    _make_real(connection, column)
            elif held != column.kind:
                refused[column.name] = (
                    f"contract field {column.name!r} is {column.kind} now, but the table holds it as {held}: {WAYS_OUT}"
                )
        create_views(connection)
        return Adopted(_kinds(connection), refused)


# The first row in this order is the golden one; `t` is `target`, `p` is `source_priorities`.
GOLDEN_ORDER = "COALESCE(p.priority, 2147483647), t.ts DESC, t.sequence DESC, t.content_hash DESC, t.source"
# `*` is what the target holds when a view is made, so views are made again with every new column.
# The best source's row of each key; of sources of one priority the newest. A deleted row is none.
GOLDEN = """
SELECT {columns} FROM (
  SELECT t.*, ROW_NUMBER() OVER (
    PARTITION BY t.key ORDER BY {order}
  ) AS rank
  FROM target t LEFT JOIN source_priorities p ON p.source = t.source WHERE NOT t.deleted
) AS ranked WHERE rank = 1
"""
# The target without the rows that their sources have deleted.
CURRENT = "SELECT {columns} FROM target WHERE NOT deleted"


VIEWS = {"golden": GOLDEN, "current": CURRENT}


def create_views(connection: Connection) -> None:
    """The views `golden` and `current`, with today's columns."""
    kinds = {"ts": "time", "extra": "json", **_kinds(connection)}
    names = [column["name"] for column in inspect(connection).get_columns("target")]
    shown = ", ".join(_shown(connection, name, kinds.get(name, "any")) for name in names)
    for name, statement in VIEWS.items():
        rows = statement.format(order=GOLDEN_ORDER, columns=shown)
        database.backend_of(connection).make_view(connection, name, rows)


@contextmanager
def _views_made_anew(connection: Connection) -> Iterator[None]:
    """Without the views, whose columns cannot change their types; then with them, and the rights on them."""
    rights = database.backend_of(connection).rights(connection, list(VIEWS))
    for view in VIEWS:
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {view}")
    yield
    create_views(connection)
    for right in rights:
        connection.exec_driver_sql(right)


def _shown(connection: Connection, name: str, kind: str) -> str:
    """A column of the target in a view, as SQL."""
    quoted = connection.dialect.identifier_preparer.quote(name)
    shown_as = database.backend_of(connection).shown_as.get(kind)
    return f"CAST({quoted} AS {shown_as}) AS {quoted}" if shown_as else quoted


def contract_columns(connection: Connection) -> tuple[records.ContractColumn, ...]:
    """The contract's columns as the tables have them, in the order they were added."""
    table = schema.contract_columns
    rows = connection.execute(select(table.c.name, table.c.kind).order_by(table.c.position))
    return tuple(records.ContractColumn(name, kind) for name, kind in rows)


def partitions(connection: Connection) -> tuple[records.Partition | None, ...]:
    """The partitions that staging and target were made of; None is the whole of them."""
    number = database.backend_of(connection).partitions(connection)
    return tuple(records.Partition(each, number) for each in range(number)) if number > 1 else (None,)


def other_partitions(connection: Connection, wanted: int) -> str | None:
    """What to say where the setting asks for partitions, and the tables have others; None where it does not."""
    held = len(partitions(connection))
    if wanted in (1, held):  # a host that starts no store need not have the setting
        return None
    return (
        f"partitions = {wanted}, and the tables were made {in_partitions(held)}: the setting is of a new database: "
        "`store copy --to` one, or correct it"
    )


def in_partitions(number: int) -> str:
    """In words for people."""
    return f"in {number} partitions" if number > 1 else "whole"


def _kinds(connection: Connection) -> dict[str, records.Kind]:
    return {column.name: column.kind for column in contract_columns(connection)}


def _add(connection: Connection, column: records.ContractColumn) -> None:
    quote = connection.dialect.identifier_preparer.quote
    for table in TABLES:
        connection.exec_driver_sql(
            f"ALTER TABLE {table} ADD COLUMN {quote(column.name)} {_type(connection, column)}"
        )
    position = connection.execute(select(func.count()).select_from(schema.contract_columns)).scalar_one()
    row = {"name": column.name, "kind": column.kind, "position": position}
    connection.execute(schema.contract_columns.insert().values(row))
    log.info(
        "the tables have a column for the contract's field %r now, %s",
        column.name,
        column.kind,
        extra=event("column_added", field=column.name, kind=column.kind),
    )


def _why_not_real(connection: Connection, column: records.ContractColumn) -> str | None:
    """Why a column of integers cannot be made one of reals; None where it can."""
    if why := database.backend_of(connection).why_not_widened(connection):
        return f"contract field {column.name!r} is real now, and the table holds it as integer, {why}; or {WAYS_OUT}"
    tables = records.record_tables(contract_columns(connection))
    for table in (tables.staging, tables.target):
        value = table.c[column.name]
        beyond = select(value).where((value > LARGEST_EXACT) | (value < -LARGEST_EXACT)).limit(1)
        if (found := connection.execute(beyond).scalar()) is not None:
            return (
                f"contract field {column.name!r} is real now, and the table holds integers of it that no real is, like "
                f"{found}: {WAYS_OUT}"
            )
    return None


def _make_real(connection: Connection, column: records.ContractColumn) -> None:
    """Makes a column of integers one of reals, each with its value."""
    quote = connection.dialect.identifier_preparer.quote
    name, kind = quote(column.name), _type(connection, column)
    with _views_made_anew(connection):
        for table in TABLES:
            database.backend_of(connection).widen(connection, table, name, kind)
        own = schema.contract_columns.c.name == column.name
        connection.execute(schema.contract_columns.update().where(own).values(kind=column.kind))
    log.warning(
        "the contract's field %r is real now, and was integer: its columns follow it, and lose nothing",
        column.name,
        extra=event("column_widened", field=column.name),
    )


def _type(connection: Connection, column: records.ContractColumn) -> str:
    return records.KIND_TYPES[column.kind]().compile(dialect=connection.dialect)

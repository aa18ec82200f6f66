"""A store copied into an empty database of any backend: table by table, each in one transaction.

A note in the target says which store it is a copy of, until the copy is whole. So a copy that was interrupted goes on
with the first table that is not there, and nothing is ever added to a database that holds anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Table, func, select

from store import database, hashing
from store.database import install, records
from store.database.letters import dead_letters
from store.database.schema import locks
from store.errors import UsageError

NOTE = "copy"  # a row of `locks`
ROWS = 5000  # read and written at once
# The contract's columns are adopted, and whoever holds a lease of the source has none of the copy.
NOT_COPIED = ("contract_columns", "law_checks", "locks")

Tables = Sequence[tuple[Table, tuple[records.ContractColumn, ...]]]
Progress = Callable[[int], None]


def origin(connection: Connection) -> str:
    """What tells a store from every other."""
    backend = database.backend_of(connection)
    where = (database.shown(connection.engine), *backend.dataset(connection, "target"))
    return hashing.hexdigest(f"{' '.join(where)} {backend.generation(connection)}".encode())


def tables(connection: Connection) -> Tables:
    """All that is copied, in an order in which rows find what they refer to; with the contract's columns of each."""
    columns = install.contract_columns(connection)
    found = records.record_tables(columns)
    fixed = [(each, ()) for each in dead_letters.metadata.sorted_tables if each.name not in NOT_COPIED]
    return [*fixed, (found.staging, columns), (found.target, columns)]


def count(connection: Connection, chosen: Tables) -> int:
    """The rows of these tables."""
    return sum(_rows(connection, table) for table, _ in chosen)


def begin(source: Connection, target: Engine) -> None:
    """Notes in the target whose copy it is. Raises UsageError where it holds anything else."""
    columns, mine = install.contract_columns(source), origin(source)
    with database.reading(target) as connection:
        held = connection.execute(select(locks.c.holder).where(locks.c.name == NOTE)).scalar()
        filled = [table.name for table, _ in tables(connection) if _rows(connection, table)]
    if held == mine:
        return
    if held or filled:
        what = "an interrupted copy of another store" if held else f"rows ({', '.join(filled[:3])})"
        raise UsageError(f"{database.shown(target)} holds {what}: give --to an empty database")
    if refused := install.add_contract_columns(target, columns).refused:
        raise UsageError(
            f"{database.shown(target)}: {'; '.join(refused.values())}; or give --to a new database"
        )
    with database.transaction(target) as connection:
        connection.execute(locks.insert().values(name=NOTE, holder=mine, expires_at=""))


def copy_table(
    source: Connection,
    target: Engine,
    table: Table,
    columns: Sequence[records.ContractColumn],
    progress: Progress,
) -> int:
    """Copies a table, all of it or nothing; how many rows. One that is there is left. Raises UsageError."""
    wanted = _rows(source, table)
    with database.reading(target) as connection:
        held = _rows(connection, table)
    if held == wanted:
        progress(held)
        return 0
    if held:
        raise UsageError(
            f"{table.name} has {held:,} rows in the copy and {wanted:,} in the store: one of them was used since the "
            "copy began; empty the target and copy again"
        )
    names = [column.name for column in table.columns]
    with database.transaction(target) as connection:
        convert = _converter(connection, names, columns)
        for rows in _read(source, table):
            database.insert_tuples(connection, table, names, [convert(row) for row in rows])
            progress(len(rows))
        written = _rows(connection, table)
        if written != wanted:
            raise UsageError(
                f"{written:,} of {wanted:,} rows of {table.name} were written: nothing of it is kept"
            )
    return wanted


def finish(source: Connection, target: Engine) -> None:
    """New rows get numbers beyond all that the source has given."""
    with database.transaction(target) as connection:
        for table, _ in tables(source):
            column = table.autoincrement_column
            if column is not None and column.autoincrement is True:
                given = database.backend_of(source).last_number(source, column)
                database.backend_of(connection).number_after(connection, column, given)


def end(target: Engine) -> None:
    """The copy is whole: a store like any other."""
    with database.transaction(target) as connection:
        connection.execute(locks.delete().where(locks.c.name == NOTE))


def _rows(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _read(source: Connection, table: Table) -> Iterator[Sequence[Any]]:
    statement = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=ROWS)
    yield from source.execute(statement).partitions()


def _converter(
    connection: Connection, names: Sequence[str], columns: Sequence[records.ContractColumn]
) -> Callable[[Any], tuple[Any, ...]]:
    """From a row of the source to one as the target takes it: decimals are not of one type everywhere."""
    backend = database.backend_of(connection)
    exact = {name: index for index, name in enumerate(names)}
    decimals = [
        (exact[each.name], exact.get(f"{each.name}_exact")) for each in columns if each.kind == "decimal"
    ]
    if not decimals:
        return tuple

    def convert(row: Any) -> tuple[Any, ...]:
        values = list(row)
        for index, digits in decimals:
            if values[index] is not None:
                values[index] = backend.decimal(values[index], None if digits is None else values[digits])
        return tuple(values)

    return convert

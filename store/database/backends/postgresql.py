"""PostgreSQL, from version 14 on, with psycopg 3: any number of hosts, whose batches are staged at the same time.

Write transactions are READ COMMITTED. Batches write rows of their own, beside each other and beside the loader; what
they share, letters above all, they write one after another: each takes the advisory lock TURN for it, and has it to its
end. All other write transactions take WRITERS and TURN before they look at anything, so they run one after another.
Loaders, each of a partition of the tables, share WRITERS when they write, and take SUMS for what they share, once their
rows are written. Readers wait for nobody: each has one view of the data, REPEATABLE READ.
All that is set for a transaction is set in it, its temporary tables end with it, and statements are not prepared: so a
pool of connections between (pgbouncer) may give each transaction another one.

Locks are taken in this order: CHANGERS, WRITERS, the own tables of a batch or of a partition, SUMS, TURN, all other
tables. Only batches and loaders use tables before they have their last lock; what changes tables would wait for them,
and they for that: so one has CHANGERS for itself, and the others share it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import psycopg
from psycopg.types.array import ListBinaryDumper
from sqlalchemy import (
    TIMESTAMP,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    case,
    cast,
    create_engine,
    event,
    extract,
    func,
    null,
    select,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable

from store import timestamps
from store.addresses import shown_url
from store.database.backends import advice, postgresql_facts, postgresql_rows, postgresql_views
from store.database.backends.base import BEGIN, Asked, Facts
from store.errors import ConfigError, StoreUnavailable
from store.settings import StoreSettings

OLDEST_SERVER = 140_000
WRITERS = 0x536C7563  # the number of the advisory lock of writers: "Sluc"
CHANGERS = WRITERS + 1  # of those that change tables
TURN = WRITERS + 2  # of those that write what batches share
SUMS = WRITERS + 3  # of loaders that write what loaders share
TAKE_WRITERS = f"SELECT pg_advisory_xact_lock({WRITERS})"
SHARE_WRITERS = f"SELECT pg_advisory_xact_lock_shared({WRITERS})"
TAKE_SUMS = f"SELECT pg_advisory_xact_lock({SUMS})"
TAKE_TURN = f"SELECT pg_advisory_xact_lock({TURN})"
TAKE_CHANGERS = f"SELECT pg_advisory_xact_lock({CHANGERS})"
SHARE_CHANGERS = f"SELECT pg_advisory_xact_lock_shared({CHANGERS})"
# A client that is cut off in mid-transaction holds the lock until the server notices.
IDLE_SECONDS = 10
# The loader's chunk is sorted and joined in memory; to compile its statements takes longer than it saves; and a few of
# its rows are looked up in an index, where the server would read all of it.
FOR_CHUNKS = "SET LOCAL work_mem = '64MB'; SET LOCAL jit = off; SET LOCAL random_page_cost = 1.1"
KEEPALIVE = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}
SCHEMA_EXISTS = "SELECT 1 FROM pg_namespace WHERE nspname = :name"
PARTITIONS = "SELECT count(*) FROM pg_inherits WHERE inhparent = to_regclass('target')"
FORMAT = 'YYYY-MM-DD"T"HH24:MI:SS'


class Streaming(psycopg.ServerCursor[Any]):
    """A cursor of the server, which ends it with its transaction, read to its end or not."""

    def __del__(self, _warn: object = None, /) -> None:
        """Without psycopg's warning of one that is open."""


class Postgresql:
    """See `Backend`."""

    longest_key = 2000  # of an entry of a B-tree, which has a third of a page, with its source and number
    has_quick_windows = True
    commits_in_order = False
    may_be_divided = True
    # All that is stored can be these.
    shown_as: ClassVar[dict[str, str]] = {"time": "timestamptz", "json": "jsonb"}

    def open(self, url: URL, settings: StoreSettings, page_cache_mb: int) -> Engine:
        """One connection a process, which is asked whether it lives before it is used."""
        if url.get_driver_name() != "psycopg":
            raise ConfigError(
                f"database_url names the driver {url.get_driver_name()}, and psycopg is what is tried: write "
                "postgresql+psycopg://"
            )
        engine = create_engine(
            url,
            connect_args={**KEEPALIVE, "prepare_threshold": None, "autocommit": True, **_own(url)},
            pool_size=1,
            pool_pre_ping=True,
            hide_parameters=True,
            # Otherwise INSERT ... SELECT does not say how many rows it wrote.
            execution_options={"preserve_rowcount": True},
        )
        # One message for all of it. What is set counts until the transaction ends.
        schema = settings.database_schema
        there = f"; SET LOCAL search_path = {_quoted(schema)}" if schema else ""
        limited = (
            f"BEGIN ISOLATION LEVEL READ COMMITTED{there}; "
            f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'; "
            f"SET LOCAL lock_timeout = '{max(1, round(settings.busy_timeout_seconds * 1000))}ms'"
        )
        begins = {
            "write": f"{limited}; {TAKE_WRITERS}; {TAKE_TURN}",
            "change": f"{limited}; {TAKE_CHANGERS}; {TAKE_WRITERS}; {TAKE_TURN}",
            "judge": f"{limited}; {FOR_CHUNKS}; {SHARE_CHANGERS}",
            "batch": f"{limited}; {SHARE_CHANGERS}",
            "turn": f"{limited}; {TAKE_TURN}",
            "sums": f"{limited}; {TAKE_SUMS}",
            "scratch": f"BEGIN ISOLATION LEVEL REPEATABLE READ{there}",
            "read": f"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY{there}; SET LOCAL TIME ZONE 'UTC'",
        }

        @event.listens_for(engine, "connect")
        def connect(connection: Any, _record: object) -> None:
            connection.server_cursor_factory = Streaming
            # 10,000 ids as one parameter: written as text 35 ms, so 16.
            connection.adapters.register_dumper(list, ListBinaryDumper)
            if schema:  # after SQLAlchemy has asked for that of the session
                engine.dialect.default_schema_name = schema

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql(begins[connection.get_execution_options().get(BEGIN, "read")])

        return engine

    def only_read(self, engine: Engine) -> None:
        """Those that read begin so; all others, whoever begins one, become so."""

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            if connection.get_execution_options().get(BEGIN, "read") not in ("read", "scratch"):
                connection.exec_driver_sql("SET TRANSACTION READ ONLY")

    def shown(self, url: URL) -> str:
        return shown_url(url.render_as_string(hide_password=False))

    def file(self, url: URL) -> Path | None:
        return None

    def dataset(self, connection: Connection, table: str) -> tuple[str, str]:
        url, schema = connection.engine.url, connection.dialect.default_schema_name
        return f"postgres://{url.host or 'localhost'}:{url.port or 5432}", f"{url.database}.{schema}.{table}"

    def translate(self, where: str, reported: str, error: DBAPIError) -> Exception:
        state = getattr(error.orig, "sqlstate", None) or ""
        for length in (5, 3, 2):
            if (what_to_do := advice.POSTGRESQL.get(state[:length])) and len(state) >= length:
                return StoreUnavailable(f"{where}: {reported}: {what_to_do}")
        if error.connection_invalidated or type(error.orig).__name__ == "OperationalError":
            return StoreUnavailable(
                f"{where}: {reported}: check that the server runs and database_url is right; it is retried"
            )
        return error

    def asks_for_nul(self, error: DBAPIError) -> bool:
        return isinstance(error.orig, psycopg.DataError) and "NUL (0x00)" in str(error.orig)

    def create(self, url: URL) -> None:
        """The database is there, or its user makes it: `createdb`."""

    def check(self, connection: Connection) -> None:
        version, encoding = connection.exec_driver_sql(
            "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding')"
        ).one()
        if version < OLDEST_SERVER:
            raise ConfigError(
                f"the server is PostgreSQL {version // 10_000}: the store needs version 14 or newer"
            )
        if encoding != "UTF8":
            raise ConfigError(
                f"the database's encoding is {encoding}, which cannot hold every text: make one with "
                "createdb --encoding=UTF8 --template=template0"
            )
        name = connection.dialect.default_schema_name
        if name and not connection.execute(text(SCHEMA_EXISTS), {"name": name}).first():
            connection.exec_driver_sql(f"CREATE SCHEMA {_quoted(name)}")

    def number(self, connection: Connection) -> None:
        """The server knows what its databases are: nothing here tells one from another."""

    def generation(self, connection: Connection) -> int | None:
        return None

    def partitions(self, connection: Connection) -> int:
        return int(connection.exec_driver_sql(PARTITIONS).scalar_one()) or 1

    def last_number(self, connection: Connection, column: Column[Any]) -> int:
        last, is_given = connection.exec_driver_sql(
            f"SELECT last_value, is_called FROM {_sequence(connection, column)}"  # noqa: S608 - of the catalog
        ).one()
        return int(last) if is_given else 0

    def number_after(self, connection: Connection, column: Column[Any], number: int) -> None:
        if number:
            connection.execute(select(func.setval(_sequence(connection, column), number)))

    def decimal(self, number: float | Decimal, digits: str | None) -> float | Decimal:
        return Decimal(digits or str(number))

    def settle(self, engine: Engine) -> None:
        """The tables are there for all as soon as they are committed."""

    def make_view(self, connection: Connection, name: str, rows: str) -> None:
        """Views of the user's own may read it, and roles have rights on it: both stay."""
        connection.exec_driver_sql(f"CREATE OR REPLACE VIEW {name} AS {rows}")

    def rights(self, connection: Connection, views: Sequence[str]) -> list[str]:
        return postgresql_views.rights(connection, views)

    def why_not_widened(self, connection: Connection) -> str | None:
        return postgresql_views.why_not_widened(connection)

    def widen(self, connection: Connection, table: str, name: str, kind: str) -> None:
        connection.exec_driver_sql(f"ALTER TABLE {table} ALTER COLUMN {name} TYPE {kind}")

    @contextmanager
    def unsynced(self, connection: Connection) -> Iterator[None]:
        with connection.begin():
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            yield

    @contextmanager
    def reading_then_writing(self, connection: Connection) -> Iterator[Callable[[], Connection]]:
        """One transaction, which shares the lock of writers from its midst on: it sees what is committed."""
        on = connection.execution_options(**{BEGIN: "judge"})

        def write() -> Connection:
            on.exec_driver_sql(SHARE_WRITERS)
            return on

        with on.begin():
            yield write

    def take_turn(self, connection: Connection) -> None:
        connection.exec_driver_sql(TAKE_TURN)

    def take_sums(self, connection: Connection) -> None:
        connection.exec_driver_sql(TAKE_SUMS)

    def create_temporary(self, connection: Connection, table: Table) -> None:
        made = str(CreateTable(table).compile(dialect=connection.dialect)).rstrip()
        connection.exec_driver_sql(f"{made} ON COMMIT DROP")

    def checkpoint(self, connection: Connection) -> None:
        """The server makes its own."""

    def keep_temporary(self, connection: Connection, megabytes: int) -> None:
        """The server's temp_buffers say it: they cannot be changed once a connection has a temporary table."""

    def now(self, connection: Connection) -> datetime:
        moment: datetime = connection.execute(
            select(func.clock_timestamp())
        ).scalar_one()  # now() is its transaction's
        return moment.astimezone(UTC)

    def facts(self, connection: Connection) -> Facts:
        return postgresql_facts.facts(connection, {**KEEPALIVE, **_own(connection.engine.url)})

    def insert(self, table: Table) -> Any:
        return postgresql.insert(table)

    def insert_whole(self, table: Table) -> Any:
        return postgresql.insert(table)

    def insert_tuples(
        self, connection: Connection, table: Table, names: Sequence[str], rows: Iterable[tuple[Any, ...]]
    ) -> None:
        postgresql_rows.copy_in(connection, table, names, rows)

    def stream(self, connection: Connection, statement: str, size: int) -> Iterator[Sequence[Any]]:
        return postgresql_rows.stream(connection, statement, size)

    def ask(self, connection: Connection, statement: str, size: int) -> AbstractContextManager[Asked]:
        return postgresql_rows.ask(connection, statement, size)

    def member_of(
        self, column: ColumnElement[Any], values: Sequence[str] | Sequence[int]
    ) -> ColumnElement[bool]:
        """Sorted, they are found in the order of an index."""
        return column == func.any(sorted(values))

    def with_member_of(
        self, rows: Select[Any], column: ColumnElement[Any], values: Iterable[str]
    ) -> Select[Any]:
        return rows.where(self.member_of(column, list(values)))

    def greatest(self, values: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
        return func.greatest(*values)

    def least(self, values: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
        return func.least(*values)

    def microseconds(self, stored: ColumnElement[Any]) -> ColumnElement[Any]:
        return cast(extract("epoch", cast(stored, TIMESTAMP(timezone=True))) * 1_000_000, BigInteger)

    def earlier(self, stamp: ColumnElement[Any], seconds: int) -> ColumnElement[str]:
        """Without a zone: the session's would have hours that are not there."""
        try:
            span = timedelta(seconds=seconds)
            first = timestamps.to_text(datetime.min.replace(tzinfo=UTC) + span)
        except OverflowError:
            return cast(null(), stamp.type)
        moved = func.to_char(cast(func.substr(stamp, 1, 19), TIMESTAMP) - span, FORMAT)
        return case((stamp >= first, moved.concat(func.substr(stamp, 20))), else_=null())


def _sequence(connection: Connection, column: Column[Any]) -> str:
    """The name of what numbers the rows of a table, quoted."""
    asked = select(func.pg_get_serial_sequence(column.table.name, column.name))
    return str(connection.execute(asked).scalar_one())


def _quoted(name: str) -> str:
    return f'"{name}"'  # of letters, digits and underscores alone: see StoreSettings


def _own(url: URL) -> dict[str, Any]:
    """The options that the user sets: they come before ours."""
    return {name: value for name, value in url.query.items() if name in KEEPALIVE}


BACKEND = Postgresql()

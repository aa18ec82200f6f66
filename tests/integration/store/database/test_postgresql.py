"""What is PostgreSQL's own: who waits for whom, what its errors mean, and that SQLite needs nothing of it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, literal, select, text
from sqlalchemy.exc import DBAPIError

from store import database, timestamps
from store.checks import letters as letters_check
from store.database import install, records, schema
from store.database.backends.postgresql import IDLE_SECONDS
from store.dead_letters import groups
from store.errors import StoreUnavailable, UsageError
from store.lineage import explain, trace
from store.settings import StoreSettings
from store.tables import dead_letters

from ..conftest import COLUMNS, Bad, Ledger, Record

ROOT = Path(__file__).parents[4]

pytestmark = pytest.mark.postgresql("its locks, errors and rights")


def another(engine: Engine, **changed: Any) -> Engine:
    """The same database, as another process opens it."""
    url = engine.url.render_as_string(hide_password=False)
    return database.existing(StoreSettings(database_url=url, **changed))


def at_once(number: int, do: Callable[[int], Any]) -> list[Any]:
    """What so many threads return that begin together."""
    together = threading.Barrier(number)

    def begin(each: int) -> Any:
        together.wait()
        return do(each)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(begin, range(number)))


def test_where_the_database_is_sqlite_nothing_of_postgresql_is_imported(tmp_path: Path) -> None:
    install.prepare(StoreSettings(home=tmp_path)).dispose()  # Alembic, which makes it, imports all
    asked = (
        "import sys; from store.database import install; from store.settings import StoreSettings; "
        "install.prepare(StoreSettings.load()); import worker.jobs, producer.feed; "
        "print([name for name in sys.modules if 'psycopg' in name or 'postgresql' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=ROOT,
        env={"SLUICE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout == "[]\n"


def test_ten_that_make_a_database_at_once_all_succeed(settings: StoreSettings) -> None:
    def first_use(_: int) -> str | None:
        engine = install.prepare(settings)
        install.add_contract_columns(engine, COLUMNS)
        found = install.revision(engine)
        engine.dispose()
        return found

    assert at_once(10, first_use) == [schema.SCHEMA_REVISION] * 10
    engine = database.existing(settings)
    with database.reading(engine) as connection:
        assert [column.name for column in install.contract_columns(connection)] == ["name", "value"]
    engine.dispose()


def test_the_same_bad_payloads_in_many_batches_at_once_are_counted_right(
    settings: StoreSettings, engine: Engine
) -> None:
    payloads = [Bad(f"{{{number}") for number in range(50)]

    def receive(worker: int) -> None:
        own = install.prepare(settings.model_copy(update={"database_url": url}))
        ledger = Ledger(own)
        for turn in range(3):  # each in an order of its own
            ledger.receive(
                payloads[worker::4]
                + payloads[: worker * 10 + turn]
                + [Record(f"{worker}-{turn}", "2025-01-01")]
            )
        own.dispose()

    url = engine.url.render_as_string(hide_password=False)
    at_once(4, receive)
    with database.reading(engine) as connection:
        found = dead_letters.select_letters(connection)
        assert sum(each.occurrences for each in found) == 3 * 50 + sum(3 * w * 10 + 3 for w in range(4))
        assert letters_check.law(connection).violations == []
        assert [group["open"] for group in groups.select_groups(connection)] == [50]
    assert Ledger(engine).violations() == []


def test_a_reader_has_one_view_while_others_write(engine: Engine) -> None:
    ledger = Ledger(engine)
    ledger.receive([Record("a", "2025-01-01")])
    counted = "SELECT (SELECT count(*) FROM staging), (SELECT count(*) FROM target)"
    with database.reading(engine) as connection:
        before = connection.execute(text(counted)).one()
        ledger.load()
        assert connection.execute(text(counted)).one() == before == (1, 0)
    assert ledger.rows(counted) == [(0, 1)]


def test_a_reader_cannot_write(engine: Engine) -> None:
    with pytest.raises(StoreUnavailable, match="read-only"), database.reading(engine) as connection:
        connection.execute(text("DELETE FROM staging"))


def test_an_engine_that_only_reads_writes_in_no_kind_of_transaction(engine: Engine) -> None:
    url = engine.url.render_as_string(hide_password=False)
    reader = database.open_for_reading(StoreSettings(database_url=url))
    with pytest.raises(StoreUnavailable, match="read-only"), database.transaction(reader) as connection:
        connection.execute(text("DELETE FROM target"))
    reader.dispose()


def test_the_write_lock_is_waited_for_as_long_as_the_setting_says(
    settings: StoreSettings, engine: Engine
) -> None:
    url = engine.url.render_as_string(hide_password=False)
    changed = {"busy_timeout_seconds": 0.05, "database_url": url}
    impatient = database.existing(settings.model_copy(update=changed))
    with (
        database.transaction(engine),
        pytest.raises(StoreUnavailable, match="busy_timeout_seconds: it is retried"),
        database.transaction(impatient),
    ):
        pass
    with database.transaction(impatient):
        pass
    impatient.dispose()


def test_a_process_that_is_cut_off_inside_a_transaction_does_not_hold_the_lock_for_ever(
    engine: Engine,
) -> None:
    with database.transaction(engine) as connection:
        shown = connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
    assert shown == f"{IDLE_SECONDS}s"


def test_a_role_with_the_rights_of_the_documents_does_all_but_change_tables(engine: Engine) -> None:
    """GRANTs of docs/many-hosts.md, as they stand there."""
    name = f"app_{engine.url.database}"
    grants = (ROOT / "docs" / "many-hosts.md").read_text().partition("```sql")[2].partition("```")[0]
    owner = another(engine)
    with database.transaction(owner) as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN"))
        for statement in grants.replace("DATABASE sluice", f"DATABASE {engine.url.database}").split(";")[:-1]:
            connection.execute(text(statement.replace(" app", f" {name}")))
    url = engine.url.set(username=name).render_as_string(hide_password=False)
    app = install.prepare(StoreSettings(database_url=url))
    install.add_contract_columns(app, COLUMNS)
    ledger = Ledger(app)
    ledger.receive([Record("a", "2025-01-01"), Bad("{")])
    ledger.load()
    assert ledger.violations() == []
    more = [*COLUMNS, records.ContractColumn("color", "text")]
    with pytest.raises(StoreUnavailable, match=r"owner.*docs/many-hosts.md"):
        install.add_contract_columns(app, more)
    app.dispose()
    with database.transaction(owner) as connection:
        connection.execute(text(f"DROP OWNED BY {name}"))
        connection.execute(text(f"DROP ROLE {name}"))
    owner.dispose()


def test_a_connection_that_the_server_closed_is_replaced(engine: Engine) -> None:
    with database.reading(engine) as connection:
        process = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    other = another(engine)
    with database.reading(other) as connection:
        connection.execute(select(func.pg_terminate_backend(process)))
    other.dispose()
    with database.reading(engine) as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != process


def test_a_transaction_whose_connection_breaks_is_reported_as_a_store_that_is_away(engine: Engine) -> None:
    other = another(engine)
    with pytest.raises(StoreUnavailable, match="it is retried"), database.transaction(engine) as connection:
        process = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with database.reading(other) as second:
            second.execute(select(func.pg_terminate_backend(process)))
        connection.execute(text("SELECT 1"))
    other.dispose()


def test_what_copy_refuses_is_an_error_of_ours_and_not_waited_for(engine: Engine) -> None:
    with pytest.raises(DBAPIError, match="violates not-null"), database.transaction(engine) as connection:
        database.insert_tuples(connection, schema.source_priorities, ("source", "priority"), [("shop", None)])


@pytest.mark.parametrize(
    ("stamp", "seconds", "expected"),
    [
        ("2025-03-30T02:30:00.123456Z", 3600, "2025-03-30T01:30:00.123456Z"),  # no such hour in Berlin
        ("0001-01-01T00:00:01.000000Z", 1, "0001-01-01T00:00:00.000000Z"),
        ("0001-01-01T00:00:01.000000Z", 2, None),
        ("9999-12-31T23:59:59.999999Z", 999_999_999 * 86_400, None),
        ("9999-12-31T23:59:59.999999Z", 10**15, None),
    ],
)
def test_a_time_moved_back_is_exact_or_null(
    engine: Engine, stamp: str, seconds: int, expected: str | None
) -> None:
    with database.reading(engine) as connection:
        connection.execute(text("SET LOCAL TIME ZONE 'Europe/Berlin'"))
        moved = database.earlier(connection, literal(stamp), seconds)
        assert connection.execute(select(moved)).scalar() == expected
        exact = connection.execute(select(database.microseconds(connection, literal(stamp)))).scalar_one()
    since = timestamps.from_text(stamp) - datetime(1970, 1, 1, tzinfo=UTC)
    assert exact == (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


KINDS = (
    records.ContractColumn("50% o'real", "real"),
    records.ContractColumn("amount", "decimal"),
    records.ContractColumn("number", "integer"),
    records.ContractColumn("paid", "boolean"),
    records.ContractColumn("note", "text"),
)
COPIED = (*(each.name for each in KINDS), "id", "source", "key", "ts", "content_hash", "line")


def row(id: int, *values: Any) -> tuple[Any, ...]:
    return (*values, id, "shop", str(id), "2025-01-15T08:00:00.000000Z", bytes(range(16)), id)


def test_copy_gives_each_value_as_it_was_whatever_number_of_python_it_is(engine: Engine) -> None:
    install.add_contract_columns(engine, KINDS)
    given = [
        row(1, 3, 3, 2**63 - 1, True, "a\tb\\N\n\\."),
        row(2, 0.1, 0.1, -(2**63), False, ""),
        row(3, -1e308, Decimal("123456789012345678901234567890.12345"), True, None, "\\N"),
        row(4, True, 1e22, 0, 1, "ä€😀"),
        row(5, None, None, None, None, None),
    ]
    tables = records.record_tables(KINDS)
    with database.transaction(engine) as connection:
        database.insert_tuples(connection, tables.staging, COPIED, iter(given))
        stored = connection.execute(select(*(tables.staging.c[name] for name in COPIED)).order_by(text("id")))
        found = [tuple(each) for each in stored]
    assert found == [
        tuple(Decimal(repr(each)) if type(each) is float and at == 1 else each for at, each in enumerate(one))
        for one in given
    ]


@pytest.mark.parametrize(("at", "value"), [(0, "3"), (2, 2.5), (2, "3"), (2, 2**63), (4, 3)])
def test_what_is_of_another_type_than_its_column_is_an_error_and_nothing_is_stored(
    engine: Engine, at: int, value: Any
) -> None:
    install.add_contract_columns(engine, KINDS)
    values: list[Any] = [None] * len(KINDS)
    values[at] = value
    staging = records.record_tables(KINDS).staging
    with pytest.raises((TypeError, ValueError, OverflowError, AttributeError, DBAPIError)):  # noqa: SIM117
        with database.transaction(engine) as connection:
            database.insert_tuples(connection, staging, COPIED, [row(1, *values)])
    with database.reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(staging)).scalar() == 0


def test_a_key_with_a_nul_is_not_held_and_who_asks_for_one_is_answered(engine: Engine) -> None:
    """A letter's own may have one: JSON's `\\u0000`."""
    with database.reading(engine) as connection:
        assert explain.held_row(connection, "a\0b", "shop") is None
    with pytest.raises(UsageError, match=r"U\+0000"), database.reading(engine) as connection:
        trace.of_key(connection, "a", "sh\0p")
    with pytest.raises(DBAPIError, match="NUL"), database.transaction(engine) as connection:
        trace.of_key(connection, "a", "sh\0p")

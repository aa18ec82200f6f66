"""A statement that somebody typed: each database itself refuses what does more than read."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from store import database
from store.database import install
from store.errors import UsageError
from store.settings import StoreSettings

BACKENDS = ("sqlite", "postgresql")


@pytest.fixture
def opened(backend: str, request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    """A store with one flag, over an engine that only reads."""
    url = f"sqlite:///{tmp_path}/store.db"
    if backend == "postgresql":
        make = request.getfixturevalue("postgresql_database")
        url = make(request.getfixturevalue("empty_template"))
    settings = StoreSettings(database_url=url)
    writing = install.prepare(settings)
    with database.transaction(writing) as connection:
        connection.exec_driver_sql("INSERT INTO flags (name, share) VALUES ('dedupe', 0.5)")
    writing.dispose()
    engine = database.open_for_reading(settings)
    yield engine
    engine.dispose()


def rows(engine: Engine, statement: str, size: int = 2) -> list[Any]:
    with (
        database.reading(engine) as connection,
        database.ask(connection, statement, size) as (names, pieces),
    ):
        return [dict(zip(names, row, strict=True)) for piece in pieces for row in piece]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM flags",
        "COMMIT; DELETE FROM flags",
        "SELECT 1; DELETE FROM flags",
        "SELECT 1; COMMIT; DELETE FROM flags",
        "WITH gone AS (DELETE FROM flags RETURNING *) SELECT * FROM gone",
        "COMMIT",
        "SET TRANSACTION READ WRITE",
        "COPY flags TO '/tmp/flags.stolen'",
        "DROP TABLE flags",
        "SELECT nothing FROM flags",
        "SELECT 'unended",
        "",
    ],
)
def test_what_does_more_than_read_is_refused_and_changes_nothing(opened: Engine, statement: str) -> None:
    with pytest.raises(UsageError):
        rows(opened, statement)
    assert rows(opened, "SELECT name, share FROM flags;") == [{"name": "dedupe", "share": 0.5}]


def test_percent_signs_and_colons_are_text(opened: Engine) -> None:
    assert rows(opened, "SELECT '100%s :name' AS a FROM flags WHERE name LIKE 'd%'") == [{"a": "100%s :name"}]


def test_rows_come_in_pieces(opened: Engine) -> None:
    numbers = "WITH RECURSIVE n (a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM n WHERE a < 5) SELECT a FROM n"
    assert [each["a"] for each in rows(opened, numbers)] == [1, 2, 3, 4, 5]

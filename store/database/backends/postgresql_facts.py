"""What a server of PostgreSQL says of itself, and of the rights of the role that asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from store.database.backends.base import Facts
from store.database.schema import VERSION_TABLE

# What docs/many-hosts.md grants: the name of the revision is only read.
MISSING = f"""
SELECT needed.name || ' on ' || c.relname
FROM pg_class c CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS needed(name)
WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
  AND (c.relkind IN ('r', 'p') AND (needed.name = 'SELECT' OR c.relname <> '{VERSION_TABLE}')
       OR c.relkind = 'v' AND needed.name = 'SELECT')
  AND NOT has_table_privilege(c.oid, needed.name)
UNION ALL
SELECT needed.name || ' on the sequence ' || c.relname
FROM pg_class c CROSS JOIN (VALUES ('USAGE'), ('SELECT')) AS needed(name)
WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
  AND c.relkind = 'S' AND NOT has_sequence_privilege(c.oid, needed.name)
UNION ALL
SELECT 'TEMPORARY on the database' WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
ORDER BY 1
"""  # noqa: S608 - a name of ours
MAY_CHANGE = """
SELECT has_schema_privilege(current_schema(), 'CREATE') AND NOT EXISTS (
  SELECT FROM pg_class c
  WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND c.relkind IN ('r', 'p') AND NOT pg_has_role(c.relowner, 'USAGE'))
"""
SETTINGS = (
    "idle_in_transaction_session_timeout",
    "statement_timeout",
    "synchronous_commit",
    "fsync",
)
CONNECTIONS = """
SELECT count(*), current_setting('max_connections')::integer FROM pg_stat_activity WHERE datid IS NOT NULL
"""
# A chunk of the loader is one statement of seconds.
SHORT_STATEMENT = (
    "SELECT setting::integer BETWEEN 1 AND 59999 FROM pg_settings WHERE name = 'statement_timeout'"
)
UNLIMITED = "SELECT setting = '0' FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'"


def facts(connection: Connection, client: Mapping[str, Any]) -> Facts:
    """In a write transaction; `client` are the options of the connection itself."""
    version = connection.exec_driver_sql("SELECT current_setting('server_version')").scalar_one()
    found = {name: _setting(connection, name) for name in SETTINGS}
    used, most = connection.exec_driver_sql(CONNECTIONS).one()
    return Facts(
        f"PostgreSQL {version}",
        tuple(connection.exec_driver_sql(MISSING).scalars()),
        bool(connection.exec_driver_sql(MAY_CHANGE).scalar_one()),
        found
        | {"schema": str(connection.dialect.default_schema_name)}
        | {name: str(value) for name, value in client.items()},
        tuple(_doubts(connection, found)),
        (used, most),
        _is_pooled(connection),
    )


def _setting(connection: Connection, name: str) -> str:
    return str(connection.exec_driver_sql(f"SELECT current_setting('{name}')").scalar_one())


def _doubts(connection: Connection, found: Mapping[str, str]) -> list[str]:
    doubts = []
    if found["fsync"] == "off":
        doubts.append("fsync is off, and a power cut may destroy the database: set it to on")
    if found["synchronous_commit"] == "off":
        doubts.append(
            "synchronous_commit is off, and a power cut may lose the last batches: set it to on, "
            "or send the last files again after one"
        )
    if connection.exec_driver_sql(SHORT_STATEMENT).scalar_one():
        doubts.append(
            f"statement_timeout is {found['statement_timeout']}, and the loader's statements may take longer: "
            "ALTER ROLE … SET statement_timeout = 0"
        )
    if connection.exec_driver_sql(UNLIMITED).scalar_one():
        doubts.append(
            "idle_in_transaction_session_timeout did not take effect, and a host that is cut off would stop all "
            "writers: see what stands between this host and the server"
        )
    return doubts


def _is_pooled(connection: Connection) -> bool:
    """Whether the process that answers is another than the one that this connection was given."""
    driver: Any = connection.connection.driver_connection
    answering = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    return bool(answering != driver.info.backend_pid)

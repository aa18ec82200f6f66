"""The database: its version, its schema and columns, what this role may do, its settings, clock and speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from store import database
from store.database import install, schema
from store.database.backends.base import Facts
from store.database.records import ContractColumn
from store.errors import ConfigError
from worker.doctor import measures
from worker.doctor.findings import Finding, failed, ok, warning

CROWDED = 0.8  # the part of the connections that may be in use
SHOWN = 2  # tables of each right that is missing


class Undone(Exception):
    """Ends a write transaction that shall leave nothing."""


@contextmanager
def undone(engine: Engine) -> Iterator[Connection]:
    """A write transaction as the work begins it, which is rolled back."""
    try:
        with database.transaction(engine) as connection:
            yield connection
            raise Undone
    except Undone:  # that was the plan
        return


def facts(engine: Engine) -> Facts:
    """What the database says of itself. Raises ConfigError for one that the store does not run on."""
    with undone(engine) as connection:
        database.backend_of(connection).check(connection)
        return database.backend_of(connection).facts(connection)


def server(found: Facts) -> Finding:
    """Its product and version, which `facts` has checked."""
    return ok("database server", found.server + (", behind a pool of connections" if found.is_pooled else ""))


def schema_of(
    engine: Engine, columns: tuple[ContractColumn, ...], partitions: int, *, may_change: bool
) -> Finding:
    """Whether the tables are of this version, with the contract's columns and the partitions of the setting."""
    check = "database schema"
    revision = install.revision(engine)
    if revision is None:
        return failed(check, "it has no tables", "`store init`, as the owner of the database")
    if revision != schema.SCHEMA_REVISION:
        return failed(
            check,
            f"its revision is {revision}, and this version of Sluice has {schema.SCHEMA_REVISION}",
            "use the version of Sluice that made it, or `store init` with the newest one",
        )
    with database.reading(engine) as connection:
        held = {column.name: column.kind for column in install.contract_columns(connection)}
        other_partitions, partitions = (
            install.other_partitions(connection, partitions),
            len(install.partitions(connection)),
        )
    divided = f", {install.in_partitions(partitions)}" if partitions > 1 else ""
    return _partitions_and_columns(
        f"revision {revision}{divided}", held, columns, other_partitions, may_change
    )


def _partitions_and_columns(
    revision: str,
    held: Mapping[str, str],
    columns: Sequence[ContractColumn],
    other_partitions: str | None,
    may_change: bool,
) -> Finding:
    check = "database schema"
    if other_partitions:
        what, _, remedy = other_partitions.partition(": ")
        return warning(check, f"{revision}; {what}", remedy)
    other = [each.name for each in columns if each.name in held and held[each.name] != each.kind]
    new = [each.name for each in columns if each.name not in held]
    if other:
        return warning(
            check,
            f"{revision}; the tables hold {', '.join(other)} as another type than the contract",
            "start a worker: it widens integers to reals, or says why batches with such values wait",
        )
    if new and not may_change:
        return failed(
            check,
            f"{revision}; no columns for {', '.join(new)}, and this role may not add them",
            "`worker contract adopt` as the owner of the tables",
        )
    if new:
        return warning(check, f"{revision}; no columns yet for {', '.join(new)}", "the next worker adds them")
    return ok(check, f"{revision}; all columns of the contract are there")


def rights(found: Facts) -> Finding:
    """Whether this role may do the work."""
    check = "database rights"
    if found.missing:
        return failed(
            check,
            f"not allowed: {_by_right(found.missing)}",
            "docs/many-hosts.md lists the GRANTs; of a file, see its owner and mode",
        )
    if found.may_change_tables:
        return ok(check, "may read and write all tables, and change them")
    return ok(
        check,
        "may read and write all tables, and not change them: new versions and new fields need the owner",
    )


def _by_right(missing: Sequence[str]) -> str:
    """`DELETE on a, b and 20 more; INSERT on …`."""
    on: dict[str, list[str]] = {}
    for each in missing:
        right, _, name = each.partition(" on ")
        on.setdefault(right, []).append(name or "it")
    return "; ".join(
        f"{right} on {', '.join(names[:SHOWN])}"
        + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        for right, names in on.items()
    )


def settings(found: Facts, patience: float) -> Finding:
    """What counts in a transaction, and whether there is room for connections."""
    check = "database settings"
    described = ", ".join(f"{name} {value}" for name, value in found.settings.items())
    described += f"; waits {patience:g} s for a lock"
    if found.connections:
        used, most = found.connections
        described = f"{used:,} of {most:,} connections; {described}"
        if used >= CROWDED * most:
            return warning(check, described, "raise max_connections, or put pgbouncer between")
    if found.doubts:
        what, _, remedy = found.doubts[0].partition(": ")
        others = "".join(f"; {each}" for each in found.doubts[1:])
        return warning(check, f"{what} ({described})", remedy + others)
    return ok(check, described)


def now(engine: Engine) -> Callable[[], float]:
    """Asks the database's clock, over one connection."""

    def ask() -> float:
        with database.reading(engine) as connection:
            return database.now(connection).timestamp()

    ask()  # it connects
    return ask


def speed(engine: Engine) -> float:
    """The median seconds of an answer over an open connection."""
    with database.reading(engine) as connection:
        return measures.median(lambda: connection.execute(text("SELECT 1")).scalar())


def writing(engine: Engine) -> Finding:
    """Whether a write transaction begins, as each batch's does."""
    check = "database writing"
    began = time.monotonic()
    try:
        with undone(engine):
            took = time.monotonic() - began
    except ConfigError as error:
        return failed(check, str(error), "see database_url")
    return ok(check, f"a write transaction began after {took * 1000:.0f} ms")

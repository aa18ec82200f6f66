"""`store copy`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from store.cli.command import Json, examples, show

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

EXAMPLES = examples(
    "store copy --to postgresql://sluice@db.example/sluice",
    "store copy --to postgresql://sluice@db.example/parted --partitions 4",
    "store copy --to sqlite:////data/copy.db --json",
)
To = Annotated[str, typer.Option("--to", help="The URL of the database to fill.", show_default=False)]
Partitions = Annotated[
    int | None,
    typer.Option(
        "--partitions",
        min=1,
        max=64,
        help="Of how many partitions the copy is, on PostgreSQL; else as the setting says.",
        show_default=False,
    ),
]


def copy(to: To, partitions: Partitions = None, as_json: Json = False) -> None:
    """Copy the store into an empty database of any kind.

    Nobody writes to the store meanwhile: stop the workers before. Digests and laws are compared at the end.

    Begun again, an interrupted copy goes on. Ends with 1 where the copy is not as the store.
    """
    from store import database
    from store.database import install
    from store.errors import UsageError
    from store.settings import StoreSettings
    from store.terminal import Exit

    settings = StoreSettings.load()
    wanted = partitions or settings.partitions
    other = settings.model_copy(update={"database_url": to, "partitions": wanted})
    with ExitStack() as engines:
        source = database.existing(settings)
        engines.callback(source.dispose)
        if database.url_of(other) == source.url:
            raise UsageError("--to names the store itself: give another database")
        target = install.prepare(other)
        engines.callback(target.dispose)
        with database.reading(target) as connection:
            if why := install.other_partitions(connection, wanted):
                raise UsageError(why)
        found = copied(source, target)
    show(found, as_json, _sentences)
    if not found["holds"]:
        raise typer.Exit(Exit.FAILED)


def copied(source: Engine, target: Engine) -> dict[str, Any]:
    """What was copied, and whether the copy is as the store."""
    from store import database
    from store.checks import conservation, contents, letters
    from store.database import moving

    with database.transaction(source) as connection:  # nobody else writes while it lasts
        _refuse_leases(connection, source)
        digest = conservation.digest(connection)
        moving.begin(connection, target)
        rows = _copy_tables(connection, target)
        moving.finish(connection, target)
    with database.reading(target) as connection:
        there, held = conservation.digest(connection), contents.law(connection)
        violations = conservation.violations(connection)
        violations += [*letters.law(connection).violations, *held.violations]
    if digest != there:
        violations.append(f"the digest of the store is {digest}, and that of the copy {there}")
    if not violations:
        moving.end(target)
    return {
        "from": database.shown(source), "to": database.shown(target), "rows": rows, "digest": there,
        "holds": not violations, "violations": violations, "unchecked": held.unchecked,
    }  # fmt: skip


def _refuse_leases(connection: Connection, source: Engine) -> None:
    """Raises UsageError where a loader works, or a replay is sent."""
    from sqlalchemy import select

    from store import database
    from store.database.schema import locks
    from store.errors import UsageError
    from store.tables import leases

    for name in connection.execute(select(locks.c.name).order_by(locks.c.name)).scalars().all():
        if holder := leases.holder_of(connection, name):
            raise UsageError(
                f"{database.shown(source)} is in use: {holder} holds the lease {name!r}; stop the workers first"
            )


def _copy_tables(connection: Connection, target: Engine) -> dict[str, int]:
    """table -> the rows that were copied now."""
    from store.cli.render.progress import Bar
    from store.database import moving

    chosen, copied, done = moving.tables(connection), {}, 0
    with Bar("copying", moving.count(connection, chosen), "rows") as bar:

        def progress(rows: int) -> None:
            nonlocal done
            done += rows
            bar.update(done, done)

        for table, columns in chosen:
            copied[str(table.name)] = moving.copy_table(connection, target, table, columns, progress)
    return copied


def _sentences(found: dict[str, Any]) -> list[str]:
    from store.text import printable

    lines = [f"{sum(found['rows'].values()):,} rows copied to {found['to']}"]
    lines += [f"WRONG: {each}" for each in found["violations"]]
    if found["unchecked"]:
        lines.append(f"Not checked: {found['unchecked']}")
    if found["holds"]:
        lines.append(f"The laws hold there, and the digest is that of {found['from']}: {found['digest']}")
        lines.append("Next: give every host DATABASE_URL of the copy, then `worker up`.")
    return [printable(each) for each in lines]

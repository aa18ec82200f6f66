"""`store account`: per delivery, what became of each record."""

from __future__ import annotations

from typing import Annotated

import typer

from store.cli.command import Json, examples, reading, show
from store.errors import UsageError
from store.terminal import Exit

EXAMPLES = examples("store account", "store account orders.csv", "store account --delivery 3 --json")


def account(
    file: Annotated[
        str | None, typer.Argument(help="A file, by the name it was sent under.", show_default=False)
    ] = None,
    delivery: Annotated[int | None, typer.Option(help="One delivery, by its number.")] = None,
    as_json: Json = False,
) -> None:
    """Show what became of every record of a delivery. In the target, replaced, duplicate, open, discarded: a sum.

    Without a file, the latest deliveries. Ends with 1 where the sum is not the number of records.
    """
    if file is not None and delivery is not None:
        raise UsageError("give a file or --delivery, not both")
    from store.cli.render import account as tables
    from store.reports import account as accounting

    with reading() as connection:
        found = accounting.accounts(connection, file, delivery)
    in_full = file is not None or delivery is not None
    show(found, as_json, tables.in_full if in_full else tables.accounts)
    if not all(each["adds_up"] for each in found):
        raise typer.Exit(Exit.FAILED)

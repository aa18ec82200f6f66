"""How much there is of each thing that a list shows: who has seen so much knows how much is new."""

from __future__ import annotations

from sqlalchemy import Connection, Table, func, select

from store.database.letters import PRUNED, STATES, actions, letter_groups
from store.database.schema import batches, deliveries, run_log

LISTS = {"batches": batches, "deliveries": deliveries, "runs": run_log, "actions": actions}


def of_lists(connection: Connection) -> dict[str, int]:
    """list -> its rows, of which none is ever deleted; and the letters there ever were."""
    return {name: rows(connection, table) for name, table in LISTS.items()} | {"letters": letters(connection)}


def rows(connection: Connection, table: Table) -> int:
    """Rows of a table."""
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def letters(connection: Connection) -> int:
    """Letters that there ever were, by the counts of their groups."""
    total = sum((letter_groups.c[each] for each in (*STATES[1:], PRUNED)), letter_groups.c[STATES[0]])
    return int(connection.execute(select(func.coalesce(func.sum(total), 0))).scalar_one())

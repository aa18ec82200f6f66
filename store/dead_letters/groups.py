"""Groups of dead letters: one source, contract, and the same faults, which are fields, rules and shapes of values.

A letter is in exactly one group, that of its first rejection. The counts are brought up to date in the transactions
that change letters, so that no page has to scan them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, bindparam, func, literal, select, update

from store import database, hashing
from store.database.letters import OPEN, PRUNED, STATES, letter_groups
from store.tables.dead_letters import Rejected

Moves = Counter[tuple[str, str, str]]  # (group, state before, state after) -> letters

_table = letter_groups.c


WAITING = (  # made once: every batch asks
    select(_table.reason, func.sum(_table.open + _table.parked))
    .where(_table.source == bindparam("of"), _table.open + _table.parked > 0)
    .group_by(_table.reason)
)


def group_id(source: str, fingerprint: str, faults: Sequence[tuple[str, str, str]]) -> str:
    """The id, 32 hex digits, of the letters with these faults: (field, rule, shape of the value)."""
    return hashing.hexdigest(orjson.dumps([source, fingerprint, faults]))


def add_new(connection: Connection, rejected: Iterable[Rejected]) -> None:
    """Counts letters that were just added."""
    first: dict[str, Rejected] = {}
    numbers: Counter[str] = Counter()
    for row in rejected:
        first.setdefault(row.group_id, row)
        numbers[row.group_id] += 1
    if not first:
        return
    rows = [_new(row, numbers[id]) for id, row in sorted(first.items())]
    statement = database.insert(connection, letter_groups)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["id"],
            set_={
                "open": _table.open + statement.excluded.open,
                "occurrences": _table.occurrences + statement.excluded.occurrences,
                # Of two workers the one that began first may commit last.
                "first_seen_at": database.least(
                    connection, [_table.first_seen_at, statement.excluded.first_seen_at]
                ),
                "last_seen_at": database.greatest(
                    connection, [_table.last_seen_at, statement.excluded.last_seen_at]
                ),
            },
        ),
        rows,
    )


def _new(row: Rejected, number: int) -> dict[str, Any]:
    """A group as its first letters make it."""
    return {
        "id": row.group_id,
        "source": row.source,
        "fingerprint": row.fingerprint,
        "reason": row.reason,
        "faults": row.errors,
        "open": number,
        "occurrences": number,
        "first_seen_at": row.seen_at,
        "last_seen_at": row.seen_at,
        "file": row.file,
        "line": row.line,
        "sample": row.id,
    }


def see_again(connection: Connection, seen: Mapping[str, tuple[int, str]]) -> None:
    """Counts further occurrences of known letters: group -> (how many, the latest time)."""
    if not seen:
        return
    latest = database.greatest(connection, [_table.last_seen_at, bindparam("at")])
    statement = update(letter_groups).where(_table.id == bindparam("group"))
    connection.execute(
        statement.values(occurrences=_table.occurrences + bindparam("number"), last_seen_at=latest),
        [{"group": id, "number": number, "at": at} for id, (number, at) in sorted(seen.items())],
    )


def move(connection: Connection, moves: Moves) -> None:
    """Letters of these groups went from one state to another."""
    changes: dict[str, Counter[str]] = {}
    for (group, before, after), number in moves.items():
        change = changes.setdefault(group, Counter())
        change[before] -= number
        change[after] += number
    if changes:
        counted = (*STATES, PRUNED)
        values = {state: _table[state] + bindparam(f"more_{state}") for state in counted}
        connection.execute(
            update(letter_groups).where(_table.id == bindparam("group")).values(values),
            [
                {"group": id, **{f"more_{state}": change[state] for state in counted}}
                for id, change in sorted(changes.items())
            ],
        )


def select_groups(
    connection: Connection,
    *,
    status: str | None = OPEN,
    source: str | None = None,
    reasons: Sequence[str] = (),
    ids: Sequence[str] = (),
    newest_first: bool = False,
    limit: int | None = None,
    after: tuple[int | str, str] | None = None,
) -> list[dict[str, Any]]:
    """Groups that have letters in this state, the largest first, or those that were seen last.

    `after`: those behind the group with this number of letters, or this time, and this id.
    """
    number: ColumnElement[Any] = (
        _table[status] if status else sum((_table[each] for each in STATES[1:]), _table.open)
    )
    matching = [number > 0]
    if source:
        matching.append(_table.source == source)
    if reasons:
        matching.append(database.member_of(connection, _table.reason, reasons))
    if ids:
        matching.append(database.member_of(connection, _table.id, ids))
    order: ColumnElement[Any] = _table.last_seen_at if newest_first else number
    if after:
        value, id = after
        matching.append((order < value) | ((order == value) & (_table.id > id)))
    statement = select(letter_groups).where(*matching).order_by(order.desc(), _table.id).limit(limit)
    return [_group(row) for row in connection.execute(statement).mappings()]


def ids_with(
    connection: Connection, fields: Sequence[str] = (), rules: Sequence[str] = (), shapes: Sequence[str] = ()
) -> list[str]:
    """Ids of groups one of whose faults has one of these fields, rules and shapes each, where any are given."""
    rows = connection.execute(select(_table.id, _table.faults))
    return [id for id, faults in rows if has_fault(orjson.loads(faults), fields, rules, shapes)]


def has_fault(
    faults: Iterable[Mapping[str, str]], fields: Sequence[str], rules: Sequence[str], shapes: Sequence[str]
) -> bool:
    """Whether one of the faults has one of these fields, rules and shapes each, where any are given."""
    given = [
        (name, values) for name, values in (("field", fields), ("rule", rules), ("shape", shapes)) if values
    ]
    return not given or any(all(fault[name] in values for name, values in given) for fault in faults)


def waiting(connection: Connection, source: str) -> Counter[str]:
    """reason -> letters of a source that are open or parked; empty where there are none."""
    return Counter({reason: int(n) for reason, n in connection.execute(WAITING, {"of": source})})


def count_open(connection: Connection) -> int:
    """How many letters are open."""
    return int(connection.execute(select(func.coalesce(func.sum(_table.open), 0))).scalar_one())


def count_all(connection: Connection) -> int:
    """How many letters there ever were."""
    columns = letter_groups.c
    every = sum((columns[name] for name in (*STATES, PRUNED)), start=literal(0))
    return int(connection.execute(select(func.coalesce(func.sum(every), 0))).scalar_one())


def count_replaying(connection: Connection) -> int:
    """How many letters are being sent back by an action."""
    return int(connection.execute(select(func.coalesce(func.sum(_table.replaying), 0))).scalar_one())


def open_by_reason(connection: Connection) -> dict[str, int]:
    """reason -> open letters, the most first."""
    return _open_by(connection, _table.reason)


def open_by_source(connection: Connection) -> dict[str, int]:
    """source -> open letters."""
    return _open_by(connection, _table.source)


def _open_by(connection: Connection, column: ColumnElement[str]) -> dict[str, int]:
    number = func.sum(_table.open)
    statement = select(column, number).where(_table.open > 0).group_by(column)
    return {name: int(n) for name, n in connection.execute(statement.order_by(number.desc(), column))}


def ids_that_begin(connection: Connection, prefix: str, limit: int = 10) -> list[str]:
    """Ids of groups by their first digits, as tables show them."""
    statement = select(_table.id).where(_table.id.startswith(prefix, autoescape=True)).order_by(_table.id)
    return list(connection.execute(statement.limit(limit)).scalars())


def _group(row: Any) -> dict[str, Any]:
    found = database.as_dict(row)
    found["faults"] = orjson.loads(row["faults"])
    return found

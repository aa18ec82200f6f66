"""The law of dead letters: groups count exactly the letters there are, and a letter being replayed is in one action."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import Connection, and_, func, select

from store.checks.conservation import Law
from store.database.letters import (
    PRUNED,
    REPLAYING,
    STATES,
    action_letters,
    actions,
    dead_letters,
    letter_groups,
    pruned_letters,
)
from store.dead_letters import actions as acting

SAYS = "groups count the dead letters in each state, and one action holds each letter that is sent back"


def law(connection: Connection) -> Law:
    """Groups against letters, and actions against letters."""
    return Law(
        SAYS,
        [
            *_miscounted(connection),
            *_mistimed(connection),
            *_unheld(connection),
            *_held_by_none(connection),
            *_miscounted_actions(connection),
        ],
    )


def _miscounted(connection: Connection) -> list[str]:
    """Groups whose counts are not those of their letters."""
    letter = dead_letters.c
    counted: dict[str, Counter[str]] = {}
    rows = select(letter.group_id, letter.status, func.count(), func.sum(letter.occurrences))
    for group, status, number, occurrences in connection.execute(
        rows.group_by(letter.group_id, letter.status)
    ):
        each = counted.setdefault(group, Counter())
        each[status] += number
        each["occurrences"] += int(occurrences)
    pruned = pruned_letters.c
    gone = select(pruned.group_id, func.sum(pruned.times), func.sum(pruned.occurrences))
    for group, number, occurrences in connection.execute(gone.group_by(pruned.group_id)):
        each = counted.setdefault(group, Counter())
        each[PRUNED] += int(number)
        each["occurrences"] += int(occurrences)
    names = (*STATES, PRUNED, "occurrences")
    noted: dict[str, Counter[str]] = {
        row["id"]: Counter({name: row[name] for name in names if row[name]})
        for row in connection.execute(select(letter_groups)).mappings()
    }
    return [
        f"group {group}: it counts {_listed(noted.get(group))}, but its letters are {_listed(counted.get(group))}"
        for group in sorted(noted.keys() | counted.keys())
        if noted.get(group, Counter()) != counted.get(group, Counter())
    ]


def _mistimed(connection: Connection) -> list[str]:
    """Groups with letters that were seen before or after what they say: pages of letters would leave these out."""
    group, letter = letter_groups.c, dead_letters.c
    statement = (
        select(group.id, func.count())
        .join(dead_letters, letter.group_id == group.id)
        .where((letter.first_seen_at < group.first_seen_at) | (letter.last_seen_at > group.last_seen_at))
        .group_by(group.id)
        .order_by(group.id)
    )
    return [
        f"group {id}: {number} of its letters were seen before or after the times that it has"
        for id, number in connection.execute(statement)
    ]


def _listed(counts: Counter[str] | None) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted((counts or {}).items())) or "none"


def _unheld(connection: Connection) -> list[str]:
    """Letters that are sent back by no action, or one that has an outcome for them already."""
    held = and_(
        action_letters.c.letter_id == dead_letters.c.id,
        action_letters.c.action_seq == dead_letters.c.action_seq,
        action_letters.c.outcome.is_(None),
    )
    statement = (
        select(dead_letters.c.id, dead_letters.c.action_seq)
        .outerjoin(action_letters, held)
        .where(dead_letters.c.status == REPLAYING, action_letters.c.letter_id.is_(None))
        .order_by(dead_letters.c.id)
    )
    return [
        f"letter {id} is being replayed by action {action}, which has done with it"
        for id, action in connection.execute(statement)
    ]


def _held_by_none(connection: Connection) -> list[str]:
    """Letters that a replay waits for, but that are not in it."""
    statement = (
        select(action_letters.c.action_seq, func.count())
        .join(actions, actions.c.seq == action_letters.c.action_seq)
        .outerjoin(
            dead_letters,
            and_(
                dead_letters.c.id == action_letters.c.letter_id,
                dead_letters.c.action_seq == action_letters.c.action_seq,
            ),
        )
        .where(action_letters.c.outcome.is_(None), dead_letters.c.id.is_(None))
        .group_by(action_letters.c.action_seq)
        .order_by(action_letters.c.action_seq)
    )
    return [
        f"action {seq} waits for {number} letters that are not in it"
        for seq, number in connection.execute(statement)
    ]


def _miscounted_actions(connection: Connection) -> list[str]:
    """Actions whose counts are not those of their letters; a prune keeps no list of its own."""
    counted: dict[int, Counter[str]] = {}
    mine = action_letters.c
    rows = select(mine.action_seq, func.coalesce(mine.outcome, "waiting"), func.count())
    for seq, outcome, number in connection.execute(rows.group_by(mine.action_seq, mine.outcome)):
        counted.setdefault(seq, Counter())[outcome] = number
    found = []
    for action in acting.all_but_prunes(connection):
        noted, are = Counter(action.outcomes), counted.get(action.seq, Counter())
        if noted != are:  # also where more have an outcome than there are: fewer than none wait then
            found.append(
                f"action {action.seq}: it counts {_listed(noted)}, but its letters are {_listed(are)}"
            )
    return found

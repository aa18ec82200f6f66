"""`action_payloads`: the payload of each letter that an action sends back as a file gave it, stored with the action."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson
from sqlalchemy import Connection, Engine, select

from store import database, hashing
from store.database.letters import action_letters, action_payloads
from store.dead_letters.actions import Action
from store.dead_letters.edits import Edit
from store.errors import InputError, UsageError

FROM = "from"  # in the filter of an action: the file
PAYLOADS = "payloads"  # in the edit of an action: a hash of all of them
PAGE = 500
MISSING = "its payload is not stored with the action"


def _none(letter: str) -> str:
    raise InputError(MISSING)


@dataclass(frozen=True)
class OwnPayloads(Edit):
    """An edit that gives each letter a payload of its own."""

    payload_of: Callable[[str], str] = field(default=_none, compare=False)  # raises InputError for none
    digest: str = ""  # of all of them
    payloads: Mapping[str, str] = field(default_factory=dict, compare=False)  # where they are not stored yet
    is_whole: bool = field(default=False, compare=False)  # all of them are sent, or none

    @classmethod
    def given(cls, payloads: Mapping[str, str], *, is_whole: bool = False) -> OwnPayloads:
        """These."""

        def payload_of(letter: str) -> str:
            return payloads[letter] if letter in payloads else _none(letter)

        parts = [part for letter in sorted(payloads) for part in (letter, payloads[letter])]
        digest = hashing.hexdigest(orjson.dumps(parts))
        return cls(payload_of=payload_of, digest=digest, payloads=payloads, is_whole=is_whole)

    def to_text(self) -> str:
        """As JSON, for the action, which has the payloads in a table of their own."""
        return orjson.dumps({PAYLOADS: self.digest}).decode()


def add(connection: Connection, action: int, edit: OwnPayloads) -> None:
    """Stores what an action sends of the letters that it holds. Raises UsageError where it must hold all."""
    mine = action_letters.c
    held = connection.execute(select(mine.letter_id).where(mine.action_seq == action)).scalars()
    rows = [(action, letter, edit.payloads[letter]) for letter in held]
    if edit.is_whole and (gone := len(edit.payloads) - len(rows)):
        raise UsageError(
            f"{gone:,} of the letters moved on while the file was read, so nothing was sent: give the command again, "
            "it says which; or --skip-refused to send the others"
        )
    database.insert_tuples(connection, action_payloads, ["action_seq", "letter_id", "payload"], rows)


def edit_of(engine: Engine, action: Action) -> Edit:
    """What an action changes in its letters."""
    stored = orjson.loads(action.edit) if action.edit else {}
    if PAYLOADS not in stored:
        return Edit.from_text(action.edit)
    page: dict[str, str] = {}

    def payload_of(letter: str) -> str:
        if letter not in page:  # they are asked for in their order
            page.clear()
            with database.reading(engine) as connection:
                page.update(_page(connection, action.seq, letter))
        return page[letter] if letter in page else _none(letter)

    return OwnPayloads(payload_of=payload_of, digest=stored[PAYLOADS])


def _page(connection: Connection, action: int, first: str) -> dict[str, str]:
    """letter -> payload of some of an action's letters, from this one on."""
    mine, stored = action_letters.c, action_payloads.c
    position = (
        select(mine.position).where(mine.action_seq == action, mine.letter_id == first).scalar_subquery()
    )
    rows = connection.execute(
        select(stored.letter_id, stored.payload)
        .join(action_letters, (mine.action_seq == stored.action_seq) & (mine.letter_id == stored.letter_id))
        .where(mine.action_seq == action, mine.position >= position)
        .order_by(mine.position)
        .limit(PAGE)
    )
    return {letter: payload for letter, payload in rows}

"""`proofs`: what `producer replay --dry-run` found, a permit to send just these letters for some minutes.

The ids of the letters stand in `proof_letters`, page by page, written while they are judged: no process holds all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import blake2b
from itertools import chain, islice
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Engine, delete, select

from store import database, hashing, timestamps
from store.database.letters import actions, dead_letters, proof_letters, proofs
from store.dead_letters.actions import ORDER
from store.errors import UsageError

VALID_MINUTES = 10
ID_BYTES = 16
FORGOTTEN_AFTER = timedelta(days=1)
PAGE = 20_000  # ids in a row, 320 KB: as many as one batch rejects stand together in the indexes

_mine = proof_letters.c


@dataclass
class Letters:
    """The letters of a proof, in the order of sending, on their way into the table; their hash as they pass."""

    engine: Engine
    token: str = field(default_factory=lambda: os.urandom(16).hex())
    _hash: Any = field(default_factory=lambda: blake2b(digest_size=hashing.BYTES))
    _page: bytearray = field(default_factory=bytearray)
    _number: int = 0

    def add(self, ids: bytes) -> None:
        """The next ones, 16 bytes each: a twentieth of what they are as texts."""
        self._page += ids
        while len(self._page) >= PAGE * ID_BYTES:
            self._write(PAGE * ID_BYTES)

    def digest_with(self, described: Sequence[Any]) -> str:
        """The digest of these letters and of what is said of them; all of them are in the table now."""
        if self._page:
            self._write(len(self._page))
        found = self._hash.copy()
        found.update(orjson.dumps(described, option=orjson.OPT_SORT_KEYS))
        return str(found.hexdigest())

    def forget(self) -> None:
        """Nobody is to send them."""
        if self._number:
            with database.transaction(self.engine, lasting=False) as connection:
                forget(connection, self.token)

    def _write(self, size: int) -> None:
        letters = bytes(self._page[:size])
        del self._page[:size]
        self._hash.update(letters)
        with database.transaction(self.engine, lasting=False) as connection:
            now = database.now(connection)
            if not self._number:
                _forget_old(connection, timestamps.to_text(now - FORGOTTEN_AFTER))
            values = {"token": self.token, "page": self._number, "made_at": timestamps.to_text(now)}
            connection.execute(proof_letters.insert().values(**values, letters=letters))
        self._number += 1


def _forget_old(connection: Connection, limit: str) -> None:
    """Proofs of yesterday, and letters that a killed command left behind."""
    connection.execute(delete(proofs).where(proofs.c.made_at < limit))
    in_proofs = select(proofs.c.token)
    connection.execute(delete(proof_letters).where(_mine.made_at < limit, _mine.token.not_in(in_proofs)))


def forget(connection: Connection, token: str) -> None:
    """Deletes the letters of a proof."""
    connection.execute(delete(proof_letters).where(_mine.token == token))


def pages(connection: Connection, token: str) -> Iterator[list[str]]:
    """Ids of the letters of a proof, in their order, thousands at once."""
    number = 0
    statement = select(_mine.letters).where(_mine.token == token)
    while letters := connection.execute(statement.where(_mine.page == number)).scalar():
        text = letters.hex()
        yield [text[at : at + 2 * ID_BYTES] for at in range(0, len(text), 2 * ID_BYTES)]
        number += 1


@dataclass(frozen=True, slots=True)
class StoredProof:
    """A proof as the table has it."""

    digest: str  # 32 hex digits; of all below but the token and the time

    filter: dict[str, Any]
    first: int | None  # only so many letters
    edit: str | None  # JSON: see `Edit`; with raw names
    fingerprints: dict[str, str]  # source -> contract and mapping
    counts: dict[str, int]
    token: str  # of its letters
    made_at: str = ""

    def of_action(self) -> dict[str, Any]:
        """What the action that it permits keeps of it."""
        return {"digest": self.digest, **self.counts}


def store(connection: Connection, proof: StoredProof) -> None:
    """Keeps a proof, or makes a known one valid again; those of yesterday are forgotten."""
    now = database.now(connection)
    before = connection.execute(select(proofs.c.token).where(proofs.c.digest == proof.digest)).scalar()
    if before is not None:
        forget(connection, before)
    values = {
        "digest": proof.digest,
        "made_at": timestamps.to_text(now),
        "filter": orjson.dumps(proof.filter).decode(),
        "first": proof.first,
        "edit": proof.edit,
        "fingerprints": orjson.dumps(proof.fingerprints).decode(),
        "counts": orjson.dumps(proof.counts).decode(),
        "token": proof.token,
    }
    again = {"made_at": values["made_at"], "token": proof.token}
    statement = database.insert(connection, proofs).values(values)
    connection.execute(statement.on_conflict_do_update(index_elements=["digest"], set_=again))


def find(connection: Connection, digest: str) -> StoredProof:
    """The proof whose digest begins so. Raises UsageError where none or several do."""
    like = proofs.c.digest.startswith(digest, autoescape=True)
    rows = connection.execute(select(proofs).where(like).limit(2)).mappings().all()
    if len(rows) != 1 or not digest:
        raise UsageError(
            f"--proof {digest!r}: {'several proofs begin' if len(rows) > 1 else 'no proof of today begins'} so: "
            "`producer replay --dry-run` makes one and shows its digest"
        )
    [row] = rows
    return StoredProof(
        digest=row["digest"],
        filter=orjson.loads(row["filter"]),
        first=row["first"],
        edit=row["edit"],
        fingerprints=orjson.loads(row["fingerprints"]),
        counts=orjson.loads(row["counts"]),
        token=row["token"],
        made_at=row["made_at"],
    )


def minutes_old(connection: Connection, proof: StoredProof) -> float:
    """Its age, by the database's clock."""
    age = database.now(connection) - timestamps.from_text(proof.made_at)
    return age.total_seconds() / 60


def difference(
    connection: Connection, proof: StoredProof, chosen: Sequence[ColumnElement[bool]], first: int | None
) -> tuple[int, int]:
    """(letters that match now and did not, letters that matched and do not now).

    Both are read in the order of sending, a page at a time: only from where they differ on are they collected.
    """
    now = chosen_now(connection, chosen, first)
    before = pages(connection, proof.token)
    came, left = set[str](), set[str]()
    for page in before:
        held = list(islice(now, len(page)))
        if held != page or left:
            came.update(held)
            left.update(page)
    came.update(now)
    return len(came - left), len(left - came)


def chosen_now(
    connection: Connection, chosen: Sequence[ColumnElement[bool]], first: int | None
) -> Iterator[str]:
    """Ids of the letters that match now, in the order of sending."""
    statement = select(dead_letters.c.id).where(*chosen).order_by(*ORDER).limit(first)
    rows = connection.execute(statement.execution_options(yield_per=PAGE))
    return chain.from_iterable(rows.scalars().partitions())


def proved_by(connection: Connection, digest: str, after: int) -> int | None:
    """The first action, behind the one with this number, that a proof has permitted; None where there is none yet."""
    later = select(actions.c.seq, actions.c.proof).where(actions.c.seq > after, actions.c.proof.is_not(None))
    rows = connection.execute(later.order_by(actions.c.seq))
    return next((seq for seq, proof in rows if orjson.loads(proof)["digest"] == digest), None)

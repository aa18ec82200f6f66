"""`proofs`: what `producer replay --dry-run` found, a permit to send just these letters for some minutes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, delete, select

from store import database, hashing, timestamps
from store.database.letters import dead_letters, proofs
from store.dead_letters.actions import ORDER
from store.errors import UsageError

VALID_MINUTES = 10
FORGOTTEN_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class StoredProof:
    """A proof as the table has it."""

    filter: dict[str, Any]
    first: int | None  # only so many letters
    edit: str | None  # JSON: see `Edit`; with raw names
    fingerprints: dict[str, str]  # source -> contract and mapping
    counts: dict[str, int]
    letters: bytes  # see `packed`
    made_at: str = ""

    @property
    def digest(self) -> str:
        """32 hex digits; of all but the time."""
        described = [self.filter, self.first, self.edit, self.fingerprints, self.counts]
        found = blake2b(self.letters, digest_size=hashing.BYTES)
        found.update(orjson.dumps(described, option=orjson.OPT_SORT_KEYS))
        return found.hexdigest()

    def of_action(self) -> dict[str, Any]:
        """What the action that it permits keeps of it."""
        return {"digest": self.digest, **self.counts}


def packed(ids: Sequence[str]) -> bytes:
    """Ids of letters, 16 bytes each: a twentieth of what they are as a list of texts."""
    return bytes.fromhex("".join(ids))


def unpacked(letters: bytes) -> Iterator[str]:
    """The inverse of `packed`."""
    text = letters.hex()
    return (text[at : at + 32] for at in range(0, len(text), 32))


def store(connection: Connection, proof: StoredProof) -> None:
    """Keeps a proof, or makes a known one valid again; those of yesterday are forgotten."""
    now = database.now(connection)
    connection.execute(delete(proofs).where(proofs.c.made_at < timestamps.to_text(now - FORGOTTEN_AFTER)))
    values = {
        "digest": proof.digest,
        "made_at": timestamps.to_text(now),
        "filter": orjson.dumps(proof.filter).decode(),
        "first": proof.first,
        "edit": proof.edit,
        "fingerprints": orjson.dumps(proof.fingerprints).decode(),
        "counts": orjson.dumps(proof.counts).decode(),
        "letters": proof.letters,
    }
    again = {"made_at": values["made_at"]}
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
        filter=orjson.loads(row["filter"]),
        first=row["first"],
        edit=row["edit"],
        fingerprints=orjson.loads(row["fingerprints"]),
        counts=orjson.loads(row["counts"]),
        letters=row["letters"],
        made_at=row["made_at"],
    )


def minutes_old(connection: Connection, proof: StoredProof) -> float:
    """Its age, by the database's clock."""
    age = database.now(connection) - timestamps.from_text(proof.made_at)
    return age.total_seconds() / 60


def chosen_now(
    connection: Connection, chosen: Sequence[ColumnElement[bool]], first: int | None
) -> Iterator[str]:
    """Ids of the letters that match now, in the order of sending."""
    statement = select(dead_letters.c.id).where(*chosen).order_by(*ORDER).limit(first)
    yield from connection.execute(statement).scalars()

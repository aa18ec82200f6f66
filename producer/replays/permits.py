"""The proof of a replay, and the permit that it is: of just these letters, this edit and this contract, for minutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from producer.replays.edits import command, resolved
from producer.resources import Resources
from store import database
from store.dead_letters import payloads, proofs
from store.dead_letters.edits import Edit
from store.dead_letters.filters import Filter
from store.dead_letters.proofs import Letters, StoredProof
from store.errors import ConfigError, UsageError
from store.tables import watermarks
from store.terminal import counted
from worker.dead_letters import proof as proving
from worker.dead_letters.proof import Proof

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Asked:
    """What is to be sent: these letters, with this edit, the first so many of them."""

    which: Filter
    edit: Edit
    first: int | None = None

    @property
    def names_nothing(self) -> bool:
        """Whether a stored proof says it all."""
        return self.edit.is_empty and (self.which.to_json(), self.first) == ({}, None)

    def check(self) -> None:
        """Raises ConfigError for one payload of several letters."""
        if self.edit.payload is not None and len(self.which.ids) != 1:
            raise ConfigError("--payload replaces the payload of one letter: give its --id")


def prove(asked: Asked, resources: Resources, written: Letters, progress: Progress = lambda _: None) -> Proof:
    """What would become of the letters that match; they are `written` down, to be sent."""
    with database.reading(resources.engine) as connection:
        chosen = proving.open_ones(asked.which.conditions(connection))
        edit = resolved(connection, chosen, asked.edit, resources)
        reached = watermarks.read_all(connection, resources.worker.max_future_skew).sound
        return proving.prove(
            connection,
            chosen,
            edit,
            proving.JudgedBy(resources.contract, resources.worker, reached),
            asked.first,
            progress,
            written,
        )


def permit(found: Proof, asked: Asked, written: Letters) -> StoredProof:
    """A proof as what permits its replay."""
    return found.stored(asked.which.to_json(), asked.first, written)


def checked(connection: Connection, digest: str, asked: Asked, resources: Resources) -> StoredProof:
    """The stored proof, if it holds. Raises UsageError with what has changed since."""
    stored = proofs.find(connection, digest)
    if asked.names_nothing:  # it names them itself
        if payloads.FROM in stored.filter:
            raise UsageError(f"proof {stored.digest[:12]} is of a file: give --from FILE too")
        now = Asked(Filter(**stored.filter), Edit.from_text(stored.edit), stored.first)
    else:
        edit = resolved(connection, asked.which.conditions(connection), asked.edit, resources)
        now = Asked(asked.which, edit, asked.first)
    changes = changes_since(connection, stored, now, resources)
    if changes:
        again = command(now.which.to_json(), now.edit, now.first, "--dry-run")
        raise UsageError(
            f"proof {stored.digest[:12]} does not hold any more: {'; '.join(changes)}; nothing was sent: "
            f"make a new one with `{again}`"
        )
    return stored


def changes_since(
    connection: Connection, stored: StoredProof, asked: Asked, resources: Resources
) -> list[str]:
    """What is not as it was when the proof was made."""
    changes = []
    chosen = proving.open_ones(asked.which.conditions(connection))
    came, left = proofs.difference(connection, stored, chosen, asked.first)
    if came:
        changes.append(f"{counted(came, 'letter')} came")
    if left:
        changes.append(f"{counted(left, 'letter')} left")
    if asked.edit.to_text() != stored.edit:
        changes.append(f"the edit is {asked.edit.to_text() or 'none'}, and was {stored.edit or 'none'}")
    for source, fingerprint in stored.fingerprints.items():
        if resources.contract.fingerprint(resources.worker.source(source)) != fingerprint:
            changes.append(f"source {source} has another contract or mapping")
    minutes = proofs.minutes_old(connection, stored)
    if not 0 <= minutes <= proofs.VALID_MINUTES:
        changes.append(f"it is {minutes:,.0f} minutes old ({proofs.VALID_MINUTES} are allowed)")
    return changes

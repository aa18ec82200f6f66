"""The terms of a replay: how many letters, how quickly, and when it stops itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, update

from store.database.letters import actions as actions_table
from store.dead_letters import actions
from store.dead_letters.actions import Action, json_text

STOP_ABOVE = 0.5
STOP_AFTER = 20
AHEAD = 2_000  # letters on their way, at most, where `--stop-above` is given


@dataclass(frozen=True, slots=True)
class Terms:
    """What an action is to keep to; stored with it."""

    first: int | None = None  # only so many of the letters that were chosen
    rate: float | None = None  # letters a second, at most
    stop_above: float = STOP_ABOVE  # of the outcomes, rejected again
    stop_after: int = STOP_AFTER  # outcomes, at least
    ahead: int | None = None  # so many letters without an outcome, at most; None: any number
    foreseen: int = 0  # letters rejected again that do not count: the proof has named them
    rejected: int | None = None  # where it stopped itself: so many of `outcomes`
    outcomes: int | None = None

    @classmethod
    def of(cls, action: Action) -> Terms:
        """Those of an action."""
        return cls(**(action.terms or {}))

    def to_json(self) -> dict[str, Any]:
        """For the action."""
        return asdict(self)

    def are_broken_by(self, rejected: int, outcomes: int) -> bool:
        """Whether so many letters rejected again are too many."""
        return outcomes >= self.stop_after and rejected - self.foreseen > self.stop_above * outcomes

    @property
    def why_stopped(self) -> str | None:
        """For people; None where it did not stop itself."""
        if self.rejected is None:
            return None
        known = f", {self.foreseen:,} of them foreseen" if self.foreseen else ""
        return (
            f"{self.rejected:,} of {self.outcomes:,} letters were rejected again{known} "
            f"(--stop-above {self.stop_above:g})"
        )


def stop_if_broken(connection: Connection, seq: int) -> bool:
    """Stops a replay of which too many letters were rejected again: those not sent are open; whether it did."""
    action = actions.find(connection, seq)
    if action.status != "running" or action.terms is None:
        return False
    terms, became = Terms.of(action), action.outcomes
    rejected = became.get("rejected", 0)
    outcomes = rejected + became.get("resolved", 0)
    if not terms.are_broken_by(rejected, outcomes):
        return False
    if not actions.withdraw_unsent(connection, seq):  # all of it is on its way
        return False
    actions.stop(connection, seq)
    noted = json_text({**action.terms, "rejected": rejected, "outcomes": outcomes})
    connection.execute(update(actions_table).where(actions_table.c.seq == seq).values(terms=noted))
    return True

"""Dead letters under any sequence of rejections, arrivals, replays, actions and publications: their laws hold."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakeredis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from store import database
from store.checks import conservation
from store.checks import letters as check
from store.database import install
from store.database.schema import RECORD_BITS
from store.dead_letters import actions, proofs, pruning, sending, states
from store.dead_letters.actions import Order
from store.dead_letters.proofs import Letters as Written
from store.dead_letters.proofs import StoredProof
from store.dead_letters.states import Attempt
from store.dead_letters.superseded import arrive
from store.dead_letters.terms import Terms, stop_if_broken
from store.settings import StoreSettings
from store.tables import dead_letters, leases
from store.tables.dead_letters import DeadLetter
from tests.examples import examples
from tests.integration.store.conftest import AT, COLUMNS, Bad, Ledger, Record, rejected
from worker.dead_letters import mirror

PAYLOADS = [f"{{{number}" for number in range(5)]
REASONS = ["late", "malformed_json"]
SOME = st.sets(st.sampled_from(PAYLOADS), min_size=1)


def in_state(*states: str) -> Callable[[Any], bool]:
    """Whether a letter is in one of these states, as the step before has left it."""
    return lambda machine: not machine.states.isdisjoint(states)


class Letters(RuleBasedStateMachine):
    """What workers, `producer replay` and `store letters` do, in any order."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        engine = install.prepare(StoreSettings(home=Path(self.folder.name), synchronous="NORMAL"))
        install.add_contract_columns(engine, COLUMNS)
        self.ledger = Ledger(engine)
        self.redis = fakeredis.FakeRedis()
        self.first: dict[str, tuple[str, str]] = {}  # payload -> id and errors, as they were at first
        self.seen: Counter[str] = Counter()
        self.states: set[str] = set()
        self.proof: StoredProof | None = None
        self.reject(set(PAYLOADS), REASONS[0])  # most rules need letters to work on

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.engine.dispose()
            self.folder.cleanup()

    def letters(self, status: str | None = None) -> list[DeadLetter]:
        with database.reading(self.ledger.engine) as connection:
            return dead_letters.select_letters(connection, status=status)

    def ids_of(self, payloads: set[str], *states: str) -> list[str]:
        """Of letters with these payloads, and one in these states: a step without effect is wasted."""
        letters = self.letters()
        fitting = [letter for letter in letters if letter.status in states]
        with_payload = [letter for letter in letters if letter.payload in payloads]
        useful = [letter for letter in with_payload if letter in fitting]
        return [letter.id for letter in (with_payload if useful else with_payload + fitting[:1])]

    def begin_action(self, verb: str, ids: list[str], terms: Terms | None = None) -> Any:
        with database.transaction(self.ledger.engine) as connection:
            chosen = dead_letters.conditions(connection, ids=ids)
            order = Order(verb, {}, "why", "ann", terms=terms.to_json() if terms else None)
            return actions.begin(connection, order, chosen)

    @rule(payloads=SOME, reason=st.sampled_from(REASONS))
    def reject(self, payloads: set[str], reason: str) -> None:
        self.ledger.receive([Bad(each, reason) for each in sorted(payloads)])
        self.seen.update(payloads)
        for letter in self.letters():
            self.first.setdefault(letter.payload, (letter.id, str(letter.errors)))

    @precondition(in_state("open", "parked", "replaying"))
    @rule(payloads=SOME, is_later=st.booleans())
    def arrive(self, payloads: set[str], is_later: bool) -> None:
        """A mended contract, and the same file again: its records are accepted."""
        before = {letter.payload: letter for letter in self.letters()}
        number = self.ledger.receive([Record(each, "2025-01-15") for each in sorted(payloads)])
        (row,) = self.ledger.rows("SELECT delivery_seq FROM batches WHERE seq = :seq", seq=number)
        version = row[0] << RECORD_BITS if is_later else -len(payloads)
        accepted = {rejected(Bad(each)).id: position for position, each in enumerate(sorted(payloads))}
        with database.transaction(self.ledger.engine) as connection:
            arrive(connection, accepted, number, version, AT)
        for letter in self.letters():
            was = before[letter.payload].status
            closes = is_later and letter.payload in payloads and was in ("open", "parked")
            assert letter.status == ("resolved" if closes else was)

    @precondition(in_state("open"))
    @rule(payloads=SOME)
    def replay(self, payloads: set[str]) -> None:
        self.act("replay", payloads)

    @precondition(in_state("open", "parked"))
    @rule(verb=st.sampled_from(["discard", "park", "unpark"]), payloads=st.just(set(PAYLOADS)) | SOME)
    def act(self, verb: str, payloads: set[str]) -> None:
        """Also while a replay has some of them: those stay in its action alone, and the other counts what it moved."""
        before = {letter.id: (letter.status, letter.action_seq) for letter in self.letters()}
        action = self.begin_action(verb, self.ids_of(payloads, *actions.TAKES[verb]))
        after = {letter.id: (letter.status, letter.action_seq) for letter in self.letters()}
        assert {id: after[id] for id in before if before[id][0] == "replaying"}.items() <= before.items()
        assert (action.letters if action else 0) == sum(after[id] != before[id] for id in before)

    @precondition(in_state("open"))
    @rule(payloads=SOME, first=st.none() | st.integers(1, 3))
    def prove(self, payloads: set[str], first: int | None) -> None:
        ids = self.ids_of(payloads, "open")
        with database.transaction(self.ledger.engine) as connection:
            chosen = dead_letters.conditions(connection, status="open", ids=ids)
            proved = list(proofs.chosen_now(connection, chosen, first))
        written = Written(self.ledger.engine)
        for id in proved:
            written.add(bytes.fromhex(id))
        described: Any = ({"ids": ids}, first, None, {}, {"letters": len(proved)})
        self.proof = StoredProof(written.digest_with(described), *described, written.token)
        with database.transaction(self.ledger.engine) as connection:
            proofs.store(connection, self.proof)

    @precondition(lambda self: self.proof is not None)
    @rule()
    def replay_what_was_proved(self) -> None:
        """Under the stored proof: what came is not sent, and what left is not touched."""
        assert self.proof
        opened = {letter.id for letter in self.letters("open")}
        with database.reading(self.ledger.engine) as connection:
            proof = proofs.find(connection, self.proof.digest)
            pages = list(proofs.pages(connection, proof.token))
        proved = [id for page in pages for id in page]
        with database.transaction(self.ledger.engine) as connection:
            order = Order("replay", {}, "why", "ann", terms=Terms(proof.first, stop_after=2).to_json())
            action = sending.begin(connection, order, proofs.pages(connection, proof.token))
        sent = {
            letter.id for letter in self.letters("replaying") if action and letter.action_seq == action.seq
        }
        assert sent == opened & set(proved)
        assert proof.first is None or len(sent) <= proof.first
        self.proof = None

    @precondition(in_state("discarded", "parked"))
    @rule(number=st.integers(0, 3))
    def undo(self, number: int) -> None:
        """One of the latest that can be undone; its letters may have moved on since."""
        with database.transaction(self.ledger.engine) as connection:
            recent = [each for each in actions.recent(connection, 99) if each.verb in actions.UNDONE]
            actions.undo(connection, recent[number % len(recent)].seq, Order("undo", {}, "", "ann"))

    @precondition(in_state("replaying"))
    @rule(accepted=st.lists(st.booleans(), min_size=5, max_size=5), edited=st.none() | st.just('{"a":1}'))
    def process(self, accepted: list[bool], edited: str | None) -> None:
        """A worker stores a batch of letters of one action, edited or not; the action may stop itself then."""
        replaying = self.letters("replaying")
        action = replaying[0].action_seq
        assert action is not None
        of_action = [letter for letter in replaying if letter.action_seq == action]
        mine = of_action[: 1 + sum(accepted)]
        number = self.ledger.receive([], kind="replay")
        attempts = []
        for position, (letter, is_accepted) in enumerate(zip(mine, accepted, strict=False)):
            row = rejected(Bad(letter.payload, "stale"), number=number, position=position)
            attempts.append(Attempt(letter.id, edited, None if is_accepted else row._replace(id=letter.id)))
            self.seen[letter.payload] += not is_accepted
        with database.transaction(self.ledger.engine) as connection:
            assert actions.end_attempts(connection, action, attempts, number, AT, 3)
            sent = [states.history(connection, letter.id)[-1]["payload"] for letter in mine]
            assert sent == [edited] * len(mine)
            is_stopped = stop_if_broken(connection, action)
            became = actions.find(connection, action).outcomes
            terms = actions.find(connection, action).terms
        rejected_again = became.get("rejected", 0)
        outcomes = rejected_again + became.get("resolved", 0)
        is_broken = terms is not None and outcomes >= 2 and rejected_again > 0.5 * outcomes
        assert is_stopped == (is_broken and len(of_action) > len(mine))
        left = {letter.id for letter in self.letters("replaying") if letter.action_seq == action}
        assert left == (set() if is_stopped else {letter.id for letter in of_action[len(mine) :]})

    @precondition(in_state("replaying"))
    @rule()
    def stop(self) -> None:
        action = self.letters("replaying")[0].action_seq
        assert action is not None
        with database.transaction(self.ledger.engine) as connection:
            actions.withdraw_unsent(connection, action)
            actions.stop(connection, action)

    @precondition(in_state("replaying"))
    @rule(minutes=st.sampled_from([1, 20]))
    def sweep(self, minutes: int) -> None:
        """What an interrupted replay did not send is open again when nobody has resumed it for long."""
        action = self.letters("replaying")[0].action_seq
        assert action is not None
        with database.transaction(self.ledger.engine) as connection:
            before = actions.find(connection, action).outcomes["waiting"]
            leases.acquire(connection, sending.lease_of(action), "gone:1:ab", -60 * minutes)
            assert sending.give_up(connection, action) == (before if minutes > 10 else 0)

    @precondition(in_state("resolved", "discarded"))
    @rule(is_flushed=st.booleans())
    def prune(self, is_flushed: bool) -> None:
        """Only what has ended goes, and a payload that comes again after that is a new letter."""
        if is_flushed:  # what the DLQ may have stays
            mirror.flush_outbox(self.redis, self.ledger.engine)
        before = {letter.payload: letter.status for letter in self.letters()}
        order = Order("prune", {}, "old", "ann")
        done = pruning.prune_all(self.ledger.engine, "2999-01-01T00:00:00.000000Z", order)
        gone = before.keys() - {letter.payload for letter in self.letters()}
        assert {before[payload] for payload in gone} <= {"resolved", "discarded"}
        assert (done.letters if done else 0) == len(gone)
        for payload in gone:
            del self.first[payload], self.seen[payload]

    @rule(stopped_after=st.sampled_from(["reading", "publishing", "nothing"]))
    def publish(self, stopped_after: str) -> None:
        """The outbox, by a worker that is killed on its way."""
        if stopped_after == "nothing":
            mirror.flush_outbox(self.redis, self.ledger.engine)
            return
        with database.reading(self.ledger.engine) as connection:
            found = [mirror.published(letter) for letter in dead_letters.unpublished(connection, 9)]
        if stopped_after == "publishing" and found:
            mirror.publish(self.redis, found)

    @invariant()
    def all_laws_hold(self) -> None:
        if hasattr(self, "ledger"):
            with database.reading(self.ledger.engine) as connection:
                assert check.law(connection).violations == []
                assert conservation.violations(connection) == []

    @invariant()
    def no_letter_is_lost_or_changed(self) -> None:
        if hasattr(self, "ledger"):
            found = {letter.payload: letter for letter in self.letters()}
            self.states = {letter.status for letter in found.values()}
            assert {name: (each.id, str(each.errors)) for name, each in found.items()} == self.first
            assert {name: each.occurrences for name, each in found.items()} == dict(+self.seen)

    @invariant()
    def the_dlq_is_the_open_letters_once_the_outbox_is_empty(self) -> None:
        if hasattr(self, "ledger"):
            with database.reading(self.ledger.engine) as connection:
                new = {letter.id for letter in dead_letters.unpublished(connection, 99)}
                gone = set(dead_letters.unremoved(connection, 99))
            opened = {letter.id for letter in self.letters("open")}
            assert (mirror.ids(self.redis) | new) - gone == opened


TestLetters = Letters.TestCase
TestLetters.settings = settings(max_examples=examples(12), stateful_step_count=25, deadline=None)

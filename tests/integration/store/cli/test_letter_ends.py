"""The ends of letters: parked until a time, and pruned; the laws hold, and what is left says what became of them."""

from __future__ import annotations

from typing import Any

import pytest

from store.dead_letters import parking, pruning
from tests.integration.store.conftest import Bad, Ledger, Record
from tests.integration.store.timing.timeline import Command

LONG_AGO = "2024-01-01T00:00:00.000000Z"


def by_status(ledger: Ledger) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for status, payload in ledger.rows("SELECT status, payload FROM dead_letters ORDER BY payload"):
        found.setdefault(status, []).append(payload)
    return found


def pass_time(ledger: Ledger) -> None:
    """All that has happened so far was long ago."""
    ledger.tamper("UPDATE dead_letters SET first_seen_at = :at, last_seen_at = :at", at=LONG_AGO)
    ledger.tamper("UPDATE letter_groups SET first_seen_at = :at", at=LONG_AGO)
    ledger.tamper("UPDATE letter_events SET at = :at", at=LONG_AGO)
    ledger.tamper("UPDATE actions SET unpark_at = :at WHERE unpark_at IS NOT NULL", at=LONG_AGO)
    ledger.tamper("UPDATE dead_letters SET published_at = NULL WHERE status <> 'open'")


@pytest.fixture
def ended(ledger: Ledger) -> Ledger:
    """A letter in each state; the resolved one was seen twice, in two files."""
    ledger.receive(
        [Record("k", "2025-01-01"), *(Bad(str(each), f"late_{each}", f"key-{each}") for each in range(5))]
    )
    ledger.receive([Bad("0", "late_0", "key-0")], file="b.json")
    ledger.load()
    ids = {payload: id for payload, id in ledger.rows("SELECT payload, id FROM dead_letters")}
    ledger.replay(ids["0"])
    return ledger


def everything_holds(store: Command) -> bool:
    checked = store("check", "--lineage", "--json").json
    return bool(checked["holds"])


def prune(store: Command, *arguments: str) -> Any:
    return store("letters", "prune", "--older-than", "90d", *arguments)


def test_prune_takes_what_has_ended_long_ago_and_what_is_left_goes_on_counting_it(
    ended: Ledger, store: Command
) -> None:
    store("letters", "discard", "--reason", "late_1", "--why", "tests")
    store("letters", "park", "--reason", "late_2", "--why", "later")
    accounts = store("account", "--json").json
    occurrences = {
        each["id"]: each["occurrences"]
        for each in store("letters", "--status", "all", "--json").json["groups"]
    }
    assert "No resolved or discarded letters are that old" in prune(store, "--yes").out
    pass_time(ended)
    asked = prune(store)
    assert (asked.code, len(ended.rows("SELECT 1 FROM dead_letters"))) == (2, 5)
    assert "2 letters (1 discarded, 1 resolved) would be deleted for good: give --yes to do it" in asked.err
    done = prune(store, "--yes", "--why", "space", "--by", "ann")
    assert "2 letters are deleted (action" in done.out
    assert by_status(ended) == {"open": ["3", "4"], "parked": ["2"]}
    assert ended.rows(
        "SELECT sum(pruned), sum(open + parked + replaying + resolved + discarded) FROM letter_groups"
    ) == [(2, 3)]
    left = store("letters", "--status", "all", "--json").json["groups"]
    assert {each["id"]: each["occurrences"] for each in left}.items() <= occurrences.items()
    assert store("account", "--json").json == accounts
    assert everything_holds(store)
    action = store("letters", "actions", "--json").json[0]
    assert (action["verb"], action["letters"], action["why"], action["by"]) == ("prune", 2, "space", "ann")


def test_a_pruned_letter_is_spoken_of_by_explain_and_show(ended: Ledger, store: Command) -> None:
    ((id,),) = ended.rows("SELECT id FROM dead_letters WHERE status = 'resolved'")
    ended.tamper("INSERT INTO action_payloads SELECT max(seq), :id, '{}' FROM actions", id=id)
    pass_time(ended)
    prune(store, "--yes")
    assert ended.rows("SELECT 1 FROM action_payloads") == []  # nor is what was sent of it
    assert f"Dead letter {id[:8]} is pruned." in store("explain", "key-0").out
    shown = store("letters", "show", id[:8])
    assert shown.code == 1
    assert "was pruned at" in shown.err
    assert store("lineage", "--file", "a.json", "--line", "2").code == 0


def test_a_payload_that_comes_again_after_its_letter_was_pruned_is_a_letter_again(
    ended: Ledger, store: Command
) -> None:
    for _ in range(2):
        pass_time(ended)
        prune(store, "--yes")
        assert "0" not in str(by_status(ended).get("resolved"))
        ended.receive([Bad("0", "late_0", "key-0")], file="c.json")
        assert "0" in by_status(ended)["open"]
        assert everything_holds(store)
        store("letters", "discard", "--reason", "late_0", "--why", "again")
    assert ended.rows("SELECT times, occurrences FROM pruned_letters WHERE why IS NOT NULL") == [(2, 3)]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_prune_goes_on_until_none_is_left_whatever_a_transaction_takes(
    ended: Ledger, store: Command, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "AT_ONCE", size)
    store("letters", "discard", "--reason", "late_1", "--reason", "late_2", "--why", "tests")
    pass_time(ended)
    assert prune(store, "--yes", "--json").json["letters"] == 3
    assert everything_holds(store)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE letter_events SET at = '2999'",  # a change
        "UPDATE dead_letters SET last_seen_at = '2999'",  # the payload came again
        "UPDATE dead_letters SET published_at = '2024'",  # the Redis DLQ may have it
    ],
)
def test_prune_leaves_what_has_changed_since_or_is_still_on_the_dlq(
    ended: Ledger, store: Command, change: str
) -> None:
    pass_time(ended)
    ended.tamper(change)
    assert "nothing was done" in prune(store, "--yes").out
    assert len(ended.rows("SELECT 1 FROM dead_letters")) == 5


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        ("UPDATE letter_groups SET pruned = pruned + 1", "pruned"),
        ("UPDATE pruned_letters SET occurrences = 7", "occurrences"),
        ("DELETE FROM pruned_letters", "are gone"),
        ("DELETE FROM dead_letters WHERE status = 'open'", "are gone"),
    ],
)
def test_a_letter_that_is_lost_is_not_taken_for_pruned(
    ended: Ledger, store: Command, change: str, violation: str
) -> None:
    pass_time(ended)
    prune(store, "--yes")
    ended.tamper(change)
    assert violation in store("check").out
    assert store("check").code == 1


@pytest.mark.parametrize("length", ["soon", "", "9" * 30 + "d", "999999d"])
def test_no_length_of_time_is_refused(ended: Ledger, store: Command, length: str) -> None:
    done = store("letters", "prune", "--older-than", length, "--yes")
    assert (done.code, "is no length of time" in done.err) == (2, True)


def park(store: Command, *arguments: str) -> Any:
    return store("letters", "park", "--why", "the supplier", *arguments)


def test_letters_parked_until_a_time_are_opened_when_it_has_come(ended: Ledger, store: Command) -> None:
    done = park(store, "--reason", "late_1", "--reason", "late_2", "--until", "2999-01-01")
    assert "2 letters are parked until 2999-01-01 00:00:00 UTC (action 2)" in done.out
    assert parking.open_due(ended.engine) == []
    store("letters", "unpark", "--reason", "late_2")
    park(store, "--reason", "late_2")  # by another action, without a time
    pass_time(ended)
    (action,) = parking.open_due(ended.engine)
    assert (action.verb, action.by, action.why, action.letters) == (
        "unpark", "sluice", "the time of action 2 has come", 1,
    )  # fmt: skip
    assert by_status(ended)["parked"] == ["2"]
    assert parking.open_due(ended.engine) == []
    assert everything_holds(store)


def test_a_discard_that_is_undone_leaves_the_time_of_the_park(ended: Ledger, store: Command) -> None:
    park(store, "--reason", "late_1", "--until", "2999-01-01")
    store("letters", "discard", "--reason", "late_1", "--why", "x")
    store("letters", "undo", "3")
    assert by_status(ended)["parked"] == ["1"]
    pass_time(ended)
    assert [each.letters for each in parking.open_due(ended.engine)] == [1]


def test_letters_that_were_discarded_meanwhile_are_not_opened(ended: Ledger, store: Command) -> None:
    park(store, "--reason", "late_1", "--until", "2999-01-01")
    store("letters", "discard", "--reason", "late_1", "--why", "x")
    pass_time(ended)
    assert parking.open_due(ended.engine) == []
    assert by_status(ended)["discarded"] == ["1"]


@pytest.mark.parametrize(("until", "says"), [("soon", "not an ISO 8601 time"), ("2020-01-01", "has passed")])
def test_a_time_that_is_none_or_has_passed_is_refused(
    ended: Ledger, store: Command, until: str, says: str
) -> None:
    done = park(store, "--reason", "late_1", "--until", until)
    assert (done.code, says in done.err, "parked" in by_status(ended)) == (2, True, False)

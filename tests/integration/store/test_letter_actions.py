"""Groups of dead letters, their states, and the actions over many of them."""

from __future__ import annotations

from typing import Any

import pytest

from store import database
from store.checks import letters as check
from store.dead_letters import actions, groups, sending, states
from store.dead_letters.actions import Action, Order
from store.errors import UsageError
from store.tables import dead_letters
from tests.integration.store.conftest import Bad, Ledger, rejected


def act(ledger: Ledger, verb: str, why: str = "because", **chosen: Any) -> Action | None:
    with database.transaction(ledger.engine) as connection:
        conditions = dead_letters.conditions(connection, **chosen)
        return actions.begin(connection, Order(verb, {}, why, "ann@host"), conditions)


def undo(ledger: Ledger, action: int) -> Action | None:
    with database.transaction(ledger.engine) as connection:
        return actions.undo(connection, action, Order("undo", {}, "", "ann@host"))


def by_status(ledger: Ledger) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for status, payload in ledger.rows("SELECT status, payload FROM dead_letters ORDER BY payload"):
        found.setdefault(status, []).append(payload)
    return found


def violations(ledger: Ledger) -> list[str]:
    with database.reading(ledger.engine) as connection:
        return check.law(connection).violations


def of_groups(ledger: Ledger, **choice: Any) -> list[dict[str, Any]]:
    with database.reading(ledger.engine) as connection:
        return groups.select_groups(connection, **choice)


def test_letters_with_the_same_faults_are_one_group_counted_by_state(ledger: Ledger) -> None:
    ledger.receive([Bad("1", "late"), Bad("2", "late"), Bad("3", "stale")], file="a.json")
    ledger.receive([Bad("4", "late"), Bad("1", "late")], file="b.json")
    largest, other = of_groups(ledger)
    assert (largest["reason"], largest["open"], largest["occurrences"]) == ("late", 3, 4)
    assert (largest["file"], largest["line"], other["reason"], other["open"]) == ("a.json", 1, "stale", 1)
    act(ledger, "discard", reasons=["stale"])
    assert [each["reason"] for each in of_groups(ledger)] == ["late"]
    assert [each["reason"] for each in of_groups(ledger, status="discarded")] == ["stale"]
    assert len(of_groups(ledger, status=None)) == 2
    assert [each["reason"] for each in of_groups(ledger, status=None, newest_first=True, limit=1)] == ["late"]
    assert of_groups(ledger, source="usgs") == []
    assert violations(ledger) == []


def test_a_group_begins_with_its_earliest_letter_whoever_commits_first(ledger: Ledger) -> None:
    number = ledger.receive([Bad("1")])
    early = rejected(Bad("2"), number=number, at="2025-01-01T00:00:00.000000Z")
    with database.transaction(ledger.engine) as connection:
        states.reject(connection, [early])
    assert violations(ledger) == []


def test_a_discarded_letter_is_not_opened_by_the_same_payload(ledger: Ledger) -> None:
    ledger.receive([Bad("{")])
    act(ledger, "discard")
    ledger.receive([Bad("{")])
    assert by_status(ledger) == {"discarded": ["{"]}
    assert ledger.rows("SELECT occurrences FROM dead_letters") == [(2,)]
    assert violations(ledger) == []


def test_an_undone_discard_gives_each_letter_the_state_it_had(ledger: Ledger) -> None:
    ledger.receive([Bad("1", "late"), Bad("2"), Bad("3", "stale")])
    act(ledger, "park", reasons=["late"])
    discarded = act(ledger, "discard", reasons=["late", "stale"])
    assert by_status(ledger) == {"discarded": ["1", "3"], "open": ["2"]}
    assert discarded is not None
    assert undo(ledger, discarded.seq) is not None
    assert by_status(ledger) == {"parked": ["1"], "open": ["2", "3"]}
    assert undo(ledger, discarded.seq) is None  # there is nothing left of it
    assert violations(ledger) == []


def test_an_undo_leaves_letters_alone_that_a_later_action_has_moved(ledger: Ledger) -> None:
    ledger.receive([Bad("1"), Bad("2")])
    first = act(ledger, "park")
    act(ledger, "unpark")
    act(ledger, "park")
    assert first is not None
    assert undo(ledger, first.seq) is None
    assert by_status(ledger) == {"parked": ["1", "2"]}


@pytest.mark.parametrize("verb", ["replay", "unpark"])
def test_what_cannot_be_undone_is_refused_in_words(ledger: Ledger, verb: str) -> None:
    ledger.receive([Bad("{")])
    if verb == "unpark":
        act(ledger, "park")
    action = act(ledger, verb)
    assert action is not None
    with pytest.raises(UsageError, match=f"action {action.seq} is a {verb}"):
        undo(ledger, action.seq)


def test_an_unknown_action_is_refused(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="there is no action 7"):
        undo(ledger, 7)


def test_an_action_without_letters_leaves_nothing_behind(ledger: Ledger) -> None:
    assert act(ledger, "discard") is None
    assert ledger.rows("SELECT * FROM actions") == []


def test_a_letter_is_in_one_action_at_a_time(ledger: Ledger) -> None:
    ledger.receive([Bad("1", "late"), Bad("2")])
    first, second = act(ledger, "replay", reasons=["late"]), act(ledger, "replay")
    assert first is not None
    assert second is not None
    assert (first.letters, second.letters) == (1, 1)
    assert act(ledger, "discard") is None
    assert by_status(ledger) == {"replaying": ["1", "2"]}
    assert violations(ledger) == []


def test_letters_given_back_are_open_and_end_their_action(ledger: Ledger) -> None:
    ledger.receive([Bad("1"), Bad("2")])
    action = act(ledger, "replay")
    assert action is not None
    with database.transaction(ledger.engine) as connection:
        assert actions.withdraw_unsent(connection, action.seq) == 2
        actions.stop(connection, action.seq)
        assert actions.find(connection, action.seq).outcomes == {"withdrawn": 2}
    assert by_status(ledger) == {"open": ["1", "2"]}
    assert ledger.rows("SELECT status FROM actions") == [("stopped",)]
    assert violations(ledger) == []


def test_an_attempt_that_fails_keeps_its_errors_and_the_letter_its_own(ledger: Ledger) -> None:
    number = ledger.receive([Bad("{")])
    ((id, before),) = ledger.rows("SELECT id, errors FROM dead_letters")
    again = rejected(Bad("{ edited", "missing_key"), number=number)._replace(id=id)
    ledger.replay(id, again=[again])
    assert ledger.rows("SELECT errors, reason FROM dead_letters") == [(before, "malformed_json")]
    with database.reading(ledger.engine) as connection:
        events = states.history(connection, id)
    assert [(each["verb"], each["before"], each["after"]) for each in events] == [
        ("claim", "open", "replaying"),
        ("reject again", "replaying", "open"),
    ]
    assert "missing_key" in events[1]["errors"]
    assert violations(ledger) == []


def test_a_letter_that_was_replayed_too_often_is_parked(ledger: Ledger) -> None:
    number = ledger.receive([Bad("{")])
    ((id,),) = ledger.rows("SELECT id FROM dead_letters")
    for _ in range(2):
        again = rejected(Bad("{"), number=number)._replace(id=id)
        ledger.replay(id, again=[again], max_replays=2)
    assert by_status(ledger) == {"parked": ["{"]}
    assert violations(ledger) == []


def test_another_contract_that_rejects_an_open_letter_leaves_an_event(ledger: Ledger) -> None:
    number = ledger.receive([Bad("{")])
    ((id,),) = ledger.rows("SELECT id FROM dead_letters")
    other = rejected(Bad("{", "missing_key"), number=number)._replace(id=id, group_id="other")
    with database.transaction(ledger.engine) as connection:
        states.reject(connection, [other])
        (event,) = states.history(connection, id)
    assert (event["verb"], event["before"], event["after"]) == ("reject", "open", "open")
    assert "missing_key" in event["errors"]
    assert violations(ledger) == []


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        ("UPDATE letter_groups SET open = open + 1", "it counts 2 occurrences, 3 open, but its letters are"),
        ("UPDATE dead_letters SET status = 'parked' WHERE payload = '1'", "1 open, 1 parked"),
        ("DELETE FROM letter_groups", "it counts none"),
        ("UPDATE letter_groups SET first_seen_at = '9'", "2 of its letters were seen before or after"),
        ("UPDATE letter_groups SET last_seen_at = '1'", "2 of its letters were seen before or after"),
        ("UPDATE letter_groups SET occurrences = 7", "it counts 7 occurrences"),
        (
            "UPDATE dead_letters SET status = 'replaying', action_seq = 1 WHERE payload = '1'",
            "is being replayed by action 1, which has done with it",
        ),
        ("UPDATE action_letters SET outcome = NULL", "action 1 waits for 2 letters that are not in it"),
    ],
)
def test_the_law_names_what_is_wrong(ledger: Ledger, change: str, violation: str) -> None:
    ledger.receive([Bad("1"), Bad("2")])
    act(ledger, "park")
    act(ledger, "unpark")
    assert violations(ledger) == []
    ledger.tamper(change)
    assert violation in "\n".join(violations(ledger))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE actions SET resolved = 2",
        "UPDATE actions SET letters = 2",
        "UPDATE actions SET letters = 0",
        "UPDATE action_letters SET outcome = 'refused'",
    ],
)
def test_the_law_names_a_replay_that_counts_what_its_letters_are_not(ledger: Ledger, change: str) -> None:
    ledger.receive([Bad("1")])
    ledger.replay(*[id for (id,) in ledger.rows("SELECT id FROM dead_letters")])
    assert violations(ledger) == []
    ledger.tamper(change)
    [violation] = violations(ledger)
    assert "action 1: it counts " in violation


def test_the_law_names_a_discard_that_counts_more_letters_than_it_has(ledger: Ledger) -> None:
    ledger.receive([Bad("1")])
    act(ledger, "discard")
    assert violations(ledger) == []
    ledger.tamper("UPDATE actions SET letters = 2")
    assert violations(ledger) == ["action 1: it counts 2 done, but its letters are 1 done"]


def test_a_replay_takes_just_the_open_letters_of_its_pages_in_their_order_however_many_at_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "CLAIMED_AT_ONCE", 2)
    ledger.receive([Bad(str(each), "late" if each % 2 else "stale") for each in range(9)])
    ids = {payload: id for id, payload in ledger.rows("SELECT id, payload FROM dead_letters")}
    act(ledger, "discard", ids=[ids["3"]])  # moved on after it was proved
    pages = [[ids[each] for each in "07315"], [ids[each] for each in "2"], [ids[each] for each in "86"]]
    with database.transaction(ledger.engine) as connection:
        action = sending.begin(connection, Order("replay", {}, "because", "ann@host"), pages)
    assert action
    sent = ledger.rows(
        "SELECT payload, l.action_seq, before FROM action_letters m JOIN dead_letters l ON l.id = m.letter_id "
        "WHERE m.action_seq = :seq ORDER BY position",
        seq=action.seq,
    )
    assert [tuple(each) for each in sent] == [(payload, action.seq, "open") for payload in "0715286"]
    assert action.letters == 7
    assert by_status(ledger) == {"discarded": ["3"], "open": ["4"], "replaying": list("0125678")}
    claims = ledger.rows(
        "SELECT count(*) FROM letter_events WHERE verb = 'claim' AND action_seq = :seq", seq=action.seq
    )
    assert claims[0][0] == 7
    assert violations(ledger) == []

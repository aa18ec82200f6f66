"""`prove` and `replay`: what is sent is what was proved, by the words and the code of the command."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from producer import Edit, prove, replay
from producer.replays import lead
from producer.replays import sending as replay_sending
from store import database
from store.dead_letters import actions, proofs
from store.errors import NoWorker, SluiceError, UsageError
from worker.queue import wait as waiting

from ..plant import Plant, ndjson, row
from ..replaying import Replay, statuses

COMMA = Edit(cast={"value": "decimal-comma"})


def two_commas(plant: Plant) -> None:
    plant.run(ndjson(row("a", value="1,5"), row("b", value="2,5"), row("c", value="n/a")))


def test_a_proof_counts_what_would_load_and_says_what_would_not(api: Plant) -> None:
    two_commas(api)
    found = prove(field="value", edit=COMMA)
    assert (found.letters, found.would_accept, found.would_load, found.rejected) == (3, 2, 2, 1)
    [failure] = found.failures
    assert (failure.reason, failure.letters) == ("invalid_value", 1)
    assert failure.faults == ({"field": "value", "rule": "float_parsing", "shape": "a+/a+"},)
    assert '"value":1.5' in found.samples[0].after
    assert set(statuses(api).values()) == {"open"}


def test_the_digest_is_that_of_the_command(api: Plant, replay: Replay) -> None:
    two_commas(api)
    found = replay.json("--field", "value", "--cast", "value=decimal-comma", "--dry-run")
    assert prove(field="value", edit=COMMA).digest == found["digest"]


def test_what_was_proved_is_sent_and_loaded(api: Plant) -> None:
    two_commas(api)
    receipt = replay(prove(field="value", edit=COMMA), why="a comma", by="ann")
    assert (receipt.action, receipt.letters, receipt.batches, receipt.outcome) == (1, 3, 1, None)
    api.work()
    api.load()
    assert {each["key"]: each["value"] for each in api.rows()} == {"a": 1.5, "b": 2.5}
    assert statuses(api) == {"a": "resolved", "b": "resolved", "c": "open"}
    with database.reading(api.engine) as connection:
        action = actions.find(connection, 1)
    assert (action.why, action.by) == ("a comma", "ann")
    assert api.violations() == []


def test_only_the_first_letters_are_sent(api: Plant) -> None:
    two_commas(api)
    assert replay(prove(edit=COMMA, first=1)).letters == 1
    assert sorted(statuses(api).values()) == ["open", "open", "replaying"]


@pytest.mark.parametrize("change", ["came", "left", "contract", "old"])
def test_a_proof_that_does_not_hold_is_refused_by_the_words_of_the_command(
    api: Plant, monkeypatch: pytest.MonkeyPatch, change: str, request: pytest.FixtureRequest
) -> None:
    two_commas(api)
    proof = prove(field="value", edit=COMMA)
    if change == "came":
        api.run(ndjson(row("d", value="3,5")), "late.ndjson")
    elif change == "left":
        replay(prove(edit=COMMA, first=1))
    elif change == "contract":
        api.configure('[sources.default]\nfields.value = "value"\n')
    else:
        monkeypatch.setattr(proofs, "VALID_MINUTES", -1)
    with pytest.raises(UsageError, match="does not hold any more") as refused:
        replay(proof)
    command: Replay = request.getfixturevalue("replay")
    assert str(refused.value) == str(command("--proof", proof.digest).exception)
    assert "nothing was sent: make a new one with `producer replay --field value" in str(refused.value)
    assert api.broker.waiting() == (1 if change == "left" else 0)


def test_a_proof_is_used_once(api: Plant) -> None:
    two_commas(api)
    proof = prove(edit=COMMA)
    replay(proof.digest)
    with pytest.raises(UsageError, match="3 letters left"):
        replay(proof)


def test_no_letters_are_a_proof_of_nothing(api: Plant) -> None:
    proof = prove(field="value")
    assert (proof.letters, replay(proof).action) == (0, None)
    two_commas(api)
    with pytest.raises(UsageError, match="3 letters came"):
        replay(proof)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"edit": Edit(cast={"value": "decimal-coma"})}, "a cast is one of"),
        ({"edit": Edit(cast={"valeu": "number"})}, "valeu"),
        ({"edit": Edit(drop="value")}, "an edit's 'drop' is not a str"),  # type: ignore[arg-type]
        ({"edit": Edit(set={"value": float("nan")})}, "the edit's set cannot be written as JSON"),
        ({"edit": Edit(set={"value": object()})}, "the edit's set cannot be written as JSON"),
        ({"edit": Edit(payload="{}")}, "give its --id"),
        ({"edit": None}, "edit is None"),
        ({"edit": {"cast": {}}}, r"edit is \{'cast'"),
        ({"edit": Edit(rename=[("a", "b")])}, "an edit's 'rename' is not a list"),  # type: ignore[arg-type]
        ({"first": 0}, "first is 0"),
        ({"first": "2"}, "first is '2'"),
        ({"first": True}, "first is True"),
        ({"fields": "value"}, "letters are not chosen by 'fields'"),
        ({"ids": "ab"}, "give a list of ids"),
        ({"status": "parked"}, "letters are not chosen by 'status'"),
        ({"since": "yesterday"}, "is not an ISO 8601 time"),
    ],
)
def test_what_is_no_edit_and_no_filter_is_refused(api: Plant, arguments: dict[str, Any], words: str) -> None:
    two_commas(api)
    with pytest.raises(UsageError, match=words):
        prove(**arguments)


@pytest.mark.parametrize(
    "terms",
    [
        {"rate": 0.0}, {"rate": float("nan")}, {"rate": "5"}, {"stop_above": 1.5}, {"stop_above": "0.5"}, {"why": None},
        {"why": 5}, {"by": 5}, {"proof": None}, {"proof": 7},
    ],
)  # fmt: skip
def test_terms_that_are_none_are_refused(api: Plant, terms: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(terms))):
        replay(**{"proof": "ab", **terms})


def test_values_of_an_edit_have_all_of_their_digits(api: Plant) -> None:
    api.run(ndjson(row("a", value="x")))
    proof = prove(edit=Edit(set={"value": Decimal("1.10"), "raw.note": 2**60 + 1}))
    assert '"value":1.10,' in proof.samples[0].after
    assert f'"note":{2**60 + 1}' in proof.samples[0].after


def test_wait_needs_workers_and_sends_nothing_without(api: Plant) -> None:
    two_commas(api)
    proof = prove(edit=COMMA)
    with pytest.raises(NoWorker):
        replay(proof, wait=True)
    assert set(statuses(api).values()) == {"open"}


def test_wait_tells_what_became_of_the_letters(api: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    two_commas(api)
    proof = prove(edit=COMMA)
    monkeypatch.setattr(waiting, "need_workers", lambda _: None)

    def loaded(*_: Any) -> None:
        api.work()
        api.load()

    monkeypatch.setattr(waiting, "wait_until_loaded", loaded)
    outcome = replay(proof, wait=True).outcome
    assert outcome
    assert (outcome.resolved, outcome.rejected) == (2, 1)


def test_a_replay_that_stops_itself_or_has_no_workers_is_an_error(
    api: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.run(ndjson(*(row(f"k{each:02}", value="x") for each in range(80))))
    monkeypatch.setattr(lead, "ALONE_SECONDS", 0)
    with pytest.raises(NoWorker, match="`producer replay --resume 1` within 10 minutes"):
        replay(prove(edit=Edit(set={"value": 4}), first=30), stop_above=0.2)
    api.work()
    monkeypatch.setattr(lead, "ALONE_SECONDS", 5)
    monkeypatch.setattr(lead, "sleep", lambda _: api.work())
    monkeypatch.setattr(replay_sending, "_wait_for_first", lambda *_: None)
    with pytest.raises(SluiceError, match="action 2 has stopped itself"):
        replay(prove(), stop_above=0.2)

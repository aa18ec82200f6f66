"""Nothing is replayed that was not proved: the question, the stored proof, and what ends a proof."""

from __future__ import annotations

import faulthandler
import shlex
from collections.abc import Callable
from typing import Any

import pytest

from producer.cli import replay as replaying
from store import database
from store.database.letters import dead_letters as letters_table
from store.dead_letters import actions, proofs
from store.dead_letters.actions import Action
from store.errors import UsageError
from store.reports import letters as answers

from .plant import Plant, ndjson, row
from .replaying import Replay, statuses

COMMAS = ("--cast", "value=decimal-comma")


def two_commas(plant: Plant) -> None:
    plant.run(ndjson(row("a", value="1,5"), row("b", value="2,5"), row("c", value="n/a")))


def latest(plant: Plant) -> Action:
    with database.reading(plant.engine) as connection:
        [action] = actions.recent(connection, 1)
        return action


def test_without_a_terminal_a_replay_is_proved_and_sent_and_its_action_keeps_the_proof(
    plant: Plant, replay: Replay
) -> None:
    two_commas(plant)
    (bad,) = (letter.id for letter in plant.letters() if letter.record_key == "c")
    done = replay(*COMMAS)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "2 of 3 would be accepted",
        "         2  would load",
        "         1  would be rejected again",
        f"         1  still invalid_value: value float_parsing a+/a+ (like {bad[:8]})",
        "3 dead letters sent back in 1 batch (action 1)",
    ]
    with database.reading(plant.engine) as connection:
        [shown] = answers.acted(connection, 1)
    digest = shown["proof"].pop("digest")
    assert len(digest) == 32
    assert shown["proof"] == {
        "letters": 3, "would_load": 2, "superseded": 0, "skipped": 0, "rejected": 1, "refused": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "answer", "code", "sent"),
    [
        ((), "n\n", 1, False),
        ((), "\n", 1, False),
        ((), "", 1, False),  # the end of input
        ((), "y\n", 0, True),
        (("--yes",), "n\n", 0, True),
        (("--json",), "n\n", 0, True),
    ],
)
def test_on_a_terminal_the_proof_is_shown_and_nothing_is_sent_without_a_yes(
    plant: Plant,
    replay: Replay,
    monkeypatch: pytest.MonkeyPatch,
    options: Any,
    answer: str,
    code: int,
    sent: bool,
) -> None:
    two_commas(plant)
    monkeypatch.setattr(replaying, "is_terminal", lambda: True)
    done = replay(*COMMAS, *options, answer=answer)
    assert done.exit_code == code
    assert ("send these 3? [y/N]" in done.stdout) == (options == ())
    assert ('->  {"key":"a"' in done.stdout) == (options == ())
    assert set(statuses(plant).values()) == {"replaying" if sent else "open"}
    assert (plant.broker.waiting() > 0) == sent


def test_letters_that_come_or_go_while_somebody_thinks_are_not_sent(
    plant: Plant, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_commas(plant)
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda *_, **__: None)  # the output has no file

    def think(*_: Any) -> bool:
        plant.run(ndjson(row("late", value="9,5")), "more.ndjson")
        (gone,) = (letter.id for letter in plant.letters() if letter.record_key == "a")
        with database.transaction(plant.engine) as connection:
            chosen = [letters_table.c.id == gone]
            actions.begin(connection, actions.Order("discard", {}, "by another", "bea"), chosen)
        return True

    monkeypatch.setattr(replaying, "agreed", think)
    done = replay(*COMMAS)
    assert "1 letter of the proof moved on meanwhile" in done.stderr
    assert statuses(plant) == {"a": "discarded", "b": "replaying", "c": "replaying", "late": "open"}


@pytest.mark.parametrize("given", [(), COMMAS])
def test_a_stored_proof_sends_its_letters_with_its_edit(plant: Plant, replay: Replay, given: Any) -> None:
    two_commas(plant)
    proof = replay.json(*COMMAS, "--dry-run")
    assert plant.broker.waiting() == 0
    again = replay.json(*COMMAS, "--dry-run")
    assert again["digest"] == proof["digest"]
    assert replay.json(*given, "--proof", proof["digest"][:8])["letters"] == 3
    plant.work()
    plant.load()
    assert {each["key"]: each["value"] for each in plant.rows()} == {"a": 1.5, "b": 2.5}
    assert plant.violations() == []


def comes(plant: Plant) -> None:
    plant.run(ndjson(row("d", value="3,5"), row("e", value="4,5")), "more.ndjson")


def leaves(plant: Plant) -> None:
    plant.replay(reasons=["invalid_timestamp"])


def changes(plant: Plant) -> None:
    plant.configure('[sources.default]\nconstants.unit = "mm"\n')


def ages(plant: Plant) -> None:
    with database.transaction(plant.engine) as connection:
        connection.execute(proofs.proofs.update().values(made_at="2025-01-15T08:00:00.000000Z"))


@pytest.mark.parametrize(
    ("change", "given", "says"),
    [
        (comes, (), "2 letters came; nothing was sent"),
        (leaves, (), "1 letter left; nothing was sent"),
        (changes, (), "source default has another contract or mapping"),
        (ages, (), "minutes old (10 are allowed)"),
        (lambda _: None, ("--set", "value=7"), 'the edit is {"set":{"value":7}}, and was {"cast":'),
        (lambda _: None, (*COMMAS, "--reason", "invalid_value"), "1 letter left"),
        (lambda _: None, (*COMMAS, "--first", "1"), "2 letters left"),
    ],
)
def test_a_proof_that_does_not_hold_any_more_is_refused_with_what_changed_and_the_next_command(
    plant: Plant, replay: Replay, change: Callable[[Plant], None], given: Any, says: str
) -> None:
    plant.run(ndjson(row("a", value="1,5"), row("b", value="2,5"), row("c", value="1,5", ts="never")))
    proof = replay.json(*COMMAS, "--dry-run")
    change(plant)
    before, waiting = statuses(plant), plant.broker.waiting()
    done = replay(*given, "--proof", proof["digest"])
    assert isinstance(done.exception, UsageError)
    assert says in str(done.exception)
    assert "make a new one with `producer replay " in str(done.exception)
    assert "--dry-run`" in str(done.exception)
    assert (statuses(plant), plant.broker.waiting()) == (before, waiting)


def test_the_command_that_a_refusal_names_makes_a_proof_that_holds(plant: Plant, replay: Replay) -> None:
    two_commas(plant)
    edit = ("--set", "raw.name=it's", "--default", 'raw.note={"a": [1.50]}', "--drop", "raw.x", *COMMAS)
    proof = replay.json("--reason", "invalid_value", *edit, "--dry-run")
    comes(plant)
    refused = replay("--proof", proof["digest"]).exception
    words = shlex.split(str(refused).split("`")[1])
    assert words[:2] == ["producer", "replay"]
    new = replay.json(*words[2:])
    assert (new["letters"], new["would_load"]) == (5, 4)
    assert replay.json("--proof", new["digest"])["letters"] == 5
    edits = {action.edit for action in [latest(plant)]}
    assert edits == {
        '{"set":{"name":"it\'s"},"default":{"note":{"a":[1.50]}},"cast":{"value":"decimal-comma"},"drop":["x"]}'
    }


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--proof", "zz"], "no proof of today begins so"),
        (["--proof", ""], "no proof of today begins so"),
        (["--proof", "ab", "--dry-run"], "--dry-run sends nothing"),
        (["--resume", "1", "--proof", "ab"], "give nothing else"),
        (["--rate", "fast"], "letters a second, like 200/s"),
        (["--rate", "0"], "letters a second, like 200/s"),
        (["--rate", "nan/s"], "letters a second, like 200/s"),
    ],
)
def test_options_that_say_nothing_are_refused(
    plant: Plant, replay: Replay, options: list[str], says: str
) -> None:
    two_commas(plant)
    done = replay(*options)
    assert isinstance(done.exception, UsageError)
    assert says in str(done.exception)
    assert set(statuses(plant).values()) == {"open"}


def test_yesterdays_proofs_are_forgotten(plant: Plant, replay: Replay) -> None:
    two_commas(plant)
    replay.json("--dry-run")
    ages(plant)
    replay.json(*COMMAS, "--dry-run")
    assert len(plant.rows("proofs", "digest")) == 1

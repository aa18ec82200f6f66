"""A replay with a limit stays near the outcomes that are known; the receipt of a resumed one has the totals."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from producer.cli.command import Resources
from producer.replays import actions as replaying
from producer.replays import lead as replay_lead
from producer.replays import sending as replay_sending
from producer.settings import ProducerSettings
from store import database
from store.dead_letters import sending
from store.dead_letters.edits import Edit
from worker.batch import claims, receive
from worker.queue.identity import halves

from ..plant import Plant, ndjson, row
from ..replaying import Replay
from ..test_replay_terms import counted, many, outside_of_the_command


def without_an_outcome(plant: Plant) -> int:
    with database.reading(plant.engine) as connection:
        return sum(sending.on_their_way(connection, 1).values())


def test_with_a_limit_few_letters_are_ahead_of_the_outcomes(
    plant: Plant, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(plant, 50)
    monkeypatch.setattr(replaying, "AHEAD", 8)
    ahead: list[int] = []

    def work(_: float) -> None:
        ahead.append(without_an_outcome(plant))
        outside_of_the_command(plant)

    monkeypatch.setattr(replay_lead, "sleep", work)
    found = replay.json("--set", "value=4", "--stop-above", "0.2")
    assert (found["letters"], found["in_all"]["sent"], found["stopped"]) == (50, 50, None)
    assert max(ahead) <= 20
    assert max(ahead[1:]) <= 8  # once the first ones have an outcome
    assert len(ahead) >= 4
    plant.work()
    plant.load()
    assert counted(plant) == {"resolved": 50}
    assert plant.violations() == []


def test_with_a_limit_and_without_workers_most_letters_are_not_sent_and_the_command_says_what_to_do(
    plant: Plant, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(plant, 50)
    monkeypatch.setattr(replay_lead, "ALONE_SECONDS", 0)
    done = replay("--set", "value=4", "--stop-above", "0.2", "--json")
    assert done.exit_code == 2
    assert "20 letters of action 1 wait for their outcomes, and no worker is running" in done.stderr
    assert "`producer replay --resume 1` within 10 minutes" in done.stderr
    assert orjson.loads(done.stdout)["in_all"] == {
        "letters": 50, "sent_before": 0, "sent": 20, "batches": 1, "outcomes": {"waiting": 50},
    }  # fmt: skip
    assert without_an_outcome(plant) == 20
    again = replay("--resume", "1", "--json")  # nothing has changed: nothing more is sent
    assert (again.exit_code, orjson.loads(again.stdout)["letters"]) == (2, 0)
    plant.work()
    monkeypatch.setattr(replay_lead, "ALONE_SECONDS", 5)
    monkeypatch.setattr(replay_lead, "sleep", lambda _: outside_of_the_command(plant))
    assert replay.json("--resume", "1")["in_all"]["sent"] == 50
    plant.work()
    plant.load()
    assert counted(plant) == {"resolved": 50}
    assert [each["name"] for each in plant.rows("locks", "name")] == ["loader"]  # the replay's is gone
    assert plant.violations() == []


def test_a_limit_still_stops_what_is_sent_later(
    plant: Plant, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first letters are accepted, and the others are not."""
    many(plant, 20, "1,5")
    plant.run(ndjson(*(row(f"z{each:02}", value="n/a") for each in range(80))), "z.ndjson")
    monkeypatch.setattr(replaying, "AHEAD", 8)
    monkeypatch.setattr(replay_lead, "sleep", lambda _: outside_of_the_command(plant))
    done = replay("--cast", "value=decimal-comma", "--stop-above", "0.2", "--json")
    assert done.exit_code == 1
    assert "(--stop-above 0.2)" in done.stderr
    assert orjson.loads(done.stdout)["letters"] <= 20 + 8 + 8
    plant.work()
    assert counted(plant) == {"resolved": 20, "open": 80}
    assert plant.violations() == []


def test_a_batch_that_was_cut_counts_until_its_parts_have_outcomes(plant: Plant, replay: Replay) -> None:
    many(plant, 4)
    going = plant.action(Edit(set={"value": 4}))
    assert going
    [whole] = going.messages()
    resources = Resources(ProducerSettings.load(), plant.settings, going.contract, plant.broker, plant.engine)
    lead = replay_lead.Lead.of(going.action, resources, 2, lambda _: None)
    assert lead.letters == 4
    parts = halves(whole)
    claims.register_parts(plant.engine, parts)
    receive.store_split(plant.engine, whole, parts)
    lead._look()
    assert lead.ways == {part.id: 2 for part in parts}


# --- the receipts ---


def test_a_resumed_replay_says_what_was_sent_in_all(
    plant: Plant, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(plant, 50)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(replay_sending, "_wait_for_first", interrupted)
        assert replay("--set", "value=4").exit_code != 0
    [receipt] = [each for each in plant.rows("deliveries", "seq") if each["kind"] == "replay"]
    assert receipt["records"] == 20
    done = replay("--resume", "1")
    assert done.stdout.splitlines() == [
        "30 dead letters sent back in 2 batches (action 1)",
        "20 were sent before: 50 of its 50 letters in all, in 3 batches",
    ]
    [after] = [each for each in plant.rows("deliveries", "seq") if each["kind"] == "replay"]
    counts = [after[name] for name in ("records", "batches", "sent_batches", "known_batches")]
    assert counts == [50, 3, 3, 0]
    assert after["bytes"] > receipt["bytes"] > 0

"""A replay that goes ahead with some letters, at a pace, stops itself, is sent by one command, and loses no letter."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from producer.replays import lead as replay_lead
from producer.replays import sending as replay_sending
from producer.replays.sending import Pace
from store import database
from store.dead_letters import actions, sending
from store.dead_letters.actions import Action
from store.dead_letters.edits import Edit
from store.dead_letters.terms import Terms
from store.errors import SluiceError, UsageError
from store.tables import leases
from worker.dead_letters import sweep
from worker.queue.quarantine import SET_ASIDE_KEY

from .plant import Plant, ndjson, row
from .replaying import Replay, statuses

OTHER = "elsewhere:1:ab"


def many(plant: Plant, number: int, value: str = "x") -> None:
    plant.run(ndjson(*(row(f"k{each:02}", value=value) for each in range(number))))


def action(plant: Plant, seq: int = 1) -> Action:
    with database.reading(plant.engine) as connection:
        return actions.find(connection, seq)


def counted(plant: Plant) -> dict[str, int]:
    found = list(statuses(plant).values())
    return {each: found.count(each) for each in set(found)}


@pytest.fixture
def at_once(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are there, and process the first letters before the others are sent."""
    monkeypatch.setattr(replay_sending, "_wait_for_first", lambda *_: outside_of_the_command(plant))
    monkeypatch.setattr(replay_lead, "sleep", lambda _: outside_of_the_command(plant))


def outside_of_the_command(plant: Plant) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("faulthandler.dump_traceback_later", lambda *_, **__: None)  # the output has no file
        plant.work()


def test_only_the_first_letters_are_proved_and_sent(plant: Plant, replay: Replay) -> None:
    many(plant, 5)
    found = replay.json("--set", "value=4", "--first", "2")
    assert (found["letters"], found["proof"]["letters"]) == (2, 2)
    assert statuses(plant) == {
        "k00": "replaying", "k01": "replaying", "k02": "open", "k03": "open", "k04": "open",
    }  # fmt: skip
    assert Terms.of(action(plant)).first == 2


@pytest.mark.usefixtures("at_once")
def test_a_replay_stops_itself_when_too_many_are_rejected_again(plant: Plant, replay: Replay) -> None:
    many(plant, 50)
    done = replay("--stop-above", "0.5", "--json")
    assert done.exit_code == 1
    assert "20 of 20 letters were rejected again (--stop-above 0.5)" in done.stderr
    assert orjson.loads(done.stdout)["letters"] == 20
    assert counted(plant) == {"open": 50}
    assert sorted(letter.replays for letter in plant.letters()) == [0] * 30 + [1] * 20
    assert (action(plant).status, Terms.of(action(plant)).rejected) == ("stopped", 20)
    assert "action 1 is stopped" in str(replay("--resume", "1").exception)
    assert plant.violations() == []


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("options", [(), ("--stop-above", "1"), ("--set", "value=4", "--stop-above", "0")])
def test_a_replay_does_not_stop_for_what_was_foreseen_or_allowed(
    plant: Plant, replay: Replay, options: tuple[str, ...]
) -> None:
    many(plant, 50)
    found = replay.json(*options)
    assert (found["letters"], found["stopped"], found["batches"]) == (50, None, 2)
    assert action(plant).status == "running"


def test_the_receipt_of_a_replay_counts_the_first_letters_and_the_rest(plant: Plant, replay: Replay) -> None:
    many(plant, 50)
    replay.json("--set", "value=4")
    [receipt] = [each for each in plant.rows("deliveries", "seq") if each["kind"] == "replay"]
    assert (receipt["records"], receipt["batches"], receipt["sent_batches"]) == (50, 2, 2)


def test_a_replay_that_is_resumed_has_the_same_terms(
    plant: Plant, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(plant, 50)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(replay_lead, "sleep", interrupted)
        assert replay("--set", "value=4", "--rate", "10/s", "--stop-above", "0.2").exit_code != 0
    outside_of_the_command(plant)
    monkeypatch.setattr(replay_lead, "sleep", lambda _: outside_of_the_command(plant))
    waits: list[float] = []
    monkeypatch.setattr(Pace, "wait", lambda pace, letters: waits.append(letters / (pace.rate or 0)))
    assert replay.json("--resume", "1")["letters"] == 30
    assert waits == [1.0, 1.0, 1.0]
    assert Terms.of(action(plant)) == Terms(rate=10.0, stop_above=0.2, ahead=2000)


def test_a_rate_spreads_letters_over_time() -> None:
    now = 100.0
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    pace = Pace(10.0, lambda: now, sleep)
    for letters in (10, 10, 5, 1):
        pace.wait(letters)
    assert slept == [1.0, 1.0, 0.5]
    now += 60  # what was not used is not made up for
    pace.wait(10)
    pace.wait(1)
    assert slept[3:] == [1.0]


# --- one command at a time ---


def test_a_second_command_that_would_send_an_action_is_refused_by_the_name_of_the_first(
    plant: Plant, replay: Replay
) -> None:
    many(plant, 3)
    assert plant.action(Edit(set={"value": 4}))
    with database.transaction(plant.engine) as connection:
        sending.take(connection, 1, OTHER)
    done = replay("--resume", "1")
    assert isinstance(done.exception, UsageError)
    assert f"action 1 is being sent by another command ({OTHER})" in str(done.exception)
    with database.transaction(plant.engine) as connection:
        sending.release(connection, 1, OTHER, is_sent=False)
    assert replay.json("--resume", "1")["letters"] == 3
    assert plant.rows("locks WHERE name LIKE 'replay%'", "name") == []


def test_a_command_that_lost_its_lease_sends_no_more(plant: Plant) -> None:
    many(plant, 3)
    going = plant.action(Edit(set={"value": 4}), most=1)
    assert going
    going.holder = "here:1:ab"
    with database.transaction(plant.engine) as connection:
        sending.take(connection, 1, going.holder)
    messages = going.messages()
    next(messages)
    with database.transaction(plant.engine) as connection:
        connection.execute(leases.locks.update().values(holder=OTHER))
    with pytest.raises(SluiceError, match="silent for too long"):
        next(messages)


def test_a_stop_beside_the_command_that_sends_leaves_it_what_it_is_about_to_send(
    plant: Plant, replay: Replay
) -> None:
    many(plant, 3)
    going = plant.action(Edit(set={"value": 4}), most=1)
    assert going
    with database.transaction(plant.engine) as connection:
        sending.take(connection, 1, OTHER)
    messages = going.messages()
    about_to_be_sent = next(messages)
    assert replay.json("--stop", "1")["withdrawn"] == 2
    assert list(messages) == []
    plant.send_messages([about_to_be_sent])
    plant.work()
    plant.load()
    assert counted(plant) == {"resolved": 1, "open": 2}
    assert plant.violations() == []


# --- the sweep ---


class Clock:
    """The time of Redis, as the sweep asks it."""

    now = 1_000_000.0

    def __init__(self, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plant = plant
        monkeypatch.setattr(sweep, "server_time", lambda _: self.now)

    def sweep_after(self, seconds: float) -> int:
        self.now += seconds
        self.plant.redis.delete(sweep.TURN_KEY)
        return sweep.sweep(self.plant.engine, self.plant.broker)


@pytest.fixture
def clock(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(plant, monkeypatch)


def test_letters_whose_batch_redis_has_lost_are_open_again_and_a_late_one_is_refused(
    plant: Plant, replay: Replay, clock: Clock
) -> None:
    plant.run(ndjson(row("a", value="x")), "one.ndjson")
    plant.run(ndjson(row("b", value="x")), "two.ndjson")
    going = plant.action(Edit(set={"value": 4}))
    assert going
    lost, sent = going.messages()
    plant.send_messages([sent])
    assert clock.sweep_after(0) == 0
    assert clock.sweep_after(29) == 0
    assert clock.sweep_after(1) == 1
    assert counted(plant) == {"open": 1, "replaying": 1}
    plant.send_messages([lost])  # it turns up, after a failover
    plant.work()
    assert plant.redis.llen(SET_ASIDE_KEY) == 1
    assert counted(plant) == {"open": 1, "resolved": 1}
    assert action(plant).status == "finished"
    plant.load()
    assert len(plant.rows()) == 1
    assert plant.violations() == []


def test_a_batch_that_turns_up_between_two_looks_is_not_lost(plant: Plant, clock: Clock) -> None:
    many(plant, 2)
    going = plant.action(Edit(set={"value": 4}))
    assert going
    [message] = going.messages()
    assert clock.sweep_after(0) == 0
    plant.send_messages([message])
    assert clock.sweep_after(60) == 0
    queue = plant.broker.queue()
    plant.redis.lrem(queue.key, 1, message.id)
    assert clock.sweep_after(60) == 0  # missed for the first time
    assert clock.sweep_after(60) == 2


@pytest.mark.parametrize(("silent_for", "opened"), [(599, 0), (601, 2)])
def test_what_an_interrupted_replay_did_not_send_waits_ten_minutes_for_its_resumption(
    plant: Plant, replay: Replay, clock: Clock, silent_for: int, opened: int
) -> None:
    many(plant, 3)
    going = plant.action(Edit(set={"value": 4}), most=1)
    assert going
    with database.transaction(plant.engine) as connection:
        sending.take(connection, 1, OTHER)
    plant.send_messages([next(going.messages())])
    assert clock.sweep_after(3600) == 0
    with database.transaction(plant.engine) as connection:
        ended = leases._end(connection, -silent_for)
        connection.execute(leases.locks.update().values(expires_at=ended))
    assert clock.sweep_after(60) == opened
    assert counted(plant) == ({"replaying": 1, "open": 2} if opened else {"replaying": 3})
    assert plant.violations() == []


def test_the_loader_sweeps_and_a_wrong_note_in_redis_is_no_old_one(plant: Plant, clock: Clock) -> None:
    many(plant, 2)
    going = plant.action(Edit(set={"value": 4}))
    assert going
    [message] = going.messages()
    for noted in ("nan", "x", str(clock.now + 99)):
        plant.redis.hset(sweep.MISSED_KEY, message.id, noted)
        assert clock.sweep_after(0) == 0
    plant.redis.set(sweep.TURN_KEY, 1)  # a stranger's, without an end
    assert sweep.sweep(plant.engine, plant.broker) == 0
    assert 0 < int(plant.redis.ttl(sweep.TURN_KEY)) <= sweep.EVERY_SECONDS
    clock.now += 31
    plant.redis.delete(sweep.TURN_KEY)
    plant.load()
    assert counted(plant) == {"open": 2}
    assert plant.mirrored() == {letter.id for letter in plant.letters()}


def test_letters_that_a_pause_left_are_open_again_after_ten_minutes(
    plant: Plant, replay: Replay, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    many(plant, 50)
    monkeypatch.setattr(replay_lead, "ALONE_SECONDS", 0)
    replay("--set", "value=4", "--stop-above", "0.2")
    assert clock.sweep_after(60) == 0
    with database.transaction(plant.engine) as connection:
        ended = leases._end(connection, -601)
        connection.execute(leases.locks.update().values(expires_at=ended))
    assert clock.sweep_after(60) == 30
    assert counted(plant) == {"replaying": 20, "open": 30}

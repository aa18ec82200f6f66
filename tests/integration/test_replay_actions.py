"""`producer replay` as an action: proof, edits by the contract's names, an interruption, and its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from producer.replays import sending as replay_sending
from store import database
from store.dead_letters import actions, parking, states
from store.dead_letters.edits import Edit
from worker.batch import claims, poison
from worker.queue.identity import halves
from worker.queue.quarantine import SET_ASIDE_KEY
from worker.queue.send import Sent

from .plant import Plant, ndjson, row
from .replaying import Replay, statuses

MAPPED = '[sources.s]\nfields.value = "temp"\nfields.name = "a.b || a.c"\nconstants.unit = "mm"\n'


def test_a_group_is_proved_and_fixed_with_its_digits(plant: Plant, replay: Replay) -> None:
    plant.run(ndjson(row("a", value="1.234,50"), row("b", value="n/a"), row("c", value="7,25")))
    cast = ("--cast", "value=decimal-comma")
    proof = replay.json(*cast, "--dry-run")
    assert (proof["letters"], proof["would_load"], proof["rejected"]) == (3, 2, 1)
    assert [(each["reason"], each["letters"]) for each in proof["failures"]] == [("invalid_value", 1)]
    assert '"value":1234.50' in "".join(each["after"] for each in proof["samples"])
    assert replay.json(*cast, "--why", "commas", "--by", "ann")["letters"] == 3
    plant.work()
    plant.load()
    assert {each["key"]: each["value"] for each in plant.rows()} == {"a": 1234.5, "c": 7.25}
    assert statuses(plant) == {"a": "resolved", "b": "open", "c": "resolved"}
    assert plant.violations() == []


def test_the_edit_of_an_attempt_is_in_the_history_of_its_letter(plant: Plant, replay: Replay) -> None:
    plant.run(ndjson(row("a", value="x")))
    (before,) = plant.letters()
    replay.json("--set", 'value="y"')
    plant.work()
    (after,) = plant.letters()
    assert (after.payload, after.errors) == (before.payload, before.errors)
    with database.reading(plant.engine) as connection:
        claimed, rejected = states.history(connection, after.id)
    assert (claimed["verb"], rejected["verb"]) == ("claim", "reject again")
    assert orjson.loads(rejected["payload"])["value"] == "y"
    assert orjson.loads(rejected["errors"])[0]["field"] == "value"


@pytest.mark.parametrize(
    ("edit", "value"),
    [
        (["--set", "value=4"], 4.0),  # the contract's name of a raw field
        (["--set", "raw.temp=5"], 5.0),
        (["--rename", "raw.other=temp", "--drop", "raw.junk"], 6.0),
        (["--default", "value=8"], 8.0),
    ],
)
def test_an_edit_names_fields_of_the_contract_or_raw_ones(
    plant: Plant, replay: Replay, edit: list[str], value: float
) -> None:
    plant.configure(MAPPED)
    bad = {"key": "k", "ts": "2025-01-15", "a": {"b": "n"}, "temp": "", "other": 6, "junk": 1}
    plant.run(ndjson(bad), source="s")
    replay.json(*edit)
    plant.work()
    plant.load()
    assert [each["value"] for each in plant.rows()] == [value]


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (["--set", "valu=4"], "did you mean value"),
        (["--set", "name=x"], "computes it by 'a.b || a.c'"),
        (["--set", "unit=x"], "sets it to a constant"),
        (["--set", "raw.value=4"], "what the payload has there is not used"),
        (["--cast", "value=euro"], "a cast is one of"),
        (["--set", "value"], "should be FIELD=VALUE"),
        (["--payload", "{}"], "give its --id"),
        (["--edit", "nowhere.toml"], "nowhere.toml"),
        (["--resume", "1", "--set", "value=4"], "give nothing else"),
        (["--resume", "9"], "there is no action 9"),
        (["--group", "zz"], "no group of dead letters has such an id"),
    ],
)
def test_an_edit_that_would_do_nothing_is_refused_and_nothing_is_sent(
    plant: Plant, replay: Replay, edit: list[str], says: str
) -> None:
    plant.configure(MAPPED)
    plant.run(ndjson({"key": "k", "ts": "2025-01-15", "a": {"b": "n"}, "temp": ""}), source="s")
    done = replay(*edit)
    assert done.exit_code != 0
    assert says in str(done.exception)
    assert set(statuses(plant).values()) == {"open"}
    assert plant.broker.waiting() == 0


def test_an_edit_may_be_a_file(plant: Plant, replay: Replay, tmp_path: Path) -> None:
    file = tmp_path / "fix.toml"
    file.write_text('drop = ["wrong"]\n[cast]\nvalue = "number"\n[set]\nname = "pump"\n')
    plant.run(ndjson(row("a", value=" 4.50 kg", wrong=1), row("b", value="x")))
    (chosen,) = (letter.id for letter in plant.letters() if letter.record_key == "a")
    replay.json("--edit", str(file), "--set", "value=4.5", "--id", chosen)
    plant.work()
    plant.load()
    assert [(each["name"], each["value"]) for each in plant.rows()] == [("pump", 4.5)]
    file.write_text("sett = 1")
    assert "an edit has no 'sett'" in str(replay("--edit", str(file)).exception)


def test_an_interrupted_replay_is_resumed_to_its_end(
    plant: Plant, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.run(ndjson(row("a", value="x"), row("b", value="x")), "one.ndjson")
    plant.run(ndjson(row("c", value="x")), "two.ndjson")

    def interrupted(messages: Any, *_: Any, **__: Any) -> Sent:
        next(iter(messages))  # registered, and never sent
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(replay_sending, "send_batches", interrupted)
        assert replay("--set", "value=4").exit_code != 0
    assert set(statuses(plant).values()) == {"replaying"}
    assert replay.json("--set", "value=5") == {"action": None, "letters": 0, "in_other_actions": 3}

    assert replay.json("--resume", "1")["letters"] == 3
    plant.work()
    plant.load()
    assert {each["key"]: each["value"] for each in plant.rows()} == {"a": 4.0, "b": 4.0, "c": 4.0}
    assert set(statuses(plant).values()) == {"resolved"}
    assert plant.violations() == []
    assert "action 1 is finished" in str(replay("--resume", "1").exception)


def test_a_replay_takes_the_filters_of_the_list_and_its_action_has_them(plant: Plant, replay: Replay) -> None:
    plant.run(ndjson(row("a", value="x"), row("b", value="y z")))
    plant.run(ndjson(row("c", value="x")))
    chosen = ("--shape", "a+", "--delivery", "1", "--until", "2999-01-01")
    assert replay.json(*chosen, "--dry-run")["letters"] == 1
    assert replay.json(*chosen)["letters"] == 1
    with database.reading(plant.engine) as connection:
        action = actions.find(connection, 1)
    assert action.filter == {"shapes": ["a+"], "delivery": 1, "until": "2999-01-01"}
    assert statuses(plant) == {"a": "replaying", "b": "open", "c": "open"}
    assert "give nothing else" in str(replay("--resume", "1", "--shape", "a+").exception)


def test_a_stopped_replay_opens_what_is_not_on_its_way(plant: Plant, replay: Replay) -> None:
    plant.run(ndjson(row("a", value="x")), "one.ndjson")
    plant.run(ndjson(row("b", value="x")), "two.ndjson")
    assert replay.json("--set", "value=4")["batches"] == 2
    lost, _ = plant.broker.queue().job_ids
    plant.redis.lrem(plant.broker.queue().key, 1, lost)  # as a Redis that was restored from a backup
    stopped = replay.json("--stop", "1")
    assert (stopped["withdrawn"], stopped["outcomes"]) == (1, {"waiting": 1, "withdrawn": 1})
    plant.work()
    plant.load()
    assert sorted(statuses(plant).values()) == ["open", "resolved"]
    assert plant.violations() == []


def test_a_replay_of_a_file_with_its_own_notation_reads_what_is_not_edited_in_that_notation(
    plant: Plant, replay: Replay
) -> None:
    plant.configure('[sources.s]\ndelimiter = ";"\ndecimal = ","\nthousands = "."\n')
    plant.run(b"key;name;value;ts\na;n;1.234;never\n", "own.csv", source="s")
    replay.json("--set", "ts=2025-01-15")
    plant.work()
    plant.load()
    assert [each["value"] for each in plant.rows()] == [1234.0]


def test_a_replay_that_was_cut_before_a_crash_is_no_forgery_when_its_parts_are_done(plant: Plant) -> None:
    plant.run(ndjson(row("a", value="x"), row("b", value="x")))
    sending = plant.action(Edit(set={"value": 4}))
    assert sending is not None
    [whole] = sending.messages()
    parts = halves(whole)
    claims.register_parts(plant.engine, parts)
    plant.send_messages(parts)
    plant.work()  # and the worker that cut it was killed before it noted that
    assert set(statuses(plant).values()) == {"resolved"}
    for _ in range(poison.TOLERATED):
        poison.begin(plant.redis, whole)
    plant.send_messages([whole])
    plant.work()
    assert plant.redis.llen(SET_ASIDE_KEY) == 0
    assert sorted(each["kind"] for each in plant.rows("batches", "seq")) == [
        "file",
        "replay",
        "replay",
        "split",
    ]
    plant.load()
    assert len(plant.rows()) == 2
    assert plant.violations() == []


def test_a_letter_is_first_seen_when_a_batch_of_its_file_is_processed_as_pages_of_a_file_rely_on(
    plant: Plant,
) -> None:
    plant.run(ndjson(row("a", value="x"), row("b")))
    plant.replay(Edit(set={"value": "y"}))
    plant.work()
    found = plant.rows("dead_letters", "id"), plant.rows("batches", "seq")
    assert [(each["file"], each["first_seen_at"]) for each in found[0]] == [
        (each["file"], each["processed_at"]) for each in found[1][:1]
    ]


def test_parked_letters_are_opened_by_the_loader_and_published_when_their_time_has_come(plant: Plant) -> None:
    plant.run(ndjson(row("a", value="x")))
    with database.transaction(plant.engine) as connection:
        park = actions.begin(connection, actions.Order("park", {}, "later", "ann"), [])
        assert park is not None
        parking.open_at(connection, park.seq, "2999-01-01T00:00:00.000000Z")
    plant.load()
    assert (statuses(plant), plant.mirrored()) == ({"a": "parked"}, set())
    with database.transaction(plant.engine) as connection:
        parking.open_at(connection, park.seq, "2020-01-01T00:00:00.000000Z")
    plant.load()
    assert (statuses(plant), len(plant.mirrored())) == ({"a": "open"}, 1)

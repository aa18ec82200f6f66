"""`store letters export`, a spreadsheet, `producer replay --from`: what was changed there is sent, and nothing else."""

from __future__ import annotations

import csv
import io
from typing import Any

import orjson
import pytest

from producer.replays import sending as outgoing
from store import database
from store.dead_letters import states
from store.dead_letters.payloads import MISSING
from store.dead_letters.transfer import export
from worker.queue.send import Sent

from ..plant import ndjson, row
from ..replaying import Replay, statuses
from .desk import Desk


def test_what_was_changed_is_sent_and_what_was_not_is_left_alone(desk: Desk) -> None:
    plant = desk.plant
    plant.run(
        ndjson(row("a", value="x", exact=1234567890123456789), row("b", value="y"), row("c", value="z"))
    )
    rows = desk.export()
    assert [each["letter.note"] for each in rows] == ["", "", ""]
    rows[0]["value"] = "4.5"
    rows[2] |= {"value": "7", "name": "=cmd()"}
    desk.save(rows, delimiter=";")
    proof = desk.proof()
    assert (proof["letters"], proof["would_load"], proof["from"]["unchanged"]) == (2, 2, 1)
    assert [
        (each["column"], each["cells"], each["before"], each["after"]) for each in proof["from"]["columns"]
    ] == [
        ("value", 2, '"x"', '"4.5"'),
        ("name", 1, '"pump"', '"=cmd()"'),
    ]
    assert plant.broker.waiting() == 0
    done = desk.send("--why", "by hand", "--by", "ann")
    assert "2 dead letters sent back in 1 batch (action 1)" in done.stdout
    assert '2  value: "x" -> "4.5"' in done.stdout
    desk.work()
    assert desk.target() == {"a": 4.5, "c": 7.0}
    assert statuses(plant) == {"a": "resolved", "b": "open", "c": "resolved"}
    a, _ = plant.rows()
    assert orjson.loads(a["extra"]) == {"exact": 1234567890123456789}
    with database.reading(plant.engine) as connection:
        claimed, accepted = states.history(connection, rows[0]["letter.id"])
    assert (claimed["action_seq"], orjson.loads(accepted["payload"])["value"]) == (1, "4.5")
    [action] = plant.rows("actions", "seq")
    assert (action["why"], action["by"], action["status"]) == ("by hand", "ann", "finished")
    assert orjson.loads(action["filter"]) == {"from": str(desk.path)}


def test_an_unchanged_file_sends_nothing(desk: Desk) -> None:
    desk.plant.run(ndjson(row("a", value="x"), row("b", value="y")))
    for write in (export.write_csv, export.write_ndjson):
        desk.export(write)
        assert "no row changes a letter: nothing to replay" in desk.send().stdout
    assert desk.plant.rows("actions", "seq") == []
    assert set(statuses(desk.plant).values()) == {"open"}


def test_a_letter_of_a_csv_file_has_its_columns_and_keeps_its_notation(desk: Desk) -> None:
    desk.plant.configure('[sources.s]\ndelimiter = ";"\ndecimal = ","\nthousands = "."\n')
    desk.plant.run(b"key;name;value;ts;unit\na;n;1.234;never;\n", "own.csv", source="s")
    [only] = desk.export()
    assert (only["unit"], only["value"]) == ("", "1.234")
    desk.save([only | {"ts": "2025-01-15"}])
    assert desk.send().exit_code == 0
    desk.work()
    assert desk.target() == {"a": 1234.0}


def test_rows_of_ndjson_are_taken_with_their_types(desk: Desk) -> None:
    desk.plant.run(ndjson(row("a", value="x", junk=[1], exact=1.10)))
    desk.export(export.write_ndjson)
    found = orjson.loads(desk.path.read_bytes())
    desk.path.write_bytes(orjson.dumps(found | {"value": 4.5, "junk": None}))
    assert desk.send().exit_code == 0
    desk.work()
    assert desk.target() == {"a": 4.5}
    assert [orjson.loads(each["extra"]) for each in desk.plant.rows()] == [{"exact": 1.1}]


def test_fields_with_the_names_of_ours_come_back(desk: Desk) -> None:
    odd = {"letter.id": "x", "raw.a": 1, "": 2, "=x": "=y"}
    desk.plant.run(ndjson(row("a", value="x", **odd)))
    [only] = desk.export()
    assert only["raw.letter.id"] == "x"
    desk.save([only | {"value": "1"}])
    assert desk.send().exit_code == 0
    desk.plant.work()
    [accepted] = [each for each in desk.plant.rows("letter_events", "seq") if each["verb"] == "accept"]
    assert orjson.loads(accepted["payload"]) == row("a", value="1", **odd)


def test_a_file_of_utf_16_as_spreadsheets_save_it_is_read(desk: Desk) -> None:
    desk.plant.run(ndjson(row("a", value="x", name="Grün")))
    [only] = desk.export()
    out = io.StringIO()
    writer = csv.DictWriter(out, list(only), delimiter="\t")
    writer.writeheader()
    writer.writerow(only | {"value": "1"})
    desk.path.write_bytes(out.getvalue().encode("utf-16"))
    assert "(read with '\\t' between its cells): 1 changed" in desk.send().stdout
    desk.work()
    assert [each["name"] for each in desk.plant.rows()] == ["Grün"]


def test_a_killed_replay_of_a_file_goes_on_without_the_file(
    desk: Desk, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.plant.run(ndjson(row("a", value="x"), row("b", value="x")), "one.ndjson")
    desk.plant.run(ndjson(row("c", value="x")), "two.ndjson")
    desk.save([each | {"value": str(number)} for number, each in enumerate(desk.export(), 1)])

    def interrupted(messages: Any, *_: Any, **__: Any) -> Sent:
        next(iter(messages))  # registered, and never sent
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(outgoing, "send_batches", interrupted)
        assert desk.send().exit_code != 0
    assert set(statuses(desk.plant).values()) == {"replaying"}
    desk.path.unlink()
    assert replay.json("--resume", "1")["letters"] == 3
    desk.work()
    assert desk.target() == {"a": 1.0, "b": 2.0, "c": 3.0}


def test_a_proof_of_a_file_permits_just_this_file(desk: Desk) -> None:
    desk.plant.run(ndjson(row("a", value="x"), row("b", value="x")))
    rows = desk.export()
    desk.save([each | {"value": "1"} for each in rows])
    digest = desk.proof()["digest"]
    assert f"--from {desk.path} --proof {digest[:12]}" in desk.send("--dry-run").stdout
    assert "is of a file: give --from FILE too" in str(desk.replay("--proof", digest).exception)
    desk.save([each | {"value": "2"} for each in rows])
    done = desk.send("--proof", digest)
    assert "does not hold any more: the edit is" in str(done.exception)
    assert f"--from {desk.path} --dry-run" in str(done.exception)
    desk.save([each | {"value": "1"} for each in rows])
    assert desk.send("--proof", digest, "--first", "1").exit_code != 0
    assert desk.send("--proof", digest).exit_code == 0
    desk.work()
    assert desk.target() == {"a": 1.0, "b": 1.0}


def test_only_the_first_letters_of_a_file_are_sent_on_trial(desk: Desk) -> None:
    desk.plant.run(ndjson(*(row(key, value="x") for key in "abc")))
    desk.save([each | {"value": "1"} for each in desk.export()])
    assert desk.send("--first", "1").exit_code == 0
    desk.work()
    assert desk.target() == {"a": 1.0}
    assert list(desk.refusals()) == [2]  # it is not open any more


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_letter_whose_payload_is_lost_is_not_sent_unchanged(desk: Desk) -> None:
    desk.plant.run(ndjson(row("a", value="x")))
    desk.save([each | {"value": "1"} for each in desk.export()])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(outgoing, "send", _interrupted)
        desk.send()
    with database.transaction(desk.plant.engine) as connection:
        connection.exec_driver_sql("DELETE FROM action_payloads")
    done = desk.replay("--resume", "1")
    assert MISSING in done.stderr
    assert statuses(desk.plant) == {"a": "open"}

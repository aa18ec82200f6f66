"""Replay: dead letters sent back through the queue, unchanged or edited."""

from __future__ import annotations

import orjson
import pytest
from typer.testing import CliRunner

from producer.cli.app import app
from producer.cli.command import Resources
from producer.settings import ProducerSettings
from store import database
from store.dead_letters.edits import Edit
from store.reports import receipts
from worker.contract import load_contract
from worker.dead_letters import mirror
from worker.dead_letters import proof as proving

from .plant import Plant, ndjson, row

TEMP = {"key": "a", "name": "n", "temp": 4, "ts": "2025-01-15T08:00:00Z"}
FIX = '[sources.s]\nfields.value = "temp"\n'


def test_letters_accepted_after_a_fix_are_resolved_and_leave_the_dlq(plant: Plant) -> None:
    plant.run(ndjson(TEMP, TEMP | {"key": "b"}), source="s")
    assert len(plant.mirrored()) == 2
    plant.configure(FIX)
    sent, refused = plant.replay()
    plant.work()
    plant.load()
    assert (sent.records, refused) == (2, [])
    assert plant.letters() == []
    assert {(each.status, each.replays) for each in plant.letters(None)} == {("resolved", 1)}
    assert plant.mirrored() == set()
    assert [(each["key"], each["value"]) for each in plant.rows()] == [("a", 4.0), ("b", 4.0)]
    assert plant.violations() == []


def test_lineage_leads_from_a_replayed_record_to_its_file_and_line(plant: Plant) -> None:
    path = plant.file(ndjson(row("good"), TEMP))
    plant.run(path, source="s")
    plant.configure(FIX)
    plant.replay()
    plant.work()
    plant.load()
    chain = plant.chain("a")
    assert [entry.step for entry in chain] == ["reject", "replay", "stage", "load"]
    assert [entry.parent_id for entry in chain] == [None, *(entry.id for entry in chain[:-1])]
    assert {(entry.file, entry.line) for entry in chain} == {(str(path), 2)}
    assert [(entry.comes_from, entry.goes_to) for entry in chain] == [
        ("file", "dead_letters"),
        ("dead_letters", "queue"),
        ("dead_letters", "staging"),
        ("staging", "target"),
    ]


def test_a_letter_rejected_again_stays_open_as_the_same_letter(plant: Plant) -> None:
    plant.run(ndjson(TEMP), source="s")
    (before,) = plant.letters()
    plant.replay()
    plant.work()
    (after,) = plant.letters()
    assert (after.id, after.payload) == (before.id, before.payload)
    assert (after.occurrences, after.replays) == (2, 1)
    assert after.event_id != before.event_id
    assert plant.mirrored() == {after.id}
    assert [entry.step for entry in plant.chain("a")] == ["reject", "replay", "reject"]
    assert plant.violations() == []


def test_a_letter_rejected_again_can_be_replayed_again(plant: Plant) -> None:
    plant.run(ndjson(TEMP), source="s")
    plant.replay()
    plant.work()
    plant.configure(FIX)
    plant.replay()
    plant.work()
    plant.load()
    assert plant.letters() == []
    steps = [entry.step for entry in plant.chain("a")]
    assert steps == ["reject", "replay", "reject", "replay", "stage", "load"]
    assert plant.violations() == []


def test_replaying_twice_before_it_is_processed_has_one_effect(plant: Plant) -> None:
    plant.run(ndjson(TEMP), source="s")
    plant.configure(FIX)
    first, _ = plant.replay()
    second, _ = plant.replay()  # the letter is in an action already
    assert (first.sent_batches, second.ids) == (1, [])
    plant.work()
    plant.load()
    assert plant.mirrored() == set()
    assert plant.report()["replayed"] == 1
    assert [letter.replays for letter in plant.letters(None)] == [1]
    assert plant.violations() == []


def test_a_replay_edited_while_another_is_on_its_way_stages_no_record_twice(plant: Plant) -> None:
    plant.run(ndjson(row(value="x")))
    plant.replay(Edit(set={"value": 1}))
    plant.replay(Edit(set={"value": 1, "name": "pump"}))
    plant.work()
    plant.load()
    assert plant.letters() == []
    assert len(plant.rows()) == 1
    assert plant.violations() == []


def test_only_the_chosen_reason_is_replayed(plant: Plant) -> None:
    plant.run(ndjson(row("a", value="x"), row("b", ts="never"), row("c", value="y")))
    sent, _ = plant.replay(reasons=["invalid_value"])
    assert sent.records == 2
    plant.work()
    assert {(each.reason, each.replays) for each in plant.letters()} == {
        ("invalid_value", 1),
        ("invalid_timestamp", 0),
    }


def test_only_the_chosen_letter_is_replayed(plant: Plant) -> None:
    plant.run(ndjson(row("a", value="x"), row("b", value="x")))
    chosen = plant.letters()[0]
    sent, _ = plant.replay(Edit(set={"value": 1}), ids=[chosen.id])
    plant.work()
    assert sent.records == 1
    assert chosen.id not in {letter.id for letter in plant.letters()}
    assert len(plant.letters()) == 1


def test_an_edit_sets_fields_and_removes_others(plant: Plant) -> None:
    plant.run(ndjson(row("a", value="x", wrong=1)))
    plant.replay(Edit(set={"value": 2.5, "wrong": None, "note": "by hand"}))
    plant.work()
    plant.load()
    (loaded,) = plant.rows()
    assert (loaded["value"], orjson.loads(loaded["extra"])) == (2.5, {"note": "by hand"})
    replayed = next(entry for entry in plant.chain("a") if entry.step == "replay")
    assert replayed.detail == "edited and sent back"


def test_a_csv_row_is_edited_under_its_column_names(plant: Plant) -> None:
    plant.run(b"key,name,value,ts\na,n,x,2025-01-15\n", "rows.csv")
    plant.replay(Edit(set={"value": 3}))
    plant.work()
    plant.load()
    assert [(each["key"], each["name"], each["value"]) for each in plant.rows()] == [("a", "n", 3.0)]
    assert plant.letters() == []


def test_a_csv_row_is_replayed_under_its_own_header_and_delimiter(plant: Plant) -> None:
    plant.run(b"key\tname\ttemp\tts\na\tn\t4\t2025-01-15\n", "rows.tsv", source="s")
    plant.run(b"temp,ts,key,name\n5,2025-01-15,b,n\n", "rows.csv", source="s")
    plant.configure(FIX)
    plant.replay()
    plant.work()
    plant.load()
    assert [(each["key"], each["value"]) for each in plant.rows()] == [("a", 4.0), ("b", 5.0)]


def test_an_edit_can_replace_the_whole_payload(plant: Plant) -> None:
    plant.run(b'{"key": "a"')
    plant.replay(Edit(payload=orjson.dumps(row("a")).decode()))
    plant.work()
    plant.load()
    assert plant.letters() == []
    assert [entry.step for entry in plant.chain("a")] == ["reject", "replay", "stage", "load"]
    assert plant.violations() == []


@pytest.mark.parametrize("payload", [b"nonsense", b"[1]", b'{"key":"\xff"}', b'"a"'])
def test_a_field_cannot_be_set_in_a_payload_that_is_not_an_object(plant: Plant, payload: bytes) -> None:
    plant.run(payload)
    sent, refused = plant.replay(Edit(set={"key": "a"}))
    assert sent.records == 0
    assert "--payload" in refused[0]


def test_bytes_that_are_not_text_are_replayed_unchanged(plant: Plant) -> None:
    plant.run(b'{"key":"\xff"}\n{"key":"\0"}\n')
    before = {letter.id: letter.raw for letter in plant.letters()}
    plant.replay()
    plant.work()
    after = {letter.id: letter.raw for letter in plant.letters()}
    assert after == before
    assert [letter.occurrences for letter in plant.letters()] == [2, 2]
    assert plant.violations() == []


def test_a_truncated_payload_is_refused_unless_it_is_replaced(plant: Plant) -> None:
    plant.run(ndjson(row(name="n" * 9000)), max_record_bytes=5000)
    sent, refused = plant.replay()
    assert sent.ids == []
    assert "max_record_bytes" in refused[0]
    plant.replay(Edit(payload=orjson.dumps(row()).decode()))
    plant.work()
    assert plant.letters() == []


def test_a_resolved_payload_that_is_rejected_again_reopens_its_letter(plant: Plant) -> None:
    path = plant.file(ndjson(TEMP))
    plant.run(path, source="s")
    plant.replay(Edit(set={"value": 1}))
    plant.work()
    plant.load()
    assert plant.letters() == []
    plant.configure('[sources.s]\nconstants.unit = "mm"\n')  # another mapping: the file is judged again
    plant.run(path, source="s")
    (letter,) = plant.letters()
    assert (letter.status, letter.resolved_at, letter.occurrences) == ("open", None, 2)
    assert plant.mirrored() == {letter.id}
    assert plant.violations() == []


def test_the_same_delivery_in_other_batches_does_not_reopen_a_resolved_letter(plant: Plant) -> None:
    path = plant.file(ndjson(TEMP, row("b")))
    in_other_batches = plant.messages(path, source="s", batch_records=1)
    plant.run(path, source="s")
    plant.replay(Edit(set={"value": 1}))
    plant.work()
    plant.load()
    digest = plant.digest()
    plant.send_messages(in_other_batches)
    plant.work()
    plant.load()
    (letter,) = plant.letters(None)
    assert (letter.status, letter.occurrences) == ("resolved", 2)
    assert plant.mirrored() == set()
    assert plant.digest() == digest
    assert plant.violations() == []


def test_a_resolved_letter_leaves_the_dlq_although_other_batches_of_its_delivery_come_first(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = plant.file(ndjson(TEMP, row("b")))
    in_other_batches = plant.messages(path, source="s", batch_records=1)
    plant.run(path, source="s")
    plant.replay(Edit(set={"value": 1}))
    with monkeypatch.context() as patched:
        patched.setattr(
            mirror, "flush_outbox", lambda *_: None
        )  # as a worker that is killed after its commit
        plant.work()
    assert len(plant.mirrored()) == 1
    plant.send_messages(in_other_batches)
    plant.work()
    assert plant.mirrored() == set()


def test_a_replayed_record_that_is_older_than_the_target_is_resolved_and_changes_nothing(
    plant: Plant,
) -> None:
    plant.run(ndjson(TEMP, row("a", "2025-01-15T09:00:00Z")), source="s")
    plant.configure(FIX)
    plant.replay()
    plant.work()
    plant.load()
    assert [each["value"] for each in plant.rows()] == [1.5]
    assert plant.letters() == []
    assert plant.violations() == []


def test_letters_of_several_sources_and_files_are_not_mixed_in_a_batch(plant: Plant) -> None:
    plant.run(ndjson(TEMP), source="s")
    plant.run(ndjson(TEMP), "other.ndjson", source="t")
    plant.run(ndjson(TEMP | {"key": "b"}), "third.ndjson", source="s")
    sent, _ = plant.replay()
    assert len(sent.ids) == 3


def test_a_dry_run_says_what_would_become_of_the_letters_and_sends_nothing(plant: Plant) -> None:
    plant.run(ndjson(TEMP, TEMP | {"key": "b", "ts": "never"}, TEMP | {"key": "c"}), source="s")
    plant.run(ndjson(row("c", "2026-01-01")), source="s")
    plant.configure(FIX)
    contract = load_contract(plant.settings)
    with database.reading(plant.engine) as connection:
        by = proving.JudgedBy(contract, plant.settings, {})
        proof = proving.prove(connection, proving.open_ones([]), Edit(), by)
    counts = (proof.letters, proof.would_load, proof.superseded, proof.rejected, proof.refused)
    assert counts == (3, 1, 1, 1, 0)
    ids = {letter.record_key: letter.id for letter in plant.letters()}
    (failure,) = proof.failures
    assert (failure.reason, failure.sample) == ("invalid_timestamp", ids["b"])
    assert failure.faults == [{"field": "ts", "rule": "time", "shape": "a+"}]
    assert {each["id"] for each in proof.samples} == {ids["a"], ids["c"]}
    assert plant.broker.waiting() == 0


def test_a_replay_records_one_row_for_each_source(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.run(ndjson(TEMP, TEMP | {"key": "b"}), source="s")
    plant.run(b"key,name,value,ts\na,n,cloudy,2025-01-15", "r.csv", source="other")
    resources = Resources(
        ProducerSettings.load(), plant.settings, load_contract(plant.settings), plant.broker, plant.engine
    )
    monkeypatch.setattr(Resources, "open", lambda: resources)
    done = CliRunner().invoke(app, ["replay", "--json"], catch_exceptions=False)
    found = orjson.loads(done.stdout)
    assert (found.pop("proof")["rejected"], found.pop("stopped")) == (3, None)
    assert found.pop("in_all") == {
        "letters": 3, "sent_before": 0, "sent": 3, "batches": 2, "outcomes": {"waiting": 3}
    }  # fmt: skip
    assert found == {
        "action": 1, "letters": 3, "batches": 2, "sent_batches": 2, "known_batches": 0, "refused": 0
    }  # fmt: skip
    with database.reading(plant.engine) as connection:
        newest, oldest, *_ = receipts.recent(connection, 10)["deliveries"]
    assert (newest["kind"], newest["source"], newest["file"]) == ("delivery of a replay", "s", "dead_letters")
    assert (newest["records_in"], newest["outcomes"]["sent_batches"]) == (2, 1)
    assert (oldest["source"], oldest["records_in"]) == ("other", 1)

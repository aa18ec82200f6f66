"""The same payload, accepted later by the normal way, closes its letter; and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest

from store import database
from store.dead_letters import actions, states
from store.dead_letters.actions import Order
from store.dead_letters.edits import Edit
from store.lineage import trace
from store.reports.one_letter.view import view
from store.tables import dead_letters
from worker.batch import arrivals

from .plant import Plant, ndjson, row

COMMA = '[sources.s]\ndecimal = ","\nthousands = "."\n'
FIELDS = '[sources.s]\nfields.value = "temp"\n'
BAD = row("a", value=None, temp=4.5)
CSV = b'key,name,value,ts\na,pump,"4,5",2025-01-15T08:00:00Z\nb,pump,2,2025-01-15T08:00:00Z\n'


def status_of(plant: Plant) -> dict[str, str]:
    return {str(letter.record_key): letter.status for letter in plant.letters(None)}


def act(plant: Plant, verb: str) -> None:
    with database.transaction(plant.engine) as connection:
        chosen = dead_letters.conditions(connection)
        assert actions.begin(connection, Order(verb, {}, "why", "ann"), chosen)


def holds(plant: Plant) -> None:
    """What must hold whatever happened."""
    assert plant.violations() == []
    assert plant.mirrored() == {letter.id for letter in plant.letters("open")}


def test_a_mended_mapping_and_the_same_file_close_its_letters(plant: Plant) -> None:
    plant.run(ndjson(BAD, row("b"), {"key": "x"}), source="s")
    assert status_of(plant) == {"a": "open", "x": "open"}
    plant.configure(FIELDS)
    plant.run(ndjson(BAD, row("b"), {"key": "x"}), source="s")
    assert status_of(plant) == {"a": "resolved", "x": "open", "b": "open"}  # b has no `temp`
    holds(plant)
    (letter,) = plant.letters("resolved")
    with database.reading(plant.engine) as connection:
        (event,) = view(connection, letter.id).history
        family = trace.of_id(connection, letter.id)
    assert (event["verb"], event["before"], event["after"]) == ("arrive", "open", "resolved")
    assert event["accepted"]["delivery"] == 2
    assert event["accepted"]["position"] == 0
    assert [entry.step for entry in family] == ["reject", "stage", "load"]
    assert event["accepted"]["id"] in {entry.id for entry in family}


@pytest.mark.parametrize(("header", "becomes"), [(b"key,name", "resolved"), (b"name,key", "open")])
def test_a_csv_row_is_the_same_in_another_notation_and_not_under_another_header(
    plant: Plant, header: bytes, becomes: str
) -> None:
    plant.run(CSV, "orders.csv", source="s")
    assert status_of(plant) == {"a": "open"}
    plant.configure(COMMA)
    plant.run(CSV.replace(b"key,name", header), "other.csv", source="s")
    assert status_of(plant) == {"a": becomes}
    assert [each["key"] for each in plant.rows()] == (["a", "b"] if becomes == "resolved" else ["b", "pump"])
    holds(plant)


def test_another_source_and_another_payload_close_nothing(plant: Plant) -> None:
    plant.run(ndjson(BAD), source="s")
    plant.configure(FIELDS + FIELDS.replace("sources.s", "sources.other"))
    plant.run(ndjson(BAD), source="other")
    plant.run(ndjson({**BAD, "temp": 4.25}), source="s")
    assert status_of(plant) == {"a": "open"}
    holds(plant)


def test_letters_that_are_parked_close_and_those_discarded_or_in_an_action_do_not(plant: Plant) -> None:
    for verb, becomes in (("park", "resolved"), ("discard", "discarded"), ("replay", "replaying")):
        plant.configure("")
        bad = row(verb, value=None, temp=1)
        plant.run(ndjson(bad), f"{verb}.ndjson", source="s")
        with database.transaction(plant.engine) as connection:
            chosen = dead_letters.conditions(connection, status="open")
            assert actions.begin(connection, Order(verb, {}, "why", "ann"), chosen)
        plant.configure(FIELDS)
        plant.run(ndjson(bad), f"{verb}.ndjson", source="s")
        assert status_of(plant)[verb] == becomes
    holds(plant)


def test_a_letter_that_is_being_replayed_is_left_to_its_action(plant: Plant) -> None:
    plant.run(ndjson(BAD), source="s")
    plant.configure(FIELDS)
    sending = plant.action()
    assert sending is not None
    plant.run(ndjson(BAD), source="s")
    assert status_of(plant) == {"a": "replaying"}
    plant.send_messages(list(sending.messages()))
    plant.work()
    plant.load()
    assert status_of(plant) == {"a": "resolved"}
    assert [(each["key"], each["value"]) for each in plant.rows()] == [("a", 4.5)]
    holds(plant)


def test_an_edited_replay_closes_no_letter_but_its_own(plant: Plant) -> None:
    plant.run(ndjson(row("a", value="x")), source="s")
    plant.run(ndjson(row("b", value=None)), "b.ndjson", source="s")
    (other,) = (letter for letter in plant.letters() if letter.record_key == "b")
    plant.replay(Edit(payload=other.payload), ids=[each.id for each in plant.letters() if each != other])
    plant.work()
    assert status_of(plant) == {"a": "open", "b": "open"}
    holds(plant)


@pytest.mark.parametrize("records", [1, 2, 7])
def test_every_occurrence_of_a_payload_is_one_letter_and_the_last_record_closes_it(
    plant: Plant, records: int
) -> None:
    plant.run(ndjson(*[BAD] * records), source="s")
    plant.configure(FIELDS)
    plant.run(ndjson(*[BAD] * records), source="s", batch_records=2)
    (letter,) = plant.letters("resolved")
    assert letter.occurrences == records
    with database.reading(plant.engine) as connection:
        verbs = [event["verb"] for event in states.history(connection, letter.id)]
    assert verbs == ["arrive"]
    holds(plant)


def test_a_record_closes_only_what_was_rejected_before_it_in_the_order_of_deliveries(plant: Plant) -> None:
    """Delivery 1 is accepted and 2 rejected, though 2 is processed first: the letter stays."""
    plant.configure(FIELDS)
    accepted = plant.messages(plant.file(ndjson(BAD)), "s")
    plant.configure("")
    plant.send_messages(plant.messages(plant.file(ndjson(BAD)), "s"))
    plant.work()
    plant.configure(FIELDS)
    plant.send_messages(accepted)
    plant.work()
    assert [each["staged"] for each in plant.rows("batches", "seq")] == [0, 1]
    assert status_of(plant) == {"a": "open"}
    holds(plant)


def test_a_late_rejection_of_an_earlier_delivery_does_not_open_a_closed_letter(plant: Plant) -> None:
    plant.run(ndjson(BAD), source="s")
    late = plant.messages(plant.file(ndjson(BAD, row("c")), "late.ndjson"), "s")
    plant.configure(FIELDS)
    plant.run(ndjson(BAD), source="s")
    plant.configure("")
    plant.send_messages(late)
    plant.work()
    (letter,) = plant.letters(None)
    assert (letter.status, letter.occurrences) == ("resolved", 2)
    holds(plant)


def test_a_payload_that_is_rejected_again_later_opens_its_letter_again(plant: Plant) -> None:
    plant.run(ndjson(BAD), source="s")
    plant.configure(FIELDS)
    plant.run(ndjson(BAD), source="s")
    plant.configure("")
    plant.run(ndjson(BAD, row("b")), "later.ndjson", source="s")
    assert status_of(plant) == {"a": "open"}
    with database.reading(plant.engine) as connection:
        history = states.history(connection, plant.letters()[0].id)
    assert [event["verb"] for event in history] == ["arrive", "reject"]
    holds(plant)


def test_a_record_that_was_too_large_closes_its_letter_once_it_is_let_in(plant: Plant) -> None:
    large = ndjson(row("a", note="é" * 3000))
    plant.run(large, source="s", max_record_bytes=1000)
    assert plant.reasons() == ["too_large"]
    plant.run(ndjson(row("a", note="é" * 2999)), "other.ndjson", source="s")
    assert plant.reasons() == ["too_large"]
    plant.configure("[sources.s]\nconstants.unit = 'mm'\n")  # a new delivery
    plant.run(large, source="s")
    assert plant.reasons() == []
    holds(plant)


def test_bytes_that_did_not_decode_close_their_letter_in_the_right_encoding(plant: Plant) -> None:
    row_in_latin = "a,Grün,1,2025-01-15T08:00:00Z\n".encode("latin-1")
    file = b"key,name,value,ts\n" + row_in_latin
    plant.run(file, "a.csv", source="s")
    assert plant.reasons() == ["undecodable"]
    plant.run(file, "a.csv", source="s", dialect={"encoding": "latin-1"})
    assert plant.reasons() == []
    holds(plant)


def test_a_text_that_looks_like_the_base64_of_bytes_is_another_payload(plant: Plant) -> None:
    plant.configure('[sources.s]\nconstants = {name = "n", value = 1, ts = "2025-01-15T08:00:00Z"}\n')
    plant.run(b"key\n\x80\x80\x80\n", "a.csv", source="s")
    (letter,) = plant.letters()
    plant.run(b"key\n" + letter.payload.encode() + b"\n", "b.csv", source="s")
    assert plant.reasons() == ["undecodable"]
    assert [each["key"] for each in plant.rows()] == [letter.payload]
    holds(plant)


def test_records_that_a_policy_skips_close_nothing(plant: Plant) -> None:
    bad = row("a", ts="2025-01-15T08:00:00Z", value=None, temp=1)
    plant.run(ndjson(bad, row("b", "2025-01-20T08:00:00Z")), source="s")
    plant.configure(FIELDS + 'late = "skip"\n')
    plant.run(ndjson(bad, row("b", "2025-01-20T08:00:00Z")), source="s")
    assert [each["skipped"] for each in plant.rows("batches", "seq")] == [0, 1]
    assert status_of(plant)["a"] == "open"
    holds(plant)


@pytest.mark.parametrize("beforehand", [True, False])
def test_many_letters_are_looked_up_by_the_hashes_of_records(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, beforehand: bool
) -> None:
    """Also of letters that came while the batch was judged."""
    if not beforehand:
        monkeypatch.setattr(arrivals, "hashed", lambda *_: None)
    rows = [row(f"k{number}", value=None, temp=number) for number in range(20)]
    plant.run(ndjson(*rows), source="s")
    plant.configure(FIELDS)
    read: list[Any] = []
    heads = dead_letters.heads
    monkeypatch.setattr(dead_letters, "heads", lambda *given: read.append(given) or heads(*given))
    plant.run(ndjson(*rows[:15]), "many.ndjson", source="s")
    assert read == []
    assert len(plant.letters()) == 5
    plant.run(ndjson(*rows[15:], *(row(f"n{each}", temp=1) for each in range(90))), "few.ndjson", source="s")
    assert len(read) == 1
    assert plant.letters() == []
    holds(plant)


def test_a_source_without_waiting_letters_hashes_no_record(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.run(ndjson({"key": "x"}), source="other")
    plant.run(ndjson(BAD), source="s")
    act(plant, "discard")
    monkeypatch.setattr(arrivals.Ids, "of", lambda *_: pytest.fail("records were hashed"))
    plant.run(ndjson(row("b"), row("c")), "later.ndjson", source="s")
    holds(plant)

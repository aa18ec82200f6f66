from __future__ import annotations

from typing import Any

import pytest

from store import database
from store.dead_letters import groups, states
from store.tables import dead_letters
from store.tables.dead_letters import DeadLetter
from tests.integration.store.conftest import AT, Bad, Ledger, Record, rejected


def select(ledger: Ledger, **choice: Any) -> list[DeadLetter]:
    with database.reading(ledger.engine) as connection:
        return dead_letters.select_letters(connection, **choice)


def the_letter(ledger: Ledger) -> DeadLetter:
    (letter,) = select(ledger, status=None)
    return letter


def resolve(ledger: Ledger, *ids: str) -> None:
    ledger.replay(*ids)


def publish(ledger: Ledger, *ids: str) -> None:
    events = [letter.event_id for letter in select(ledger, status=None)]
    with database.transaction(ledger.engine) as connection:
        dead_letters.record_published(connection, ids, events, AT)


def remove(ledger: Ledger, *ids: str) -> None:
    with database.transaction(ledger.engine) as connection:
        dead_letters.record_removed(connection, ids)


def unpublished(ledger: Ledger) -> set[str]:
    with database.reading(ledger.engine) as connection:
        return {letter.id for letter in dead_letters.unpublished(connection, 10)}


def unremoved(ledger: Ledger) -> set[str]:
    with database.reading(ledger.engine) as connection:
        return set(dead_letters.unremoved(connection, 10))


def test_a_rejection_is_stored_with_everything_it_takes_to_mend_it(ledger: Ledger) -> None:
    ledger.receive([Record("ok", AT), Bad("{ nonsense", key="k")], file="orders.json", first_line=11)
    letter = the_letter(ledger)
    assert (letter.file, letter.line, letter.record_key) == ("orders.json", 12, "k")
    assert (letter.status, letter.reason, letter.payload) == ("open", "malformed_json", "{ nonsense")
    assert letter.errors == [
        {
            "reason": "malformed_json",
            "field": "",
            "rule": "malformed_json",
            "message": "it is wrong",
            "shape": "",
        }
    ]
    assert (letter.occurrences, letter.replays, letter.resolved_at) == (1, 0, None)


def test_the_same_payload_again_raises_occurrences_on_one_letter(ledger: Ledger) -> None:
    first = ledger.receive([Bad("{"), Bad("{")])
    seen = the_letter(ledger).first_seen_at
    last = ledger.receive([Bad("{", reason="late")], file="again.json")
    letter = the_letter(ledger)
    assert (letter.occurrences, letter.reason, letter.first_seen_at) == (3, "malformed_json", seen)
    assert letter.file == "a.json"
    assert ledger.rows("SELECT batch_seq FROM dead_letters") == [(last,)]
    assert first != last


def test_the_same_payload_of_another_source_is_another_letter(ledger: Ledger) -> None:
    ledger.receive([Bad("{")])
    ledger.receive([Bad("{")], source="usgs")
    assert sorted(letter.source for letter in select(ledger)) == ["shop", "usgs"]


def test_a_resolved_letter_is_no_longer_open(ledger: Ledger) -> None:
    ledger.receive([Bad("{"), Bad("[")])
    gone = select(ledger)[0]
    resolve(ledger, gone.id)
    assert gone.id not in {letter.id for letter in select(ledger)}
    (resolved,) = select(ledger, status="resolved")
    assert (resolved.id, resolved.resolved_at) == (gone.id, AT)
    with database.reading(ledger.engine) as connection:
        assert groups.count_open(connection) == 1
        assert dead_letters.open_ids(connection).isdisjoint({gone.id})


def test_a_resolved_letter_that_is_rejected_again_is_open_again(ledger: Ledger) -> None:
    ledger.receive([Bad("{")])
    resolve(ledger, the_letter(ledger).id)
    ledger.receive([Bad("{")])
    letter = the_letter(ledger)
    assert (letter.status, letter.resolved_at, letter.occurrences) == ("open", None, 2)


def test_a_replay_that_is_rejected_stays_the_same_open_letter(ledger: Ledger) -> None:
    number = ledger.receive([Bad("{")])
    letter = the_letter(ledger)
    again = rejected(Bad("{ edited", reason="missing_key"), number=number)._replace(id=letter.id)
    ledger.replay(letter.id, again=[again])
    after = the_letter(ledger)
    assert (after.reason, after.replays, after.occurrences, after.status) == ("malformed_json", 1, 2, "open")
    assert after.payload == "{"


def test_bytes_that_are_no_text_come_back_as_they_were(ledger: Ledger) -> None:
    number = ledger.receive([])
    row = rejected(Bad("AP/+"), number=number)._replace(encoding="base64")
    with database.transaction(ledger.engine) as connection:
        states.reject(connection, [row])
    assert the_letter(ledger).raw == b"\x00\xff\xfe"
    assert the_letter(ledger)._replace(payload="é", encoding="utf-8").raw == b"\xc3\xa9"


def test_letters_are_chosen_by_all_that_is_given(ledger: Ledger) -> None:
    ledger.receive([Bad("1", "late"), Bad("2", "stale"), Bad("3", "late")])
    ledger.receive([Bad("4", "late")], source="usgs")
    assert len(select(ledger)) == 4
    assert [letter.payload for letter in select(ledger, reasons=["stale"])] == ["2"]
    assert len(select(ledger, reasons=["late", "stale"], source="shop")) == 3
    assert len(select(ledger, reasons=["late"], limit=2)) == 2
    assert select(ledger, source="nobody") == []
    one = select(ledger)[0]
    assert select(ledger, ids=[one.id, "none"]) == [one]
    with database.reading(ledger.engine) as connection:
        chosen = dead_letters.conditions(connection, reasons=["late"], source="shop")
        assert dead_letters.count(connection, chosen) == 2
        assert dead_letters.count(connection, dead_letters.conditions(connection, status="resolved")) == 0


def test_letters_are_found_by_the_first_digits_of_their_id(ledger: Ledger) -> None:
    ledger.receive([Bad("{")])
    id = the_letter(ledger).id
    with database.reading(ledger.engine) as connection:
        assert dead_letters.ids_that_begin(connection, id[:6]) == [id]
        assert dead_letters.ids_that_begin(connection, "%") == []
        assert dead_letters.ids_that_begin(connection, "_" * 6) == []
        assert dead_letters.ids_that_begin(connection, id.upper()) == [id]
        assert dead_letters.ids_that_begin(connection, id + "0") == []
        assert dead_letters.ids_that_begin(connection, "") == [id]


def test_open_letters_are_counted_by_reason_and_by_source(ledger: Ledger) -> None:
    ledger.receive([Bad("1", "late"), Bad("2", "stale"), Bad("3", "late"), Bad("4", "poison")])
    ledger.receive([Bad("5", "late")], source="usgs")
    resolve(ledger, *(letter.id for letter in select(ledger, reasons=["poison"])))
    with database.reading(ledger.engine) as connection:
        assert groups.open_by_reason(connection) == {"late": 3, "stale": 1}
        assert groups.open_by_source(connection) == {"shop": 3, "usgs": 1}


def test_a_new_letter_is_unpublished_until_the_mirror_has_it(ledger: Ledger) -> None:
    ledger.receive([Bad("{")])
    id = the_letter(ledger).id
    assert (unpublished(ledger), unremoved(ledger)) == ({id}, set())
    publish(ledger, id)
    assert (unpublished(ledger), unremoved(ledger)) == (set(), set())


def test_a_resolved_letter_is_unremoved_until_the_mirror_has_it_no_more(ledger: Ledger) -> None:
    ledger.receive([Bad("{")])
    id = the_letter(ledger).id
    publish(ledger, id)
    resolve(ledger, id)
    assert (unpublished(ledger), unremoved(ledger)) == (set(), {id})
    remove(ledger, id)
    assert (unpublished(ledger), unremoved(ledger)) == (set(), set())


def test_a_letter_resolved_before_anybody_noted_that_the_mirror_has_it_is_removed_from_there(
    ledger: Ledger,
) -> None:
    ledger.receive([Bad("{")])  # and published by a worker that is killed before it notes it
    id = the_letter(ledger).id
    resolve(ledger, id)
    assert (unpublished(ledger), unremoved(ledger)) == (set(), {id})


def test_a_letter_rejected_again_while_it_was_published_is_published_again(ledger: Ledger) -> None:
    ledger.receive([Bad("{")])
    letter = the_letter(ledger)
    ledger.receive([Bad("{")])
    with database.transaction(ledger.engine) as connection:
        dead_letters.record_published(connection, [letter.id], [letter.event_id], AT)
    assert unpublished(ledger) == {letter.id}


def test_a_letter_resolved_while_it_was_published_is_removed_again(ledger: Ledger) -> None:
    ledger.receive([Bad("{")])
    letter = the_letter(ledger)
    resolve(ledger, letter.id)
    with database.transaction(ledger.engine) as connection:
        dead_letters.record_published(connection, [letter.id], [letter.event_id], AT)
    assert unremoved(ledger) == {letter.id}


def test_only_letters_seen_for_the_first_time_and_once_are_new(ledger: Ledger) -> None:
    ledger.receive([Bad("known")])
    number = ledger.receive([])
    rows = [rejected(Bad(payload), number=number) for payload in ("known", "twice", "new", "twice")]
    with database.transaction(ledger.engine) as connection:
        new = states.reject(connection, rows)
    assert [row.payload for row in new] == ["new"]


def test_a_lost_mirror_is_published_anew(ledger: Ledger) -> None:
    ledger.receive([Bad("{"), Bad("[")])
    ids = {letter.id for letter in select(ledger)}
    publish(ledger, *ids)
    remove(ledger, *ids)
    assert unpublished(ledger) == ids


@pytest.mark.parametrize(
    "payload", ["", "\x1b[2J", "'; DROP TABLE dead_letters; --", "%s ? :x {}", "💧" * 999]
)
def test_a_payload_may_be_any_text(ledger: Ledger, payload: str) -> None:
    ledger.receive([Bad(payload)])
    assert the_letter(ledger).payload == payload


def test_no_rejections_are_nothing_to_keep(ledger: Ledger) -> None:
    with database.transaction(ledger.engine) as connection:
        states.reject(connection, [])
    assert select(ledger, status=None) == []

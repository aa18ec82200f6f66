"""Letters whose key or line was loaded since: which they are, what closes them, and which are never taken for such."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from store import database
from store.dead_letters import superseded
from tests.integration.store.conftest import Bad, Ledger, Record
from tests.integration.store.timing.timeline import Command

DAY = "2025-01-01"


def loaded(ledger: Ledger) -> dict[str, tuple[str, int]]:
    """payload -> (file, line) of what was loaded since."""
    with database.reading(ledger.engine) as connection:
        found = superseded.find(connection, [])
    payloads = dict(ledger.rows("SELECT id, payload FROM dead_letters"))
    return {payloads[id]: (each.file, each.line) for id, each in found.items()}


def sent(ledger: Ledger, *records: int) -> None:
    """How many records each delivery has, as the producer has counted."""
    for number, size in enumerate(records, 1):
        ledger.tamper("UPDATE deliveries SET records = :size WHERE seq = :seq", size=size, seq=number)


def test_a_later_record_of_the_key_supersedes_a_letter(ledger: Ledger) -> None:
    ledger.receive([Bad("1", "invalid_value", "a"), Bad("2", "invalid_value", "b")])
    assert loaded(ledger) == {}
    ledger.receive([Record("x", DAY), Record("a", DAY)], file="b.json")
    assert loaded(ledger) == {}  # it is staged, not loaded
    ledger.load()
    assert loaded(ledger) == {"1": ("b.json", 2)}
    ledger.receive([Record("a", "2025-01-02")], file="c.json")
    ledger.load()
    assert loaded(ledger) == {"1": ("c.json", 1)}


def test_an_earlier_record_of_the_key_supersedes_nothing_though_it_is_loaded_later(ledger: Ledger) -> None:
    ledger.receive([Record("a", DAY), Record("c", DAY)], delivery="first")
    ledger.receive([Bad("1", "invalid_value", "a"), Bad("2", "invalid_value", "b")], file="b.json")
    ledger.receive([Record("b", DAY)], delivery="first", first_record=2, first_line=3)
    ledger.load()
    assert loaded(ledger) == {}


def test_the_same_key_of_another_source_supersedes_nothing(ledger: Ledger) -> None:
    ledger.receive([Bad("1", "invalid_value", "a")])
    ledger.receive([Record("a", DAY)], source="usgs")
    ledger.load()
    assert loaded(ledger) == {}


def keyless(ledger: Ledger, **fields: Any) -> None:
    """The letters of the payload `1` say this, and are rejected for it: they have no key."""
    body = {"name": "pump", "value": 1.0, "ts": f"{DAY}T00:00:00Z"} | fields
    fault = {"reason": "missing_key", "field": "key", "rule": "missing", "message": "m", "shape": "absent"}
    ledger.tamper(
        "UPDATE dead_letters SET payload = :body, errors = :errors WHERE payload = '1'",
        body=orjson.dumps({name: value for name, value in body.items() if value is not None}).decode(),
        errors=orjson.dumps([fault]).decode(),
    )


def by_line(ledger: Ledger) -> list[tuple[str, int]]:
    return list(loaded(ledger).values())


def test_a_letter_without_a_key_is_superseded_by_its_line_of_the_corrected_file(ledger: Ledger) -> None:
    ledger.receive([Record("a", DAY), Bad("1"), Bad("2"), Record("d", DAY)])
    ledger.receive([Record("a", DAY), Record("b", DAY), Bad("2 "), Record("d", DAY)])
    ledger.load()
    keyless(ledger)
    assert by_line(ledger) == []  # nobody has counted the records
    sent(ledger, 4, 4)
    assert by_line(ledger) == [("a.json", 2)]
    sent(ledger, 4, 5)
    assert by_line(ledger) == []  # lines have moved


@pytest.mark.parametrize("change", ["file = 'b.json'", "source = 'usgs'"])
def test_a_line_of_another_file_or_source_supersedes_nothing(ledger: Ledger, change: str) -> None:
    ledger.receive([Bad("1")])
    ledger.receive([Record("a", DAY)])
    sent(ledger, 1, 1)
    ledger.load()
    keyless(ledger)
    assert by_line(ledger) == [("a.json", 1)]
    ledger.tamper(f"UPDATE deliveries SET {change} WHERE seq = 2")  # noqa: S608 - of constants
    assert by_line(ledger) == []


@pytest.mark.parametrize(
    ("fields", "is_claimed"),
    [
        ({}, True),
        ({"ts": "2025-01-01T01:00:00+01:00", "value": "1.00"}, True),  # the same moment, and the same number
        ({"ts": 1735689600}, True),
        ({"ts": 1735689600000}, True),
        ({"value": None}, True),  # name and time agree
        ({"more": 1}, True),  # the contract ignores it
        ({"ts": "2025-01-02T00:00:00Z"}, False),  # the daily file of the next day, as long as this one
        ({"name": "valve"}, False),
        ({"value": 1.5}, False),
        ({"ts": "01.01.2025"}, False),  # only the source's settings read it
        ({"ts": None}, False),
        ({"name": None, "value": None}, False),  # one field is too little
        ({"key": "b"}, True),
    ],
)
def test_only_a_record_that_agrees_with_the_letter_supersedes_it_by_line(
    ledger: Ledger, fields: dict[str, Any], is_claimed: bool
) -> None:
    ledger.receive([Bad("1")])
    ledger.receive([Record("b", DAY)])
    sent(ledger, 1, 1)
    ledger.load()
    keyless(ledger, **fields)
    assert by_line(ledger) == [("a.json", 1)] * is_claimed


def test_a_payload_that_shows_its_key_goes_by_that(ledger: Ledger) -> None:
    ledger.receive([Bad("1")])
    ledger.receive([Record("b", DAY)])
    sent(ledger, 1, 1)
    ledger.load()
    for key, is_claimed in (("b", True), ("c", False)):
        payload = orjson.dumps({"key": key, "name": "another", "ts": "soon"}).decode()
        ledger.tamper("UPDATE dead_letters SET payload = :payload, errors = '[]'", payload=payload)
        assert by_line(ledger) == [("a.json", 1)] * is_claimed


def test_a_payload_without_fields_is_superseded_by_no_line(ledger: Ledger) -> None:
    ledger.receive([Bad("{nonsense")])
    ledger.receive([Record("b", DAY)])
    sent(ledger, 1, 1)
    ledger.load()
    assert by_line(ledger) == []


def test_a_record_that_was_replaced_since_claims_nothing(ledger: Ledger) -> None:
    ledger.receive([Bad("1")])
    ledger.receive([Record("b", DAY)])
    sent(ledger, 1, 1)
    ledger.receive([Record("b", "2025-01-02")], file="b.json")
    ledger.load()
    keyless(ledger)
    assert by_line(ledger) == []


def test_superseded_letters_are_shown_and_closed_with_the_pointer(ledger: Ledger, store: Command) -> None:
    ledger.receive([Bad("1", "invalid_value", "a"), Bad("2", "invalid_value", "b"), Bad("3", key="p")])
    ledger.receive([Record("a", DAY), Record("p", DAY)], file="b.json")
    ledger.load()
    store("letters", "park", "--reason", "malformed_json", "--why", "later")
    assert "loaded since, from b.json:1" in store("letters", "list").out
    listed = store("letters", "list", "--superseded", "--json").json["letters"]
    assert [(each["payload"], each["loaded_since"]["file"]) for each in listed] == [("1", "b.json")]
    assert (
        f"key a of {DAY}T00:00:00Z, from b.json:1 (delivery 2)"
        in store("letters", "show", listed[0]["id"]).out
    )
    done = store("letters", "discard", "--superseded", "--why", "corrected")
    assert "2 letters are discarded (action 2)" in done.out
    assert [each["payload"] for each in store("letters", "list", "--json").json["letters"]] == ["2"]
    shown = store("letters", "show", listed[0]["id"])
    assert "discard, open -> discarded, action 2" in shown.out
    assert f"; superseded by {listed[0]['loaded_since']['id']}" in shown.out
    assert "2 letters are as they were" in store("letters", "undo", "2").out
    assert store("check").code == 0

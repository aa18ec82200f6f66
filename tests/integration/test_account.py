"""`store account`: every record of a delivery is somewhere, and the sum says where."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from store import database
from store.dead_letters import actions
from store.dead_letters.actions import Order
from store.dead_letters.edits import Edit
from store.errors import SluiceError
from store.reports import account
from store.tables import dead_letters

from .plant import Plant, ndjson, row


def accounts(plant: Plant, **choice: Any) -> list[dict[str, Any]]:
    with database.reading(plant.engine) as connection:
        return account.accounts(connection, **choice)


def parts(found: dict[str, Any]) -> dict[str, int]:
    return {name: found[name] for name in account.PARTS if found[name]}


def test_the_account_of_a_delivery_adds_up_whatever_became_of_its_records(plant: Plant) -> None:
    first = [
        row("same"), row("corrected"), row("old", "2025-01-14T08:00:00Z"), row("old", "2025-01-15T08:00:00Z"),
        row("open", value="x"), row("fixed", value="y"), row("junk", value="z"), row("again"),
    ]  # fmt: skip
    plant.run(ndjson(*first), "first.ndjson")
    plant.run(ndjson(row("corrected", "2025-01-16T08:00:00Z"), row("again")), "second.ndjson")
    (fixed,) = (letter.id for letter in plant.letters() if letter.record_key == "fixed")
    plant.replay(Edit(set={"value": 2}), ids=[fixed])
    plant.work()
    plant.load()
    with database.transaction(plant.engine) as connection:
        (junk,) = (letter.id for letter in plant.letters() if letter.record_key == "junk")
        chosen = dead_letters.conditions(connection, ids=[junk])
        actions.begin(connection, Order("discard", {}, "a test order", "ann"), chosen)

    replay, second, found = accounts(plant)
    assert (found["received"], found["adds_up"]) == (8, True)
    assert parts(found) == {
        "in_target": 3, "replaced": 1, "superseded": 1, "open": 1, "resolved": 1, "discarded": 1,
    }  # fmt: skip
    assert found["discarded_because"] == {"a test order": 1}
    assert {(each["file"].rpartition("/")[2], each["records"]) for each in found["beaten_by"]} == {
        ("first.ndjson", 1),
        ("second.ndjson", 1),
    }
    assert (parts(second), second["adds_up"]) == ({"in_target": 1, "duplicates": 1}, True)
    assert (replay["kind"], parts(replay), replay["adds_up"]) == ("replay", {"in_target": 1}, True)


def test_records_that_wait_are_in_the_account(plant: Plant) -> None:
    plant.send(ndjson(row("a"), row("b", value="x")))
    plant.work()
    (found,) = accounts(plant)
    assert (parts(found), found["adds_up"]) == ({"pending": 1, "open": 1}, True)


def test_an_account_that_does_not_add_up_says_so(plant: Plant) -> None:
    path = plant.file(ndjson(row("a"), row("b", value="x")))
    plant.run(path)
    with database.transaction(plant.engine) as connection:
        connection.exec_driver_sql("DELETE FROM target")
        connection.exec_driver_sql("DELETE FROM dead_letters")
    (found,) = accounts(plant, file=str(path))
    assert (found["received"], parts(found), found["adds_up"]) == (2, {"letters_gone": 1}, False)


def test_a_delivery_that_is_unknown_is_an_error(plant: Plant) -> None:
    plant.run(ndjson(row("a")))
    for choice in ({"delivery": 9}, {"file": "nowhere.csv"}):
        with pytest.raises(SluiceError, match="is unknown"):
            accounts(plant, **choice)
    assert len(accounts(plant, delivery=1)) == 1
    assert orjson.dumps(accounts(plant))

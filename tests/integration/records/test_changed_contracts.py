"""A contract that changes after records were loaded under it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from worker import workplace as workplace_of
from worker.workplace import workplace

from ..plant import Plant
from .given import given


def test_a_field_whose_type_changed_stops_the_sources_that_fill_it_alone(
    plant: Plant, contract: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    contract("x: int | None = None")
    plant.run(given(x=1))
    contract("x: str | None = None")
    [waits] = plant.send(given(x="one"), "fills.ndjson", source="fills").ids
    plant.run(given(), "other.ndjson", source="other")

    why = (
        "contract field 'x' is text now, but the table holds it as integer: keep the type, or give the field another "
        "name"
    )
    assert plant.broker.held() == {waits: why}
    assert f"{why}; batches with values in it wait" in caplog.text
    assert [(each["source"], each["x"]) for each in plant.rows()] == [("default", 1), ("other", None)]
    assert plant.report()["input_records"] == 2
    assert plant.violations() == []

    contract("x: int | None = None\n    x_text: str | None = None")  # the second way out
    plant.run(given(x_text="one"), "renamed.ndjson", source="fills")
    assert [each["x_text"] for each in plant.rows()] == [None, "one", None]


@pytest.mark.parametrize("narrow", [("float", "int"), ("str", "int"), ("int", "bool"), ("list[int]", "str")])
def test_a_type_that_cannot_hold_what_was_loaded_is_refused(
    plant: Plant, contract: Callable[..., None], narrow: tuple[str, str]
) -> None:
    before, after = narrow
    contract(f"x: {before} | None = None")
    plant.run(given())
    contract(f"x: {after} | None = None")
    assert list(workplace().columns.refused) == ["x"]


def test_an_integer_that_becomes_a_real_is_adopted_and_what_was_loaded_and_staged_is_the_same(
    plant: Plant, contract: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    contract("x: int")
    plant.run(given(key="loaded", x=2**53) + given(key="replaced", x=1), "one.ndjson")
    plant.send(given(key="staged", x=-3), "two.ndjson")
    plant.work()
    contract("x: float")
    plant.run(given(key="new", x=0.5) + given(key="whole", x=4) + given(key="replaced", x=7), "three.ndjson")

    assert [(each["key"], each["x"]) for each in plant.rows()] == [
        ("loaded", float(2**53)), ("new", 0.5), ("replaced", 7.0), ("staged", -3.0), ("whole", 4.0),
    ]  # fmt: skip
    assert all(type(each["x"]) is float for each in plant.rows())
    types = [plant.column_types(table)["x"] for table in ("target", "staging")]
    assert types[0] == types[1] in ("DOUBLE", "DOUBLE PRECISION")
    assert plant.rows("golden", "key") and plant.rows("current", "key")
    assert "the contract's field 'x' is real now, and was integer" in caplog.text
    assert plant.violations() == []
    caplog.clear()
    plant.run(given(key="later", x=0.25), "four.ndjson")
    assert "is real now" not in caplog.text


def test_a_worker_adopts_a_wider_contract_and_still_takes_what_was_sent_for_the_earlier(
    plant: Plant, contract: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    contract("x: int\n    y: str")
    plant.run(given(key="first", x=1, y="a"), "one.ndjson")
    plant.send(given(key="earlier", x=2, y="b"), "two.ndjson")
    plant.send(given(key="too great", x=2**53 + 1, y="b"), "great.ndjson")
    queued = plant.redis.lrange("rq:queue:records", 0, -1)
    plant.redis.delete("rq:queue:records")
    running = workplace()
    contract("x: float\n    y: str | None = None\n    z: str | None = None")
    set_workplace(running)  # the worker of this process goes on
    plant.send(given(key="later", x=0.5), "three.ndjson")
    plant.work()
    assert "is adopted: x is real, and was integer; y is optional now; z is new and optional" in caplog.text
    plant.redis.rpush("rq:queue:records", *queued)
    plant.work()
    plant.load()

    assert [(each["key"], each["x"]) for each in plant.rows()] == [
        ("earlier", 2.0),
        ("first", 1.0),
        ("later", 0.5),
    ]
    [why] = plant.broker.held().values()
    assert "whose field 'x' is integer, but the table holds it as real" in why
    assert plant.violations() == []


def set_workplace(to: workplace_of.Workplace) -> None:
    workplace_of._workplace = to


def test_a_field_added_later_is_null_in_the_rows_before(plant: Plant, contract: Callable[..., None]) -> None:
    contract("x: int")
    plant.send(given(key="loaded", x=1), "one.ndjson")
    plant.work()
    plant.load()
    plant.send(given(key="staged", x=2), "two.ndjson")
    plant.work()
    contract("x: int\n    y: str")
    plant.run(given(key="new", x=3, y="z"), "three.ndjson")
    assert [(each["key"], each["x"], each["y"]) for each in plant.rows()] == [
        ("loaded", 1, None),
        ("new", 3, "z"),
        ("staged", 2, None),
    ]
    assert plant.violations() == []


def test_a_field_that_was_taken_out_leaves_its_column_as_it_was(
    plant: Plant, contract: Callable[..., None]
) -> None:
    contract("x: int\n    y: str")
    plant.run(given(x=1, y="z"))
    contract("x: int")
    plant.run(given(key="b", x=2), "two.ndjson")
    assert [(each["x"], each["y"]) for each in plant.rows()] == [(1, "z"), (2, None)]


def test_a_changed_contract_makes_new_ids_so_the_same_file_is_judged_again(
    plant: Plant, contract: Callable[..., None]
) -> None:
    contract("x: int")
    path = plant.file(given(x=5) + given(key="b", x=50))
    first = plant.run(path)
    contract("x: Annotated[int, Field(le=10)]")
    second = plant.run(path)
    assert set(first.ids).isdisjoint(second.ids)
    assert plant.reasons() == ["invalid_x"]
    assert plant.report()["duplicates"] == 1
    assert [each["key"] for each in plant.rows()] == ["a", "b"]  # what was loaded stays
    assert plant.violations() == []

"""A source says which keys are deleted: a tombstone wins and loses as any version, and its row stays marked."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from store import database
from store.dead_letters.edits import Edit
from store.lineage import explain
from worker.judge.columns import is_true
from worker.judge.faults import Rejection

from ...examples import IS_CAMPAIGN
from ..conftest import EmptyStore
from ..plant import Plant, ndjson, opened, row

CONFIG = "[sources.default]\ndeleted = \"op == 'D'\"\n"


def at(hour: int) -> str:
    return f"2025-01-15T{hour:02}:00:00Z"


def tombstone(key: str = "a", hour: int = 9) -> dict[str, Any]:
    """Only its key and its time are there."""
    return {"key": key, "ts": at(hour), "op": "D"}


@pytest.fixture(autouse=True)
def source(plant: Plant) -> None:
    plant.configure(CONFIG)


def current(plant: Plant) -> list[str]:
    return [each["key"] for each in plant.rows("current")]


def test_a_deleted_row_stays_marked_and_current_leaves_it_out(plant: Plant) -> None:
    plant.run(ndjson(row("a", at(8)), row("b", at(8))))
    plant.run(ndjson(tombstone()), "deletes.ndjson")

    [a, b] = plant.rows()
    assert (a["key"], a["deleted"], a["name"], a["value"], a["extra"]) == ("a", 1, None, None, None)
    assert b["deleted"] == 0
    assert current(plant) == ["b"]
    report = plant.report()
    assert (report["target_rows"], report["deleted_rows"], report["updated"]) == (2, 1, 1)
    with database.reading(plant.engine) as connection:
        [facts] = explain.explain(connection, "a")["sources"]
        assert facts["holds"]["deleted"]
    assert [entry.step for entry in plant.chain("a")] == ["stage", "stage", "load", "load"]
    assert plant.violations() == []


def test_an_older_version_that_comes_late_does_not_bring_the_key_back_and_a_newer_one_does(
    plant: Plant,
) -> None:
    plant.run(ndjson(tombstone(hour=9)))
    plant.run(ndjson(row("a", at(8))), "late.ndjson")
    assert current(plant) == []
    assert plant.report()["superseded"] == 1

    plant.run(ndjson(row("a", at(10), name="again")), "newer.ndjson")
    [a] = plant.rows("current")
    assert (a["name"], a["deleted"]) == ("again", 0)
    assert plant.violations() == []


def test_every_order_of_deliveries_gives_one_table(tmp_path: Path, empty_store: EmptyStore) -> None:
    contents = {
        "first": ndjson(row("a", at(8)), row("b", at(8))),
        "deletes": ndjson(tombstone("a", 9), tombstone("b", 7)),
        "later": ndjson(row("a", at(10)), row("c", at(8))),
        "again": ndjson(tombstone("c", 11)),
    }
    found = set()
    # Every fifth of the 24 orders: each delivery comes first, and last, in one of them.
    step = 1 if IS_CAMPAIGN else 5
    for number, order in enumerate(itertools.islice(itertools.permutations(contents), 0, None, step)):
        with opened(tmp_path / str(number), empty_store()) as plant:
            plant.configure(CONFIG)
            for name in order:
                plant.run(contents[name], f"{name}.ndjson", batch_records=1)
            assert plant.violations() == []
            found.add((plant.digest(), tuple(current(plant))))
    assert [keys for _, keys in found] == [("a", "b")]


def test_a_deletion_sent_again_is_a_duplicate(plant: Plant) -> None:
    plant.run(ndjson(tombstone()))
    plant.run(ndjson(tombstone()) + b"\n", "again.ndjson")
    report = plant.report()
    assert (report["inserted"], report["duplicates"], report["conflicts"]) == (1, 1, 0)


def test_a_tombstone_needs_a_key_and_a_time_and_can_be_mended(plant: Plant) -> None:
    plant.run(ndjson(row("a", at(8)), {"ts": at(9), "op": "D"}, {"key": "b", "ts": "never", "op": "D"}))
    assert plant.reasons() == ["missing_key", "invalid_timestamp"]

    plant.replay(Edit(set={"key": "a"}), reasons=["missing_key"])
    plant.work()
    plant.load()
    assert plant.reasons() == ["invalid_timestamp"]
    assert current(plant) == []
    assert plant.violations() == []


def test_a_tombstone_obeys_the_contracts_rules_for_its_key_and_passes_a_mapping(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "strict_keys.py").write_text(
        "from pydantic import field_validator\nfrom worker.contract import Event\n\n\n"
        "class Upper(Event):\n"
        '    @field_validator("key")\n    @classmethod\n    def upper(cls, key: str) -> str:\n'
        '        if not key.isalpha():\n            raise ValueError("letters only")\n'
        "        return key.upper()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plant.configure(
        '[worker]\ncontract = "strict_keys:Upper"\n[sources.default]\ndeleted = "gone"\n'
        'fields.key = "id"\nfields.value = "abs(data.value)"\n'
    )
    alive = {"id": "a", "name": "n", "ts": at(8), "data": {"value": -1}}
    dead = {"id": "a", "ts": at(9), "gone": "yes", "data": {"value": "none"}}
    plant.run(ndjson(alive, dead, dead | {"id": "7"}))
    assert [(each["key"], each["deleted"]) for each in plant.rows()] == [("A", 1)]
    assert plant.reasons() == ["invalid_key"]


@pytest.mark.parametrize("value", [True, 1, "true", "T", " yes ", "1", "on", "Y"])
def test_what_is_true(value: object) -> None:
    assert is_true(value)


@pytest.mark.parametrize("value", [False, 0, None, "", " ", "false", "F", "no", "0", "off", "n"])
def test_what_is_false(value: object) -> None:
    assert not is_true(value)


@pytest.mark.parametrize("value", [2, 1.0, "D", "deleted", [], {}, "truee"])
def test_what_is_neither_is_rejected(value: object, plant: Plant) -> None:
    with pytest.raises(Rejection):
        is_true(value)
    plant.configure('[sources.default]\ndeleted = "gone"\n')
    plant.run(ndjson(row("a", gone=value), row("b", gone=False)))
    assert plant.reasons() == ["invalid_deleted"]
    assert current(plant) == ["b"]

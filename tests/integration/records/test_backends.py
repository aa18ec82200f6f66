"""The same deliveries on PostgreSQL, whole: the receipt, the laws, the letters and the digest are SQLite's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store import database
from store.checks import lineage as lineage_check
from store.reports import answers
from store.tables import leases
from worker import loader

from ..plant import Plant, ndjson, opened, row

DATA = Path(__file__).parents[3] / "data"
pytestmark = pytest.mark.postgresql("the same on SQLite is in every run")


def story(plant: Plant) -> dict[str, Any]:
    """Files, a correction, a repeat, a rejection mended by a replay, another that stays; what is there then."""
    plant.run(DATA / "sample.ndjson")
    plant.run(ndjson(row("a", value=1), row("a", value=2), row("b", ts="2025-01-16T08:00:00Z")), "b.ndjson")
    plant.run(ndjson(row("b", value=9)) + b'{"key": "c"}\n{"key": "c"}\nnonsense\n', "c.ndjson")
    plant.send(DATA / "sample.ndjson")
    plant.replay(reasons=["malformed_json"])
    plant.work()
    plant.load()
    with database.reading(plant.engine, scratch=True) as connection:
        report = answers.report(connection, None)
        assert [law.violations for law in lineage_check.laws(connection)] == [[], [], [], []]
    assert plant.violations() == []
    assert plant.mirrored() == {letter.id for letter in plant.letters()}
    letters = sorted((each.id, each.status, each.occurrences, each.replays) for each in plant.letters(None))
    return {"digest": plant.digest(), "report": timeless(report), "letters": letters}


def timeless(report: Any) -> Any:
    """Without what depends on when it was asked."""
    if isinstance(report, dict):
        lasting = [name for name in report if "second" not in name and not name.endswith("_at")]
        return {name: timeless(report[name]) for name in lasting}
    return [timeless(each) for each in report] if isinstance(report, list) else report


def test_the_same_deliveries_give_the_same_state_on_both(
    plant: Plant, tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_postgresql = story(plant)
    plant.close()
    monkeypatch.delenv("DATABASE_URL")
    with opened(tmp_path / "sqlite", empty_database) as other:
        assert story(other) == on_postgresql


def test_the_sample_has_its_exact_receipt(plant: Plant) -> None:
    plant.run(DATA / "sample.ndjson")
    report = plant.report()
    names = ("input_records", "staged", "loaded", "rejected", "dead_letters", "lineage_entries")
    assert [report[name] for name in names] == [7, 5, 5, 2, 2, 12]


def test_a_key_that_no_index_holds_waits_with_its_batch_and_stops_no_other(plant: Plant) -> None:
    plant.send(ndjson(row("k" * 2001)), "long.ndjson")
    plant.run(ndjson(row("k" * 2000)), "short.ndjson")
    assert [each["key"] for each in plant.rows()] == ["k" * 2000]
    assert plant.report()["pending"] == 0 and plant.letters() == []
    assert plant.redis.zcard("rq:scheduled:records") == 1


def test_a_rejected_record_may_have_any_key(plant: Plant) -> None:
    plant.run(ndjson(row("".join(chr(0x4E00 + n) for n in range(1000)), ts="never")))
    assert [len(letter.record_key or "") for letter in plant.letters()] == [1000]


def test_of_two_loaders_one_works(plant: Plant) -> None:
    plant.send(ndjson(row("a")))
    plant.work()
    with database.transaction(plant.engine) as connection:
        leases.acquire(connection, loader.LOCK, "elsewhere:1:00", 60)
    plant.load()
    assert plant.report()["pending"] == 1
    with database.transaction(plant.engine) as connection:
        leases.release(connection, loader.LOCK, "elsewhere:1:00")
    plant.load()
    assert plant.report()["pending"] == 0

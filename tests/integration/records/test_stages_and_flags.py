"""Stages that are off, shares, flags set by hand, and the lineage of repeats, over the real jobs."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from store import database
from store.checks import conservation
from store.errors import ConfigError
from store.lineage import trace
from store.reconcile import runs as reconciliation
from store.tables import flags
from worker import jobs
from worker.cli.app import app
from worker.judge.stages import falls_in
from worker.settings import StageSettings
from worker.workplace import workplace

from ..plant import Plant, ndjson, row

run = CliRunner().invoke


def batches_of(plant: Plant) -> list[dict[str, Any]]:
    from store.tables import batches

    with workplace().database() as engine, database.reading(engine) as connection:
        assert conservation.violations(connection) == []
        return batches.recent(connection, 100)


def test_a_stage_that_is_off_is_absent_from_the_receipt(plant: Plant) -> None:
    plant.run(ndjson(row("a")))
    run(app, ["flags", "set", "adapt=off", "freshness=off"], catch_exceptions=False)
    plant.run(ndjson(row("b")))
    newest, oldest = batches_of(plant)
    assert oldest["stages_run"] == ["parse", "adapt", "validate", "freshness"]
    assert newest["stages_run"] == ["parse", "validate"]


def test_a_flag_given_back_goes_by_the_configuration_again_and_every_change_is_stored(plant: Plant) -> None:
    run(app, ["flags", "set", "dedupe=off", "--why", "a trial"], catch_exceptions=False)
    run(app, ["flags", "set", "dedupe=configured"], catch_exceptions=False)
    with workplace().database() as engine, database.reading(engine) as connection:
        assert flags.overrides(connection) == {}
        changes = flags.history(connection, 10)
    assert [(change["share"], change["why"]) for change in changes] == [
        (None, "no reason given"),
        (0.0, "a trial"),
    ]


def test_the_list_of_flags_says_who_changed_what_and_why_with_nothing_harmful(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    monkeypatch.setattr("socket.gethostname", lambda: "west")
    run(app, ["flags", "set", "dedupe=off", "--why", "\x1b[2Jtrial"], catch_exceptions=False)
    reported = run(app, ["flags", "list"], catch_exceptions=False).stdout
    assert "UTC  dedupe: configured to off, by ann@west: \\x1b[2Jtrial" in reported
    assert "\x1b" not in reported


def test_a_flag_is_set_by_a_user_id_without_a_name_too(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nameless)
    run(app, ["flags", "set", "dedupe=off"], catch_exceptions=False)
    with workplace().database() as engine, database.reading(engine) as connection:
        (change,) = flags.history(connection, 10)
    assert str(change["by"]).startswith("unknown@")


@pytest.mark.parametrize("change", ["dedupe=1.5", "dedupe=-0.1", "dedupe=maybe", "nothing=on", "dedupe"])
def test_a_flag_that_is_none_is_refused(plant: Plant, change: str) -> None:
    assert run(app, ["flags", "set", change]).exit_code != 0
    with workplace().database() as engine, database.reading(engine) as connection:
        assert flags.overrides(connection) == {}


@pytest.mark.parametrize(("share", "hits"), [("on", 2), ("off", 0)])
def test_with_dedupe_off_a_repeat_counts_as_superseded_and_nothing_else_changes(
    plant: Plant, share: str, hits: int
) -> None:
    run(app, ["flags", "set", f"dedupe={share}"], catch_exceptions=False)
    plant.run(ndjson(row("a"), row("b")))
    plant.run(ndjson(row("a"), row("b"), row("c")), "more.ndjson")
    report = plant.report()
    assert (report["staged"], report["inserted"], report["updated"], report["target_rows"]) == (5, 3, 0, 3)
    assert (report["duplicates"], report["superseded"], report["conflicts"]) == (hits, 2 - hits, 0)
    assert (report["dedupe"]["hits"], report["dedupe"]["misses"]) == (hits, 5 - hits)
    assert [each["lineage_id"] >> 20 for each in plant.rows()] == [1, 1, 2]
    assert batches_of(plant)[0]["duplicates"] == hits


def test_a_share_of_dedupe_is_about_that_part_of_the_contents(plant: Plant) -> None:
    rows = [row(f"k{number}", value=number) for number in range(200)]
    plant.run(ndjson(*rows))
    digest = plant.digest()
    run(app, ["flags", "set", "dedupe=0.25"], catch_exceptions=False)
    plant.run(ndjson(*rows), batch_records=50)
    report = plant.report()
    assert 25 < report["duplicates"] < 75
    assert report["duplicates"] + report["superseded"] == 200
    assert plant.digest() == digest
    assert plant.violations() == []


def test_with_validate_off_a_record_needs_a_key_a_time_and_values_that_fit(plant: Plant) -> None:
    run(app, ["flags", "set", "validate=off"], catch_exceptions=False)
    bare = [
        {"key": "a", "ts": "2025-01-01T00:00:00Z"},
        {"key": "b", "ts": "2025-01-01T00:00:00Z", "value": "3"},
    ]
    bad = [
        {"key": "c"},
        {"ts": "2025-01-01T00:00:00Z"},
        {"key": "d", "ts": "2025-01-01T00:00:00Z", "value": "x"},
    ]
    plant.run(ndjson(*bare, *bad, {"key": "e", "ts": "2099-01-01T00:00:00Z"}))
    report = plant.report()
    assert (report["staged"], report["rejected"]) == (2, 4)
    assert report["reasons"] == {
        "missing_timestamp": 1,
        "missing_key": 1,
        "invalid_value": 1,
        "future_timestamp": 1,
    }


def test_a_share_is_about_that_part_and_the_same_records_every_time() -> None:
    records = [f"record {number}" for number in range(4000)]
    chosen = [record for record in records if falls_in(0.1, record)]
    assert 300 < len(chosen) < 500
    assert chosen == [record for record in reversed(records) if falls_in(0.1, record)][::-1]
    assert set(chosen) < {record for record in records if falls_in(0.2, record)}


@pytest.mark.parametrize(
    ("given", "share"), [(True, 1.0), (False, 0.0), (0.25, 0.25), ("off", 0.0), ("on", 1.0)]
)
def test_a_stage_is_true_false_or_a_share(given: object, share: float) -> None:
    assert StageSettings.model_validate({"dedupe": given}).shares()["dedupe"] == share


def loads_of(plant: Plant, key: str) -> list[tuple[str, str | None]]:
    """(outcome, the entry it repeats or that beat it) of each `load` of a key, in the order of their numbers."""
    with workplace().database() as engine, database.reading(engine) as connection:
        entries = [entry for entry in trace.of_key(connection, key) if entry.step == "load"]
    assert [entry.parent_id for entry in entries] == [f"stage-{entry.number}" for entry in entries]
    return [(entry.detail, entry.beaten_by) for entry in sorted(entries, key=lambda entry: entry.number)]


def test_the_entry_of_a_duplicate_names_the_entry_it_repeats(plant: Plant) -> None:
    plant.run(ndjson(row("a"), row("a")))
    plant.run(ndjson(row("z"), row("a")), "more.ndjson")
    (first, none), *repeats = loads_of(plant, "a")
    assert sorted([first, *(detail for detail, _ in repeats)]) == ["duplicate", "duplicate", "inserted"]
    [winner] = [each for each in plant.rows() if each["key"] == "a"]
    held = f"stage-{winner['lineage_id']}"
    others = [beaten_by for detail, beaten_by in [(first, none), *repeats] if detail == "duplicate"]
    assert others == [held, held]


def test_the_entry_of_a_superseded_record_names_what_beat_it(plant: Plant) -> None:
    plant.run(ndjson(row("a", ts="2025-01-02T00:00:00Z")))
    plant.run(ndjson(row("a", ts="2025-01-01T00:00:00Z")))
    [winner] = plant.rows()
    assert loads_of(plant, "a") == [
        ("inserted", None),
        ("superseded", f"stage-{winner['lineage_id']}"),
    ]


def test_the_periodic_comparison_does_nothing_until_its_flag_is_on(plant: Plant) -> None:
    plant.run(ndjson(row("a", value=1)), source="one")
    plant.run(ndjson(row("a", value=2)), source="two")
    assert jobs.reconcile_sources() == {"off": True}
    run(app, ["flags", "set", "reconcile=on"], catch_exceptions=False)
    assert jobs.reconcile_sources() == {"keys": 1, "matched": 0, "mismatched": 1}
    with workplace().database() as engine, database.reading(engine) as connection:
        assert len(reconciliation.history(connection, 10)) == 1


@pytest.mark.parametrize(
    ("tolerance", "reported"),
    [
        ("name = 0.1", "'name' is text; only numbers and ts have tolerances"),
        ("nowhere = 1", "there is no field 'nowhere'; the fields with numbers are value, ts"),
        ("value = -1", "a tolerance is a number, 0 or greater"),
    ],
)
def test_a_configured_tolerance_that_makes_no_sense_is_an_error_at_the_start(
    plant: Plant, tolerance: str, reported: str
) -> None:
    plant.configure(f"[worker]\nreconcile_tolerances = {{ {tolerance} }}\n")
    with pytest.raises(ConfigError, match=reported) as raised:
        workplace()
    assert str(raised.value).startswith("[worker] reconcile_tolerances")

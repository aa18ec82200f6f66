"""`producer try`: what a worker would make of a file, without a queue and a database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from producer.cli.app import app

from ..plant import Plant, ndjson, row

ROOT = Path(__file__).parents[3]


def tried(*words: str) -> tuple[int, str]:
    """The exit code of `producer try`, and its standard output."""
    done = CliRunner().invoke(app, ["try", *words], catch_exceptions=False)
    return done.exit_code, done.stdout


def facts(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tried(*words, "--json")[1])
    return found


def test_a_trial_shows_raw_and_adapted_side_by_side_with_utc(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_CONFIG", str(ROOT / "sluice.toml"))
    monkeypatch.setenv("COLUMNS", "80")
    code, shown = tried(str(ROOT / "data/feeds/beta.csv"), "--source", "beta")
    assert code == 1
    assert max(map(len, shown.splitlines())) <= 80
    assert 'stamp: "15.01.2025 09:02"' in shown
    assert 'ts: "2025-01-15T08:02:00Z"' in shown
    assert "3 records: 2 would be accepted, 1 rejected (1 invalid_value); nothing was sent" in shown


def test_a_trial_counts_as_workers_do_and_touches_no_store(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = ROOT / "data" / "orders-faulty.ndjson.gz"
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("SLUICE_HOME", str(tmp_path / "none"))
        elsewhere.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")
        elsewhere.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
        found = facts(str(file), "--limit", "0")
    assert not (tmp_path / "none").exists()
    plant.run(file)
    report = plant.report()
    assert (found["records"], found["rejected"]) == (report["input_records"], report["rejected"])
    assert sum(found["reasons"].values()) == found["rejected"] > 1000
    assert sum(each["records"] for each in found["faults"]) >= found["rejected"]
    assert found["shown"] == []


def test_only_rejected_records_are_shown_where_that_is_asked(plant: Plant) -> None:
    rows = [row(f"k{number}") for number in range(20)]
    rows[7]["value"] = "much"
    file = str(plant.file(ndjson(*rows)))
    found = facts(file, "--rejected")
    assert [(each["line"], each["outcome"]) for each in found["shown"]] == [(8, "rejected")]
    assert found["faults"] == [
        {
            "records": 1,
            "first_line": 8,
            "reason": "invalid_value",
            "field": "value",
            "rule": "float_parsing",
            "message": "Input should be a valid number, unable to parse string as a number",
        }
    ]


def test_the_exit_code_says_whether_all_would_be_accepted(plant: Plant) -> None:
    right, wrong = str(plant.file(ndjson(row()))), str(plant.file(ndjson(row(value="much")), "wrong.ndjson"))
    assert tried(right)[0] == 0
    assert tried(wrong)[0] == 1
    assert tried(wrong, "--first", "0")[0] == 2


def test_a_file_that_is_cut_short_is_no_success_though_its_records_are_right(plant: Plant) -> None:
    file = plant.file(b"[" + ndjson(row()).strip() + b",", "cut.json")
    code, shown = tried(str(file))
    assert (code, "1 record: 1 would be accepted" in shown) == (1, True)


def test_the_first_records_alone_are_judged_and_the_answer_says_so(plant: Plant) -> None:
    file = str(plant.file(ndjson(row(), row(), row(value="much"))))
    code, shown = tried(file, "--first", "2")
    assert code == 0
    assert "2 records (not the whole file): 2 would be accepted" in shown


def test_kinds_of_faults_are_bounded_whatever_a_file_names_its_fields(plant: Plant) -> None:
    plant.configure('[sources.odd]\nextra = "forbid"\n')
    rows = [row(**{f"field{number}": 1}) for number in range(1_500)]
    found = facts(str(plant.file(ndjson(*rows))), "--source", "odd")
    assert len(found["faults"]) == 1_001
    assert sum(each["records"] for each in found["faults"]) == found["rejected"] == 1_500


@pytest.mark.parametrize("output", [[], ["--json"]])
def test_a_trial_shows_what_no_column_can_hold_and_nothing_harmful(plant: Plant, output: list[str]) -> None:
    plant.configure('[sources.odd]\nfields.name = "label"\n')
    record = b'{"key": "a", "label": "\\ud800 \\u001b[2J", "value": 1e400, "ts": "2025-01-15"}'
    _, reported = tried(str(plant.file(record)), "--source", "odd", *output)
    assert "invalid_value" in reported
    assert "infinite" in reported
    assert "\x1b" not in reported

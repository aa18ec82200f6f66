"""`store metrics --textfile`, for the textfile collector of node_exporter."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from store.cli.app import app

from ..plant import Plant
from .conftest import parsed

SAMPLE = Path(__file__).parents[3] / "data" / "sample.ndjson"


def test_a_text_file_is_replaced_as_a_whole_and_has_the_store_alone(plant: Plant, tmp_path: Path) -> None:
    plant.run(SAMPLE)
    path = tmp_path / "sluice.prom"
    path.write_text("old")
    done = CliRunner().invoke(app, ["metrics", "--textfile", str(path)])
    assert (done.exit_code, done.output) == (0, "")
    found = parsed(path.read_text())
    assert found["sluice_records_total{outcome=staged,source=default}"] == 5
    assert not [key for key in found if "queue" in key or "workers" in key]
    assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in tmp_path.iterdir() if "prom" in each.name] == ["sluice.prom"]
    assert CliRunner().invoke(app, ["metrics"]).output == path.read_text()


def test_without_a_store_the_text_file_says_so_and_the_command_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "none"))
    path = tmp_path / "sluice.prom"
    done = CliRunner().invoke(app, ["metrics", "--textfile", str(path)])
    assert done.exit_code == 1
    assert "there is no database" in done.stderr
    assert parsed(path.read_text())["sluice_scrape_success{part=store}"] == 0
    assert not (tmp_path / "none").exists()

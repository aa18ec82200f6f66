"""The issue's own commands, as they are written there, on real data."""

from __future__ import annotations

import stat
from collections.abc import Iterator

import psutil
import pytest

from .sandbox import ROOT, Sandbox, sandbox


@pytest.fixture(scope="module")
def quakes() -> Iterator[Sandbox]:
    """The earthquakes, loaded by the repository's configuration. Tests leave them as they are."""
    with sandbox() as box:
        sent = box.ok("producer", "enqueue", "data/earthquakes.json", "--source", "usgs", cwd=ROOT)
        assert "1,707 records" in sent.out
        box.ok("worker", "up", "--burst", cwd=ROOT)
        yield box


def test_every_earthquake_is_in_the_target(quakes: Sandbox) -> None:
    report = quakes.report()

    assert (report["input_records"], report["loaded"], report["target_rows"]) == (1707, 1707, 1707)
    assert (report["rejected"], report["pending"]) == (0, 0)
    assert report["watermark"] == "2018-02-07T01:26:13.84Z"
    assert quakes.ok_here("store", "letters", "list", "--json").json["letters"] == []


def test_negative_magnitudes_are_loaded(quakes: Sandbox) -> None:
    assert quakes.select("SELECT count(*) FROM target WHERE value < 0") == [(44,)]


def test_a_record_leads_back_to_its_file_and_line(quakes: Sandbox) -> None:
    shown = quakes.ok_here("store", "lineage", "ci37868143").out
    entries = quakes.ok_here("store", "lineage", "ci37868143", "--json").json

    assert "data/earthquakes.json:1 " in shown
    assert [(entry["step"], entry["file"], entry["line"]) for entry in entries] == [
        ("stage", "data/earthquakes.json", 1),
        ("load", "data/earthquakes.json", 1),
    ]


def test_both_laws_hold(quakes: Sandbox) -> None:
    assert quakes.ok_here("store", "check", "--json").json["holds"] is True


def test_all_that_was_made_is_readable_by_its_user_alone(quakes: Sandbox) -> None:
    made = [quakes.home, *quakes.home.rglob("*")]

    assert {path.name for path in made} >= {"sluice.db", "redis.sock", "redis.log"}
    assert any(path.name.startswith("appendonly") for path in made)
    assert [str(path) for path in made if stat.S_IMODE(path.lstat().st_mode) & 0o077] == []


def test_the_private_redis_listens_on_no_network(quakes: Sandbox) -> None:
    with quakes.redis() as client:
        server = psutil.Process(int(client.info("server")["process_id"]))
        port = client.config_get("port")["port"]

    assert server.net_connections("inet") == []
    assert port == "0"

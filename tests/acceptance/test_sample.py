"""The seven-record sample: exact numbers, sent again, mended and replayed."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .sandbox import SAMPLE, Sandbox, sandbox

RECEIPT = {
    "input_records": 7,
    "staged": 5,
    "duplicates": 0,
    "superseded": 0,
    "rejected": 2,
    "skipped": 0,
    "loaded": 5,
    "inserted": 5,
    "updated": 0,
    "pending": 0,
    "dead_letters": 2,
    "lineage_entries": 12,
    "watermark": "2025-01-15T12:00:00Z",
    "reasons": {"invalid_value": 1, "missing_timestamp": 1},
    "dedupe": {"hits": 0, "misses": 5, "hit_rate": 0.0},
}


def chain(entries: list[dict[str, Any]]) -> list[str]:
    """The steps, each following the one before; it fails where an entry follows none of them."""
    following = {entry["parent_id"]: entry for entry in entries}
    steps, at = [], None
    while found := following.pop(at, None):
        steps.append(found["step"])
        at = found["id"]
    assert not following
    return steps


@pytest.fixture(scope="module")
def loaded() -> Iterator[Sandbox]:
    """The sample, sent and loaded. Tests leave it as it is."""
    with sandbox() as box:
        box.ok("producer", "enqueue", SAMPLE, cold=True)
        box.ok("worker", "up", "--burst", cold=True)
        yield box


def test_the_receipt_has_exactly_these_numbers(loaded: Sandbox) -> None:
    report = loaded.report()

    assert {name: report[name] for name in RECEIPT} == RECEIPT
    assert report["by_source"]["default"]["received"] == 7


def test_sent_again_it_changes_nothing(loaded: Sandbox) -> None:
    report, digest = loaded.report(), loaded.digest()

    again = loaded.enqueue(SAMPLE, "--json").json
    loaded.ok("worker", "up", "--burst")

    assert (again["records"], again["sent_batches"], again["known_batches"]) == (7, 0, 1)
    assert loaded.report() == report
    assert loaded.digest() == digest


def test_each_dead_letter_names_its_reason_file_and_line_and_keeps_its_payload(loaded: Sandbox) -> None:
    letters = loaded.ok_here("store", "letters", "list", "--json").json["letters"]

    assert [(letter["reason"], letter["file"], letter["line"]) for letter in letters] == [
        ("invalid_value", SAMPLE, 6),
        ("missing_timestamp", SAMPLE, 7),
    ]
    assert [letter["payload"] for letter in letters] == Path(SAMPLE).read_text().splitlines()[5:]
    with loaded.redis() as client:
        assert client.zcard("sluice:dlq") == 2


def test_mended_letters_are_replayed_until_none_is_open(box: Sandbox) -> None:
    box.enqueue(SAMPLE)
    box.ok("worker", "up", "--burst")

    tried = box.ok_here("producer", "replay", "--dry-run", "--json").json
    reasons = sorted(each["reason"] for each in tried["failures"])
    assert (tried["would_accept"], reasons) == (0, ["invalid_value", "missing_timestamp"])
    tried = box.ok_here("producer", "replay", "--dry-run", "--set", "value=3.5", "--json").json
    assert (tried["would_load"], [each["reason"] for each in tried["failures"]]) == (1, ["missing_timestamp"])
    assert box.queued() == 0

    sent = box.ok("producer", "replay", "--reason", "invalid_value", "--set", "value=3.5", "--json").json
    assert (sent["letters"], sent["sent_batches"]) == (1, 1)
    (id,) = (each["sample"] for each in tried["failures"])
    box.ok_here("producer", "replay", "--id", id[:12], "--set", "ts=2025-01-15T11:30:00Z")
    box.ok("worker", "up", "--burst")

    report = box.report()
    assert (report["dead_letters"], report["reasons"], report["target_rows"]) == (0, {}, 7)
    assert box.ok_here("store", "letters", "list", "--json").json["letters"] == []
    assert len(box.ok_here("store", "letters", "list", "--status", "resolved", "--json").json["letters"]) == 2
    assert box.select("SELECT value FROM target WHERE key = 'sensor-6'") == [(3.5,)]
    assert chain(box.ok_here("store", "lineage", "sensor-6", "--json").json) == [
        "reject",
        "replay",
        "stage",
        "load",
    ]
    with box.redis() as client:
        assert client.zcard("sluice:dlq") == client.hlen("sluice:dlq:letters") == 0
    box.check()


def test_letters_come_back_from_a_spreadsheet(box: Sandbox) -> None:
    box.enqueue(SAMPLE)
    box.ok("worker", "up", "--burst")
    path = str(box.folder / "fix.csv")
    box.ok("store", "letters", "export", "--output", path)
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [each["letter.reason"] for each in rows] == ["invalid_value", "missing_timestamp"]
    rows[0]["value"] = "3.4"
    with Path(path).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")  # as a spreadsheet of some countries
        writer.writeheader()
        writer.writerows(rows)
    assert (
        "1 changed, 1 unchanged, 0 refused" in box.ok("producer", "replay", "--from", path, "--dry-run").out
    )
    assert "1 dead letter sent back" in box.ok("producer", "replay", "--from", path, "--why", "typo").out
    box.ok("worker", "up", "--burst")
    again = box.run("producer", "replay", "--from", path)
    assert (again.code, "line 2" in again.err, "is resolved by now" in again.err) == (2, True, True)
    assert box.report()["dead_letters"] == 1
    box.check()

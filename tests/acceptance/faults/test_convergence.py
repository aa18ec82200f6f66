"""One digest, however the records were written, cut, shuffled, doubled and shared out."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from ..sandbox import Sandbox, sandbox
from .databases import new_database

RECORDS: list[dict[str, Any]] = [
    *(
        {
            "key": f"k{number % 60}",
            "name": f"name, {number}",
            "value": number / 4 - 10,
            "ts": f"2025-01-15T{number % 24:02}:{number % 60:02}:00Z",
            "site": f"hall {number % 3}",
        }
        for number in range(90)
    ),
    {"key": "k1", "name": "cloudy", "value": "cloudy", "ts": "2025-01-15T11:00:00Z", "site": "hall 1"},
    {"key": "k2", "name": "blank", "value": 1.5, "ts": "", "site": "hall 2"},
    {"key": "", "name": "nobody", "value": 2.5, "ts": "2025-01-15T11:00:00Z", "site": "hall 3"},
    {"key": "k3", "name": "later", "value": 3.5, "ts": "2099-01-01T00:00:00Z", "site": "hall 3"},
]
OPEN_LETTERS = 4
PARTITIONS = {"postgresql": 1, "postgresql in partitions": 3}
# All ways on PostgreSQL with SLUICE_TEST_BACKEND=postgresql, else one of each.
IS_WHOLE = os.environ.get("SLUICE_TEST_BACKEND") == "postgresql"


def as_json(records: list[dict[str, Any]]) -> bytes:
    return json.dumps(records, indent=1).encode()


def as_ndjson(records: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def as_csv(records: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    table = csv.DictWriter(text, list(records[0]))
    table.writeheader()
    table.writerows(records)
    return text.getvalue().encode()


WRITERS = {".json": as_json, ".ndjson": as_ndjson, ".csv": as_csv}


def written(suffix: str, seed: int) -> bytes:
    """The records, shuffled, a third of them doubled, in the form a suffix names."""
    chance = random.Random(seed)
    records = RECORDS + chance.sample(RECORDS, len(RECORDS) // 3)
    chance.shuffle(records)
    plain = WRITERS[suffix.removesuffix(".gz")](records)
    return gzip.compress(plain) if suffix.endswith(".gz") else plain


@pytest.fixture(scope="module")
def digest() -> str:
    """Of the records as they stand above, in one batch."""
    with sandbox() as box:
        box.enqueue(box.file("all.ndjson", as_ndjson(RECORDS)))
        box.ok("worker", "up", "--burst", "--workers", "1")
        assert box.report()["dead_letters"] == OPEN_LETTERS
        return box.digest()


@pytest.fixture
def site(request: pytest.FixtureRequest, database: str) -> Iterator[Sandbox]:
    """Over SQLite, or over PostgreSQL, with tables that are whole or in partitions."""
    if database == "sqlite":
        with sandbox() as made:
            yield made
        return
    with (
        new_database(request.getfixturevalue("server")) as url,
        sandbox(DATABASE_URL=url, SLUICE_PARTITIONS=str(PARTITIONS[database])) as made,
    ):
        yield made


WAYS = [(".json", 5000, 1), (".csv.gz", 7, 1), (".ndjson.gz", 1, 3)]


@pytest.mark.parametrize(
    ("database", "suffix", "batch_records", "workers"),
    [
        (database, *way)
        for way in WAYS
        for database in ("sqlite", *PARTITIONS)
        if IS_WHOLE or database == "sqlite" or way == WAYS[2 if PARTITIONS[database] > 1 else 1]
    ],
)
def test_the_digest_does_not_depend_on_the_way_here(
    site: Sandbox, digest: str, suffix: str, batch_records: int, workers: int
) -> None:
    file = site.file(f"some{suffix}", written(suffix, seed=batch_records))

    cut = ["--batch-records", str(batch_records), "--max-pending-batches", "1000"]
    sent = site.enqueue(file, *cut, "--json").json
    site.ok("worker", "up", "--burst", "--workers", str(workers))

    assert sent["records"] == len(RECORDS) + len(RECORDS) // 3
    assert sent["batches"] == -(-sent["records"] // batch_records)
    assert site.digest() == digest
    site.check()
    assert site.count("target") == 60


@pytest.mark.parametrize("database", ["postgresql in partitions"])
def test_two_loaders_of_one_command_load_the_partitions(site: Sandbox, digest: str) -> None:
    up = site.start("worker", "up", "--workers", "1", "--loaders", "2")
    site.enqueue(site.file("some.ndjson", written(".ndjson", seed=1)), "--batch-records", "7")
    site.until(
        lambda: (
            site.report()["input_records"] == 125 and site.report()["pending"] == 0 and site.count("target")
        ),
        "all is loaded",
    )
    assert site.workers("loader") == 2
    ended = up.stop()
    assert ended.code == 0
    assert " ready: 1 worker, 2 loaders and their schedule take work from Redis at " in ended.err
    assert site.digest() == digest
    site.check()
    assert site.run("worker", "up", "--burst", "--loaders", "2").code == 2

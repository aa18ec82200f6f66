"""What the user can fix: one line that says so, exit code 2, and nothing is sent."""

from __future__ import annotations

import re
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from ..commands import OWN_TERMINALS, Done
from ..sandbox import SAMPLE, Sandbox, sandbox

RECORD = '{"key": "a", "name": "n", "value": 1, "ts": "2025-01-15T08:00:00Z"}\n'


@pytest.fixture(scope="module")
def site() -> Iterator[Sandbox]:
    """Redis runs, one batch is queued, and no configuration is there."""
    with sandbox() as box:
        box.ok("producer", "enqueue", box.file("first.ndjson", RECORD))
        box.file("good.ndjson", RECORD.replace('"a"', '"b"'))
        box.file("empty.ndjson", "")
        box.file("table.xyz", "a b c\n")
        (box.folder / "folder.json").mkdir()
        yield box
        assert box.queued() == 1


def run(box: Sandbox, words: list[str], env: dict[str, str] | None = None) -> Done:
    """The command; in this process where it starts none, which is quicker."""
    starts_processes = words[0] == "rq" or words[:2] == ["worker", "up"]
    return box.run(*words, env=env) if starts_processes else box.run_here(*words, env=env)


def refused(box: Sandbox, done: Done, *patterns: str) -> None:
    """One line that matches all of these, exit code 2, and the queue and the store as they were."""
    assert done.code == 2, done
    assert done.err.count("\n") == 1, done.err
    assert done.err.startswith("error: ")
    assert done.out == ""
    missing = [pattern for pattern in patterns if not re.search(pattern, done.err)]
    assert not missing, f"{missing} not in: {done.err}"
    assert box.queued() == 1
    assert box.count("batches") == 0


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, nor can: it is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


@pytest.mark.parametrize(
    ("words", "patterns"),
    [
        (["nowhere.ndjson"], ["nowhere.ndjson: no such file", "check the path"]),
        (["good.ndjson", "nowhere.ndjson"], ["nowhere.ndjson: no such file"]),
        (["folder.json"], ["folder.json: no data file is in this folder"]),
        (["-", "good.ndjson", "-"], ["- is given twice"]),
        (["table.xyz"], ["table.xyz", "--format json, ndjson, csv, parquet or xlsx"]),
        (["good.ndjson", "--format", "avro"], ["'avro'", "json, ndjson, csv, parquet or xlsx"]),
        (["good.ndjson", "--source", "no such/name"], ["'no such/name'", "letters, digits"]),
        (["good.ndjson", "--batch-records", "0"], ["batch_records = 0", "greater than or equal to 1"]),
        (
            ["good.ndjson", "--source", "shop", "--strict"],
            ["'shop' has no entry", "it has: none", "nothing was sent"],
        ),
        (["good.ndjson", "--wait"], ["running worker", "running loader", "`worker up`"]),
    ],
    ids=" ".join,
)
def test_enqueue_refuses(site: Sandbox, words: list[str], patterns: list[str]) -> None:
    refused(site, site.run_here("producer", "enqueue", *words), *patterns)


@pytest.mark.parametrize(
    ("words", "patterns"),
    [
        (["--set", "value"], ["'value'", "FIELD=VALUE"]),
        (["--set", "=4"], ["'=4'", "FIELD=VALUE"]),
        (["--payload", "{}"], ["--payload", "--id"]),
        (["--id", "ffff"], ["'ffff'", "`store letters list`"]),
    ],
    ids=" ".join,
)
def test_replay_refuses(site: Sandbox, words: list[str], patterns: list[str]) -> None:
    refused(site, site.run_here("producer", "replay", *words), *patterns)


def test_an_empty_file_is_no_error_but_no_records(site: Sandbox) -> None:
    sent = site.enqueue("empty.ndjson", "--json").json

    assert (sent["records"], sent["batches"]) == (0, 0)


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("[producer]\nbatch_records = 'many'", ["batch_records", "'many'"]),
        ("[producer]\nbatch_size = 7", ["batch_size", "is not a key", "batch_records"]),
        ("[sources.shop]\nfields.value = 'a..b'", ["sources.shop", "fields.value", "'a..b'"]),
        ("[sources.shop]\nassume_tz = 'Mars/Base'", ["sources.shop", "assume_tz", "'Mars/Base'"]),
        ("[redis]\nurl = 'x'", ["'redis'", r"\[producer\]"]),
        ("[producer\n", ["sluice-bad.toml", "line 1"]),
    ],
)
def test_a_bad_configuration_names_its_key_and_value(site: Sandbox, text: str, patterns: list[str]) -> None:
    env = {"SLUICE_CONFIG": site.file("sluice-bad.toml", text)}

    refused(site, site.run_here("producer", "enqueue", "good.ndjson", env=env), *patterns)


def test_a_configuration_that_is_named_must_exist(site: Sandbox) -> None:
    env = {"SLUICE_CONFIG": "nowhere.toml"}

    refused(site, site.run("worker", "up", "--burst", env=env), "'nowhere.toml'", "SLUICE_CONFIG")


@pytest.mark.parametrize(
    "words",
    [
        "producer enqueue good.ndjson",
        "worker up --burst",
        "worker status",
        "rq worker",
        "rq cron worker.schedule",
    ],
)
def test_an_unreachable_redis_is_named_without_its_password(
    site: Sandbox, closed_port: int, words: str
) -> None:
    env = {"REDIS_URL": f"redis://:open-sesame@127.0.0.1:{closed_port}/0", **OWN_TERMINALS}

    done = run(site, words.split(), env)

    refused(site, done, f"127.0.0.1:{closed_port}", "cannot be reached", "REDIS_URL")
    assert "open-sesame" not in done.err


def test_an_address_that_is_none_is_refused(site: Sandbox) -> None:
    refused(
        site, site.run_here("producer", "enqueue", "good.ndjson", env={"REDIS_URL": "localhost"}), "REDIS_URL"
    )


@pytest.mark.parametrize(
    "words", ["producer enqueue good.ndjson", "worker up --burst", "store report", "rq worker --burst"]
)
def test_a_database_of_something_else_is_left_alone(site: Sandbox, words: str) -> None:
    path = site.folder / "another.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS songs (title TEXT)")
    before = path.read_bytes()

    done = run(site, words.split(), {"DATABASE_URL": f"sqlite:///{path}", **OWN_TERMINALS})

    refused(site, done, "another.db", "database_url")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("url", "patterns"),
    [
        ("sqlite:///{site}/table.xyz", ["table.xyz", "is not a database"]),
        ("sqlite:///{site}/table.xyz/s.db", ["table.xyz/s.db", "folder"]),
        ("sqlite:///{site}/folder.json", ["folder.json", "database_url|folder"]),
        ("oracle-of-delphi://x", ["database_url"]),
    ],
)
def test_an_unusable_database_is_named(site: Sandbox, url: str, patterns: list[str]) -> None:
    env = {"DATABASE_URL": url.format(site=site.folder)}

    refused(site, site.run_here("producer", "enqueue", "good.ndjson", env=env), *patterns)


def test_a_source_without_an_entry_is_warned_of_and_taken_as_it_is(box: Sandbox) -> None:
    env = {"SLUICE_CONFIG": box.file("sluice.toml", "[sources.shop]\n[sources.usgs]\n")}

    done = box.ok_here("producer", "enqueue", SAMPLE, "--source", "shpo", "--json", env=env)

    assert done.json["records"] == 7
    assert done.err.startswith("warning: source 'shpo'")
    assert "did you mean shop? (it has: shop, usgs)" in done.err
    assert done.err.rstrip().endswith("not mapped")
    assert done.err.count("\n") == 1

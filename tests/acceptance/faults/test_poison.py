"""A record that crashes or stops its validator is found, and no other record is lost with it.

The contract comes from the user: its validators may end the process, eat all memory, or never return.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import pytest

from worker.batch import poison as attempts

from ..sandbox import Sandbox, sandbox

BATCH = 16
CONTRACT = """
import os, re
from pathlib import Path
from pydantic import field_validator
from worker.contract import Event

def never():
    while True:
        pass

def hang_in_c():
    re.match(r"(a|aa)+$", "a" * 200 + "b")  # holds the interpreter until the end of days

KILLERS = {
    "exit": lambda: os._exit(7),
    "memory": lambda: bytearray(1 << 40),
    "slow memory": lambda: [bytearray(1 << 24) for _ in range(1 << 16)],
    "never": never,
    "hang": hang_in_c,
}

class Guarded(Event):
    @field_validator("name")
    @classmethod
    def judge(cls, name):
        if name in KILLERS:
            with Path(os.environ["TRIES"]).open("a") as tries:
                tries.write(name + "\\n")
            KILLERS[name]()
        return name
"""
SETTINGS = {
    "SLUICE_BATCH_RECORDS": str(BATCH),
    "SLUICE_RETRY_INTERVALS_SECONDS": "[0]",
    "SLUICE_JUDGE_TIMEOUT_SECONDS": "100000",
    "SLUICE_MEMORY_LIMIT_MB": "512",
    "SLUICE_CONTRACT": "contract:Guarded",
}


def most_tries(batch: int) -> int:
    """The whole batch, then one part of each size, then the record alone."""
    cuts = math.ceil(math.log2(batch))
    return attempts.TOLERATED + attempts.TOLERATED_PART * (cuts - 1) + attempts.TOLERATED


@pytest.fixture
def site() -> Iterator[Sandbox]:
    with sandbox(**SETTINGS) as box:
        box.file("contract.py", CONTRACT)
        box.env["TRIES"] = box.file("tries", "")
        yield box


def records(number: int, killers: dict[int, str]) -> str:
    """So many records, of which those with these numbers have the name of a killer."""
    return "".join(
        json.dumps({"key": f"k{n}", "name": killers.get(n, "n"), "value": n, "ts": "2025-01-15T08:00:00Z"})
        + "\n"
        for n in range(number)
    )


def tries(site: Sandbox) -> list[str]:
    return (site.folder / "tries").read_text().splitlines()


def assert_only_these_are_poison(site: Sandbox, number: int, poisonous: list[int]) -> None:
    letters = site.select("SELECT line, reason, occurrences FROM dead_letters ORDER BY line")
    assert letters == [(each + 1, "poison", 1) for each in poisonous]
    loaded = {key for (key,) in site.select("SELECT key FROM target")}
    assert loaded == {f"k{n}" for n in range(number) if n not in poisonous}
    assert site.ok_here("worker", "status", "--json").json["failed_batches"] == 0
    site.check()


@pytest.mark.parametrize("killer", ["exit", "never", "hang"])
def test_a_record_that_kills_its_judge_is_poison_alone_after_a_bounded_number_of_tries(
    site: Sandbox, killer: str
) -> None:
    if killer != "exit":  # an innocent batch on a slow machine may take longer: it is then cut, and not lost
        site.env |= {"SLUICE_JUDGE_TIMEOUT_SECONDS": "1", "SLUICE_JUDGE_TIMEOUT_PER_RECORD_SECONDS": "0"}
    site.enqueue(site.file("records.ndjson", records(40, {21: killer})))

    site.ok("worker", "up", "--burst", "--workers", "2")

    assert_only_these_are_poison(site, 40, [21])
    assert len(tries(site)) <= most_tries(BATCH)


def test_a_record_that_eats_all_memory_is_poison_alone_after_a_bounded_number_of_tries(site: Sandbox) -> None:
    text = records(40, {3: "memory", 30: "slow memory"})
    site.enqueue(site.file("records.ndjson", text))

    done = site.run("worker", "up", "--burst", "--workers", "2")

    assert done.code == 0, done.err
    assert "MemoryError" in done.err  # the job's own, in the log
    assert_only_these_are_poison(site, 40, [3, 30])
    assert tries(site).count("memory") <= most_tries(BATCH)
    assert tries(site).count("slow memory") <= most_tries(BATCH)


def test_several_poisonous_records_in_one_batch_are_all_found_and_kill_nobody_again(site: Sandbox) -> None:
    poisonous = [0, 6, 7, 15]  # at both ends, and neighbours
    text = records(BATCH, dict.fromkeys(poisonous, "exit"))
    path = site.file("records.ndjson", text)
    site.enqueue(path)

    site.ok("worker", "up", "--burst", "--workers", "2")

    assert_only_these_are_poison(site, BATCH, poisonous)
    before = tries(site)
    assert len(before) <= len(poisonous) * most_tries(BATCH)

    assert site.enqueue(path, "--json").json["known_batches"] == 1
    site.ok("worker", "up", "--burst", "--workers", "2")
    assert tries(site) == before


def test_waiting_follows_the_parts_of_a_batch_that_was_cut(site: Sandbox) -> None:
    site.start("worker", "up", "--workers", "2")
    socket = site.home / "redis" / "redis.sock"
    site.until(socket.exists, "Redis runs")
    site.until(lambda: site.workers() == 2 and site.workers("loader") == 1, "the workers take jobs")

    sent = site.ok(
        "producer", "enqueue", site.file("r.ndjson", records(40, {21: "exit"})), "--wait", "--json"
    )

    outcome = sent.json["outcome"]
    assert (outcome["received"], outcome["staged"], outcome["reasons"]) == (40, 39, {"poison": 1})
    assert_only_these_are_poison(site, 40, [21])

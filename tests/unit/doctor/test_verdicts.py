"""The rules of `worker doctor`: which answers are ok, a warning, or failed. Each rule is seen to say each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import rq

from store.database.backends.base import Facts
from worker.doctor import host, measures, others, redis_info, store_asked
from worker.doctor.findings import Finding, Limits, worst
from worker.queue.upkeep.notes import Note, our_version

LIMITS = Limits()
MB = 1 << 20
SERVER = {"redis_version": "7.2.4", "redis_mode": "standalone", "role": "master"}
MEMORY = {"maxmemory_policy": "noeviction", "maxmemory": 0, "used_memory": MB}
STORED = {"aof_enabled": 1, "aof_last_write_status": "ok", "rdb_last_bgsave_status": "ok"}
FACTS = Facts("PostgreSQL 16.1", (), True, {"fsync": "on"}, (), (5, 100))


def note(name: str = "w", queue: str = "records", **different: Any) -> Note:
    given = {
        "sluice": our_version(),
        "rq": rq.__version__,
        "fingerprints": {"": "aa", "shop": "bb"},
    } | different
    return Note(name, queue, "host-a", **given)


def verdict(finding: Finding) -> str:
    """That of a finding, which has a next step if and only if something is wrong."""
    assert finding.found
    assert bool(finding.next) == (finding.verdict != "ok")
    return finding.verdict


@pytest.mark.parametrize(
    ("different", "expected"),
    [
        ({}, "ok"),
        ({"valkey_version": "9.1.2"}, "ok"),
        ({"redis_version": "6.2.0"}, "ok"),
        ({"redis_version": "6.0.16"}, "failed"),
        ({"redis_version": ""}, "failed"),
        ({"redis_mode": "cluster"}, "failed"),
        ({"cluster_enabled": 1}, "failed"),
        ({"role": "slave"}, "failed"),
        ({"loading": 1}, "failed"),
    ],
)
def test_a_server_must_have_lmove_take_writes_and_be_no_cluster(
    different: dict[str, Any], expected: str
) -> None:
    assert verdict(redis_info.server(SERVER | different)) == expected


@pytest.mark.parametrize(
    ("different", "expected"),
    [
        ({}, "ok"),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": 100 * MB}, "failed"),
        ({"maxmemory_policy": "volatile-ttl", "maxmemory": 100 * MB}, "failed"),
        ({"maxmemory_policy": "allkeys-lru"}, "warning"),
        ({"maxmemory": 100 * MB, "used_memory": 96 * MB}, "failed"),
        ({"maxmemory": 100 * MB, "used_memory": 81 * MB}, "warning"),
        ({"maxmemory": 10 * MB}, "warning"),
        ({"maxmemory": 100 * MB}, "ok"),
    ],
)
def test_a_policy_that_evicts_has_failed_as_a_full_memory_has(
    different: dict[str, Any], expected: str
) -> None:
    assert verdict(redis_info.memory(MEMORY | different)) == expected


def test_a_policy_that_nobody_may_ask_for_is_not_taken_for_a_good_one() -> None:
    assert verdict(redis_info.memory({})) == "warning"
    assert verdict(redis_info.persistence({}, is_private=False)) == "warning"


@pytest.mark.parametrize(
    ("different", "is_private", "expected"),
    [
        ({}, True, "ok"),
        ({}, False, "ok"),
        ({"aof_enabled": 0}, True, "failed"),
        ({"aof_enabled": 0}, False, "warning"),
        ({"aof_last_write_status": "err"}, False, "failed"),
        ({"rdb_last_bgsave_status": "err"}, False, "failed"),
    ],
)
def test_a_queue_that_ends_with_the_server_is_a_warning_and_of_the_private_one_a_failure(
    different: dict[str, Any], is_private: bool, expected: str
) -> None:
    assert verdict(redis_info.persistence(STORED | different, is_private=is_private)) == expected


def test_few_free_connections_are_a_warning() -> None:
    few = {"connected_clients": 90, "maxclients": 100}
    assert verdict(redis_info.clients(few, {})) == "warning"
    assert verdict(redis_info.clients(few | {"maxclients": 1000}, {"socket_timeout": 5.0})) == "ok"
    assert verdict(store_asked.settings(FACTS, 30)) == "ok"
    crowded = Facts("PostgreSQL 16.1", (), True, {}, (), (90, 100))
    assert verdict(store_asked.settings(crowded, 30)) == "warning"


@pytest.mark.parametrize(
    ("difference", "error", "expected"),
    [
        (0.0, 0.0, "ok"),
        (5.4, 0.5, "ok"),  # it may be less
        (-6.0, 0.5, "warning"),
        (300.0, 0.1, "failed"),
        (-300.0, 0.1, "failed"),
    ],
)
def test_clocks_that_differ_by_more_than_the_error_of_the_measurement(
    difference: float, error: float, expected: str
) -> None:
    found = measures.clock("redis clock", difference, error, LIMITS, "Redis")
    assert verdict(found) == expected
    assert ("behind" if difference < 0 else "ahead of") in found.found


@pytest.mark.parametrize(("seconds", "expected"), [(0.001, "ok"), (0.05, "warning"), (0.6, "failed")])
def test_a_slow_answer(seconds: float, expected: str) -> None:
    assert verdict(measures.latency("redis latency", seconds, LIMITS)) == expected


def test_the_median_is_of_what_was_asked() -> None:
    asked: list[int] = []
    assert 0 <= measures.median(lambda: asked.append(1)) < 1
    assert len(asked) == measures.ANSWERS


def test_rights_that_are_missing_are_named() -> None:
    missing = Facts("PostgreSQL 16.1", ("DELETE on target", "INSERT on staging"), False, {}, (), None)
    found = store_asked.rights(missing)
    assert verdict(found) == "failed"
    assert "DELETE on target; INSERT on staging" in found.found
    assert verdict(store_asked.rights(FACTS)) == "ok"
    without_ddl = store_asked.rights(Facts("PostgreSQL 16.1", (), False, {}, (), None))
    assert verdict(without_ddl) == "ok"
    assert "not change them" in without_ddl.found


def test_a_setting_that_takes_a_promise_away_is_a_warning() -> None:
    doubtful = Facts("SQLite 3.45", (), True, {}, ("fsync is off: set it to on",), None)
    found = store_asked.settings(doubtful, 30)
    assert verdict(found) == "warning"
    assert found.next == "set it to on"


@pytest.mark.parametrize(("share", "expected"), [(0.0, "ok"), (2.0, "warning"), (1e12, "failed")])
def test_a_disk_is_judged_by_the_limits(tmp_path: Path, share: float, expected: str) -> None:
    large = 1 << 60
    limits = Limits(free_failed=int(share and share > 10 and large), free_warning=int(share and large))
    found = host.disk({"the home": tmp_path / "not" / "made"}, limits)
    assert verdict(found) == expected
    assert str(tmp_path) in found.found


def test_a_home_that_others_may_write_has_failed_and_one_that_they_may_read_is_a_warning(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    assert verdict(host.permissions(home, None)) == "ok"
    home.chmod(0o755)
    assert verdict(host.permissions(home, None)) == "warning"
    home.chmod(0o777)
    assert verdict(host.permissions(home, None)) == "failed"


OURS = {"": "aa", "shop": "bb"}


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        ([note(), note("l", "loader")], "ok"),
        ([], "warning"),
        ([note()], "warning"),
        ([note(), note("l", "loader", sluice="0.0.9")], "warning"),
        ([note(), note("l", "loader", rq="2.9")], "warning"),
        ([note(), note("l", "loader"), note("stock", sluice=None, fingerprints={})], "failed"),
    ],
)
def test_workers_of_other_versions_and_strangers(live: list[Note], expected: str) -> None:
    assert verdict(others.workers(live)) == expected


@pytest.mark.parametrize(
    ("fingerprints", "names"),
    [
        (OURS, []),
        ({"": "aa", "shop": "cc"}, ["shop"]),
        ({"": "zz", "shop": "bb"}, [""]),
        ({"": "aa"}, ["shop"]),  # it has no entry: the source is as any other there
        ({"": "aa", "shop": "bb", "new": "dd"}, ["new"]),
        ({"": "aa", "shop": "bb", "plain": "aa"}, []),  # an entry that changes nothing
        ({}, ["", "shop"]),
    ],
)
def test_a_worker_with_another_contract_for_any_source_has_failed(
    fingerprints: dict[str, str], names: list[str]
) -> None:
    found = others.contracts([note(), note("odd", fingerprints=fingerprints)], OURS)
    assert verdict(found) == ("failed" if names else "ok")
    assert all((name or "any other source") in found.found for name in names)
    assert ("odd" in found.found) == bool(names)


def test_what_is_left_behind_is_a_warning() -> None:
    assert (
        verdict(others.failed_jobs(0, 0))
        == verdict(others.quarantined(0))
        == verdict(others.leases([]))
        == "ok"
    )
    for found in (
        others.failed_jobs(1, 0),
        others.failed_jobs(0, 1),
        others.quarantined(2),
        others.leases(["x"]),
    ):
        assert verdict(found) == "warning"


def test_the_worst_of_all_decides() -> None:
    ok, warning, failed = (measures.latency("x", seconds, LIMITS) for seconds in (0.0, 0.1, 9.0))
    assert worst([]) == "ok"
    assert worst([ok, warning]) == "warning"
    assert worst([failed, warning, ok]) == "failed"

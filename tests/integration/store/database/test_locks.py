from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from store import database, timestamps
from store.database.backends import base
from store.errors import LockHeld, LockLost
from store.tables import leases

ELSEWHERE = "another-host:1:00"


def take(engine: Engine, holder: str, seconds: float = 60) -> None:
    with database.transaction(engine) as connection:
        leases.acquire(connection, "loader", holder, seconds)


def holder(engine: Engine) -> str | None:
    with database.reading(engine) as connection:
        return leases.holder_of(connection, "loader")


def dead_process() -> int:
    """The id of a process that is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_free_lock_is_taken_and_given_back(engine: Engine) -> None:
    take(engine, ELSEWHERE)
    assert holder(engine) == ELSEWHERE
    with database.transaction(engine) as connection:
        leases.release(connection, "loader", ELSEWHERE)
    assert holder(engine) is None


@pytest.mark.parametrize("mine", [ELSEWHERE, None])
def test_a_held_lock_is_refused_naming_its_holder(engine: Engine, mine: str | None) -> None:
    first = mine or leases.new_holder()
    take(engine, first)
    with pytest.raises(LockHeld, match="held by") as refused:
        take(engine, leases.new_holder())
    assert first in str(refused.value)
    assert holder(engine) == first


def test_two_locks_do_not_know_each_other(engine: Engine) -> None:
    take(engine, ELSEWHERE)
    with database.transaction(engine) as connection:
        leases.acquire(connection, "pruner", leases.new_holder(), 60)


def test_a_lock_that_ran_out_is_taken_over(engine: Engine) -> None:
    take(engine, ELSEWHERE, seconds=-1)
    assert holder(engine) is None
    take(engine, "new-host:2:11")
    assert holder(engine) == "new-host:2:11"


def test_a_lock_is_taken_over_that_was_taken_before_the_clock_was_set_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = database.now
    monkeypatch.setattr(database, "now", lambda connection: now(connection) + timedelta(hours=1))
    take(engine, ELSEWHERE)
    monkeypatch.setattr(database, "now", now)
    take(engine, "new-host:2:11")
    assert holder(engine) == "new-host:2:11"
    with pytest.raises(LockLost), database.transaction(engine) as connection:
        leases.renew(connection, "loader", ELSEWHERE, 60)


def test_a_wrong_clock_of_a_host_that_is_known_decides_no_lease(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(engine, ELSEWHERE)
    present = timestamps.now()
    for hours in (-2, 2):
        moment = present + timedelta(hours=hours)
        monkeypatch.setattr(timestamps, "now", lambda moment=moment: moment)
        monkeypatch.setattr(base, "_host_is_ahead", hours * 3600.0)  # as Redis' clock has told
        with pytest.raises(LockHeld):
            take(engine, "new-host:2:11")


def test_the_lock_of_a_dead_process_of_this_host_is_taken_over(engine: Engine) -> None:
    take(engine, f"{socket.gethostname()}/{leases.this_boot()}:{dead_process()}:00")
    mine = leases.new_holder()
    take(engine, mine)
    assert holder(engine) == mine


def test_the_same_process_number_of_another_host_is_not_taken_for_dead(engine: Engine) -> None:
    take(engine, f"another-host/0123456789ab:{dead_process()}:00")
    with pytest.raises(LockHeld):
        take(engine, leases.new_holder())


def test_two_hosts_of_one_name_are_two(engine: Engine) -> None:
    """As containers often are: a process that one of them does not have may live in the other."""
    take(engine, f"{socket.gethostname()}/0123456789ab:{dead_process()}:00")
    with pytest.raises(LockHeld):
        take(engine, leases.new_holder())


def test_a_lease_that_was_taken_again_is_lost_though_the_holder_has_the_same_name(engine: Engine) -> None:
    with database.transaction(engine) as connection:
        first = leases.acquire(connection, "loader", ELSEWHERE, -1)
        second = leases.acquire(connection, "loader", ELSEWHERE, 60)
        leases.renew(connection, "loader", ELSEWHERE, 60, second)
    with pytest.raises(LockLost), database.transaction(engine) as connection:
        leases.renew(connection, "loader", ELSEWHERE, 60, first)


def test_the_fence_grows_over_releases(engine: Engine) -> None:
    fences = []
    for number in range(3):
        with database.transaction(engine) as connection:
            fences.append(leases.acquire(connection, "loader", f"{ELSEWHERE}{number}", 60))
            leases.release(connection, "loader", f"{ELSEWHERE}{number}")
    assert fences == [1, 2, 3]
    assert holder(engine) is None


def test_a_host_name_may_hold_colons(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "fe80::1")
    take(engine, leases.new_holder())
    with pytest.raises(LockHeld):
        take(engine, leases.new_holder())


def test_renewing_extends_the_lease(engine: Engine) -> None:
    take(engine, ELSEWHERE, seconds=-1)
    with database.transaction(engine) as connection:
        leases.renew(connection, "loader", ELSEWHERE, 60)
    assert holder(engine) == ELSEWHERE


def test_a_lock_that_another_took_is_lost(engine: Engine) -> None:
    take(engine, ELSEWHERE, seconds=-1)
    take(engine, "new-host:2:11")
    with pytest.raises(LockLost), database.transaction(engine) as connection:
        leases.renew(connection, "loader", ELSEWHERE, 60)
    with database.transaction(engine) as connection:
        leases.release(connection, "loader", ELSEWHERE)
    assert holder(engine) == "new-host:2:11"


def test_holders_of_one_process_differ() -> None:
    assert leases.new_holder() != leases.new_holder()
    assert leases.new_holder().startswith(f"{socket.gethostname()}/{leases.this_boot()}:{os.getpid()}:")

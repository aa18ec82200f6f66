"""`store backup` and `store restore`, as commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..conftest import Ledger
from .conftest import Command


@pytest.mark.sqlite("its file is copied")
def test_a_backup_and_a_restore_say_what_they_did_and_what_is_left_to_do(
    sample: Ledger, store: Command, tmp_path: Path
) -> None:
    digest = sample.digest()
    made = store("backup", "monday.db")
    assert (made.code, made.out.startswith("monday.db is a copy: 1 batches, the last of ")) == (0, True)
    again = store("backup", "monday.db")
    assert (again.code, "exists" in again.err) == (2, True)
    assert store("backup", "monday.db", "--force", "--json").json["batches"] == 1
    busy = store("restore", "monday.db")
    assert (busy.code, "is in use: end `worker up`" in busy.err) == (2, True)
    sample.engine.dispose()
    restored = store("restore", "monday.db")
    assert restored.code == 0, restored.err
    assert "is restored: 1 batches" in restored.out
    assert f"The database that was there is {tmp_path}/sluice.db.before-" in restored.out
    assert "Not done: the private Redis is not running. Run `store check --repair`" in restored.out
    assert "send those files again" in restored.out
    assert sample.digest() == digest
    sample.engine.dispose()
    answer = store("restore", "monday.db", "--json").json
    assert Path(answer["replaced"]).exists()
    assert answer["queue"][0]["unchecked"] == "the private Redis is not running"


def test_a_backup_of_no_database_makes_none(store: Command, tmp_path: Path) -> None:
    absent = store("backup", "a.db")
    assert (absent.code, "is gone" in absent.err) == (2, True)
    assert not list(tmp_path.glob("*.db"))


def test_other_databases_have_their_own_tools(store: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite://")
    for command in ("backup", "restore"):
        assert "back it up and restore it with its own tools" in store(command, "a.db").err

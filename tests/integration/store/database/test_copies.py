"""`store backup` and `store restore`, and a database that is overwritten while it is used."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from store import database
from store.database import copies, generation, install
from store.errors import ForeignDatabase, NotTrusted, StoreUnavailable, UsageError
from store.settings import StoreSettings
from worker.queue import same_store

from ...plant import Plant, ndjson, row

pytestmark = pytest.mark.sqlite("its file is copied")

ONE, TWO = ndjson(row("a"), row("b", value="x")), ndjson(row("c"), row("d", value="x"))


def no_progress(_done: int, _pages: int) -> None:
    """Nobody watches."""


def back_up(plant: Plant, name: str = "copy.db", *, force: bool = False) -> Path:
    return copies.back_up(plant.database, plant.home / name, force=force, progress=no_progress).file


def restore(plant: Plant, file: Path) -> copies.Copied:
    plant.close()
    return copies.restore(file, plant.database, progress=no_progress)


def overwrite(plant: Plant, file: Path) -> None:
    """What `cp` does: the same file, with other content, and the log as it was."""
    with file.open("rb") as source, plant.database.open("r+b") as target:
        target.truncate()
        shutil.copyfileobj(source, target)


def generation_of(file: Path) -> int:
    found = generation.state_of(file)
    assert found
    return found.generation


@pytest.fixture
def loaded(plant: Plant) -> Plant:
    plant.run(ONE)
    return plant


def test_a_process_that_comes_to_a_database_that_another_has_just_made_gives_it_no_other_generation(
    loaded: Plant,
) -> None:
    before = generation_of(loaded.database)
    install.migrate(loaded.engine)  # it looked before there were tables
    assert generation_of(loaded.database) == before
    loaded.run(TWO)


# --- backup ---


def test_a_backup_is_private_in_one_file_and_whole_with_what_is_still_in_the_log(loaded: Plant) -> None:
    digest, file = loaded.digest(), back_up(loaded)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in loaded.home.glob("copy.db*")] == ["copy.db"]
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("SELECT count(*) FROM target").fetchone() == (1,)
    restore(loaded, file)
    assert loaded.digest() == digest


def test_a_backup_is_of_one_moment_while_others_write(loaded: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "PAGES_AT_ONCE", 5)
    files = iter(range(99))
    steps = []

    def write(done: int, pages: int) -> None:
        steps.append((done, pages))
        if len(steps) < 4:
            loaded.run(ndjson(row(f"new-{next(files)}")), f"{len(steps)}.ndjson")

    made = copies.back_up(loaded.database, loaded.home / "copy.db", force=False, progress=write)
    assert made.batches == 1
    assert len(loaded.rows("batches", "seq")) == 4
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})  # it never began anew


def test_a_backup_replaces_nothing_without_force(loaded: Plant) -> None:
    file = back_up(loaded)
    with pytest.raises(UsageError, match="exists: give another name, or --force"):
        back_up(loaded)
    loaded.run(TWO, "two.ndjson")
    assert back_up(loaded, force=True) == file
    with pytest.raises(UsageError, match="is the database itself"):
        copies.back_up(loaded.database, loaded.database, force=True, progress=no_progress)


def test_a_backup_that_fails_leaves_nothing_and_replaces_nothing(loaded: Plant) -> None:
    file = back_up(loaded)
    before = file.read_bytes()
    with loaded.database.open("r+b") as damaged:
        loaded.close()
        damaged.seek(40_000)
        damaged.write(b"\xff" * 200_000)
    with pytest.raises((StoreUnavailable, ForeignDatabase)):
        back_up(loaded, force=True)
    assert file.read_bytes() == before
    assert not list(loaded.home.glob("*.partial*"))


# --- restore ---


def test_a_restored_database_is_what_it_was_and_the_replaced_one_is_put_aside(loaded: Plant) -> None:
    digest, file = loaded.digest(), back_up(loaded)
    loaded.run(TWO, "two.ndjson")
    later = loaded.digest()
    made = restore(loaded, file)
    assert loaded.digest() == digest
    assert loaded.violations() == []
    assert made.replaced
    restore(loaded, made.replaced)
    assert loaded.digest() == later


def test_files_sent_again_after_a_restore_bring_what_was_lost(loaded: Plant) -> None:
    file = back_up(loaded)
    loaded.run(TWO, "two.ndjson")
    later = loaded.digest()
    restore(loaded, file)
    assert loaded.run(ONE).sent_batches == 0
    assert loaded.run(TWO, "two.ndjson").sent_batches == 1
    assert loaded.digest() == later


def test_each_copy_and_each_restored_database_is_a_generation_of_its_own(loaded: Plant) -> None:
    first, second = back_up(loaded, "1.db"), back_up(loaded, "2.db")
    loaded_generation = generation_of(loaded.database)
    restore(loaded, first)
    assert len({loaded_generation, *map(generation_of, (first, second, loaded.database))}) == 4


def test_nothing_is_restored_while_somebody_has_the_database_open(loaded: Plant) -> None:
    file = back_up(loaded)
    with closing(sqlite3.connect(loaded.database)) as other:
        other.execute("SELECT count(*) FROM target").fetchone()
        with pytest.raises(StoreUnavailable, match="is in use: end `worker up`"):
            restore(loaded, file)
    assert not list(loaded.home.glob("*.partial*"))
    restore(loaded, file)


def test_only_a_whole_database_of_this_version_is_restored(loaded: Plant) -> None:
    good, digest = back_up(loaded), loaded.digest()
    other, older, torn, text = (loaded.home / f"{name}.db" for name in ("other", "older", "torn", "text"))
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE t (a)")
    shutil.copy(good, older)
    with closing(sqlite3.connect(older)) as connection, connection:
        connection.execute("UPDATE sluice_schema SET version_num = '0000'")
    torn.write_bytes(good.read_bytes()[:-50_000])
    text.write_bytes(b"key,name\n")
    for file, why in (
        (other, "not one of Sluice's"),
        (older, "revision 0000"),
        (torn, "torn.db is"),
        (text, "not a whole"),
    ):
        file.chmod(0o600)
        with pytest.raises(ForeignDatabase, match=why):
            restore(loaded, file)
    with pytest.raises(UsageError, match="is not a file"):
        restore(loaded, loaded.home / "absent.db")
    good.chmod(0o666)
    with pytest.raises(NotTrusted):
        restore(loaded, good)
    assert loaded.digest() == digest


def test_a_damaged_or_absent_database_is_restored_too(loaded: Plant) -> None:
    digest, file = loaded.digest(), back_up(loaded)
    loaded.close()
    loaded.database.write_bytes(b"damaged")
    loaded.database.with_name("sluice.db-wal").write_bytes(b"of another")
    made = restore(loaded, file)
    assert loaded.digest() == digest
    assert made.replaced
    assert made.replaced.read_bytes() == b"damaged"
    assert made.replaced.with_name(made.replaced.name + "-wal").exists()
    loaded.close()
    loaded.database.unlink()
    assert restore(loaded, file).replaced is None
    assert loaded.digest() == digest


# --- overwritten in place ---


def queued(plant: Plant) -> int:
    return len(plant.broker.queue("records").scheduled_job_registry) + plant.broker.waiting()


def test_a_worker_notices_a_copy_that_is_put_over_its_database(
    loaded: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    """And does so for every batch, until it is started again: none of them is lost, and none is written."""
    file = back_up(loaded)
    loaded.run(TWO, "two.ndjson")
    messages = [loaded.messages(loaded.file(ndjson(row(key)), f"{key}.ndjson")) for key in "xy"]
    overwrite(loaded, file)
    for [message] in messages:
        loaded.broker.send([message])
        loaded.work()
    assert queued(loaded) == 2
    logged = [each.getMessage() for each in caplog.records]
    why = "was overwritten while it was in use (its generation is "
    for [message] in messages:  # at least once: on a slow machine the first one may be due again
        assert any(message.id in each and why in each for each in logged)
    assert "`store restore FILE`" in caplog.text


def test_an_older_copy_of_the_same_generation_is_noticed_by_its_last_batch(
    loaded: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "COUNT_EVERY_SECONDS", -1.0)
    loaded.close()
    older = Path(shutil.copy(loaded.database, loaded.home / "older.db"))
    loaded.run(TWO, "two.ndjson")
    with database.transaction(loaded.engine):
        pass
    overwrite(loaded, older)
    with (
        pytest.raises(
            StoreUnavailable, match=r"overwritten while it was in use \(its last batch is 1, and was 2\)"
        ),
        database.transaction(loaded.engine),
    ):
        pass


def test_a_new_process_notices_a_copy_whose_log_is_of_another(loaded: Plant) -> None:
    file = back_up(loaded)
    with database.transaction(loaded.engine) as connection:  # the header is in the log
        connection.exec_driver_sql("CREATE TABLE another (a)")
    overwrite(loaded, file)
    generation.forget()
    with pytest.raises(StoreUnavailable, match="and that of its log"), database.transaction(loaded.engine):
        pass


def test_another_file_of_its_name_is_no_file_that_was_overwritten(loaded: Plant) -> None:
    file = back_up(loaded)
    loaded.run(TWO, "two.ndjson")
    restore(loaded, file)
    loaded.run(TWO, "two.ndjson")
    assert loaded.violations() == []


def test_a_redis_that_worked_for_another_database_is_warned_of_once(
    loaded: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    def note() -> int:
        caplog.clear()
        same_store.note(loaded.redis, StoreSettings.load())
        return caplog.text.count("is not the one that this Redis has worked for")

    file = back_up(loaded)
    assert [note(), note()] == [0, 0]
    restore(loaded, file)
    assert [note(), note()] == [1, 0]
    loaded.redis.delete(same_store.KEY)
    loaded.redis.lpush(same_store.KEY, "of another type")
    assert [note(), note()] == [0, 0]

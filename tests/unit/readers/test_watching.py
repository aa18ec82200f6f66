"""Which files of a folder are ready: only what nothing changes any more, each state once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from producer.arrivals.watching import Look, Watch
from store.errors import InputError


def refusal(path: str) -> str | None:
    return None if path.endswith(".csv") else "no format"


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(str(tmp_path), refusal, "*", settle_seconds=2)


def names(look: Look) -> tuple[list[str], list[str], list[str]]:
    found = [[Path(each.path).name for each in some] for some in (look.ready, look.unsettled, look.others)]
    return found[0], found[1], found[2]


def test_a_file_is_ready_when_it_was_the_same_for_the_time_to_settle(watch: Watch, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("1")
    assert names(watch.look(10)) == ([], ["a.csv"], [])
    assert names(watch.look(11.9)) == ([], ["a.csv"], [])
    file.write_text("12")
    assert names(watch.look(12.1)) == ([], ["a.csv"], [])
    assert names(watch.look(14.0)) == ([], ["a.csv"], [])
    assert names(watch.look(14.1)) == (["a.csv"], [], [])


@pytest.mark.parametrize("change", ["size", "time", "inode"])
def test_each_state_of_a_file_is_done_once(watch: Watch, tmp_path: Path, change: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text("1")
    os.utime(file, ns=(5, 5))
    watch.look(0)
    [entry] = watch.look(2).ready
    watch.done(entry)
    assert names(watch.look(9)) == ([], [], [])
    new = tmp_path / "b"
    new.write_text("12" if change == "size" else "1")
    os.utime(new, ns=(6, 6) if change == "time" else (5, 5))
    if change == "inode":
        new.rename(file)
    else:
        content, times = new.read_text(), new.stat()
        new.unlink()
        file.write_text(content)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert names(watch.look(10))[1] == ["a.csv"]
    assert names(watch.look(12))[0] == ["a.csv"]


def test_a_file_that_may_be_read_since_is_tried_again(watch: Watch, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("1")
    watch.look(0)
    [entry] = watch.look(2).ready
    watch.done(entry)
    file.chmod(0o600)
    file.chmod(0o644)
    assert names(watch.look(3))[1] == ["a.csv"]
    assert names(watch.look(5))[0] == ["a.csv"]


def test_an_unfinished_file_is_not_there_until_it_is_renamed(watch: Watch, tmp_path: Path) -> None:
    file = tmp_path / "a.csv.part"
    file.write_text("1")
    (tmp_path / ".b.csv").write_text("1")
    assert names(watch.look(0)) == ([], [], [])
    file.rename(tmp_path / "a.csv")
    assert names(watch.look(1)) == ([], ["a.csv"], [])
    assert names(watch.look(3)) == (["a.csv"], [], [])


def test_what_is_no_data_file_is_named_once_and_again_after_it_was_gone(watch: Watch, tmp_path: Path) -> None:
    other = tmp_path / "README"
    other.write_text("1")
    assert names(watch.look(0))[2] == ["README"]
    assert names(watch.look(1))[2] == []
    other.unlink()
    watch.look(2)
    other.write_text("1")
    assert names(watch.look(3))[2] == ["README"]


def test_the_pattern_chooses_and_what_it_does_not_choose_is_not_named(tmp_path: Path) -> None:
    for name in ("a-1.csv", "b-1.csv", "README"):
        (tmp_path / name).write_text("1")
    found = Watch(str(tmp_path), refusal, "a-*", settle_seconds=0).look(0)
    assert names(found) == (["a-1.csv"], [], [])


def test_a_folder_that_is_away_is_an_error_of_one_look(watch: Watch, tmp_path: Path) -> None:
    missing = Watch(str(tmp_path / "none"), refusal, "*", 0)
    with pytest.raises(InputError, match="none cannot be read"):
        missing.look(0)
    (tmp_path / "none").mkdir()
    assert names(missing.look(1)) == ([], [], [])

"""What others may have written is not believed: the home, the database and what SQLite reads beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from store import database, trust
from store.database import install
from store.errors import ConfigError, NotTrusted
from store.settings import StoreSettings

STRANGER = 4711


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def prepare(**settings: object) -> None:
    install.prepare(StoreSettings.load(**settings)).dispose()


def refused(**settings: object) -> str:
    with pytest.raises(NotTrusted) as raised:
        prepare(**settings)
    with pytest.raises(NotTrusted):
        database.existing(StoreSettings.load(**settings))
    assert NotTrusted.exit_code == 2
    return str(raised.value)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702, 0o720])
def test_a_home_that_others_may_write_is_refused(
    home: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "_is_own_group", lambda _: False)
    home.mkdir()
    home.chmod(mode)
    assert "chmod go-w" in refused(home=home)
    assert list(home.iterdir()) == []


def test_a_home_in_a_group_of_its_owner_alone_is_taken(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_is_own_group", lambda _: True)
    home.mkdir()
    home.chmod(0o770)
    prepare(home=home)


@pytest.mark.parametrize("exists", [True, False])
def test_a_home_that_is_a_link_is_not_followed(home: Path, tmp_path: Path, exists: bool) -> None:
    elsewhere = tmp_path / "elsewhere"
    if exists:
        elsewhere.mkdir(mode=0o700)
    home.symlink_to(elsewhere)
    assert "is a link" in refused(home=home)
    assert not list(tmp_path.rglob("sluice.db"))


@pytest.mark.parametrize("file", ["sluice.db", "sluice.db-wal", "sluice.db-journal", "sluice.db-shm"])
def test_a_database_that_others_may_write_is_refused_and_left_as_it_is(home: Path, file: str) -> None:
    prepare(home=home)
    (home / file).touch()
    before = (home / "sluice.db").read_bytes()
    (home / file).chmod(0o666)
    assert "everybody may write it (mode 0666)" in refused(home=home)
    assert (home / "sluice.db").read_bytes() == before


@pytest.mark.parametrize("file", ["sluice.db", "sluice.db-wal"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_database_that_is_a_link_is_not_followed(
    home: Path, tmp_path: Path, file: str, exists: bool
) -> None:
    home.mkdir(mode=0o700)
    elsewhere = tmp_path / "elsewhere"
    if exists:
        elsewhere.touch(mode=0o600)
    (home / file).symlink_to(elsewhere)
    assert "is a link" in refused(home=home)
    assert elsewhere.exists() == exists


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["", "sluice.db", "sluice.db-wal"])
def test_what_belongs_to_another_user_is_refused(home: Path, what: str) -> None:
    prepare(home=home)
    (home / (what or "sluice.db")).touch()
    os.chown(home / what, STRANGER, STRANGER)
    assert f"belongs to user {STRANGER}" in refused(home=home)


def test_a_database_beside_others_files_must_be_ours_and_its_folder_too(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)  # as /tmp: nobody changes another's file
    prepare(database_url=f"sqlite:///{shared}/x.db")
    assert (shared / "x.db").stat().st_mode & 0o777 == 0o600
    shared.chmod(0o777)
    assert "everybody may write it" in refused(database_url=f"sqlite:///{shared}/x.db")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "sluice.toml"
    path.write_text("[store]\nbusy_timeout_seconds = 3\n")
    path.chmod(0o644)
    monkeypatch.setenv("SLUICE_CONFIG", str(path))
    return path


def test_a_configuration_that_others_may_write_is_refused(config: Path) -> None:
    assert StoreSettings.load().busy_timeout_seconds == 3
    config.chmod(0o646)
    with pytest.raises(NotTrusted, match="run as code and is not this user's alone: everybody may write it"):
        StoreSettings.load()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_configuration_of_another_user_is_refused_and_so_is_their_link(
    config: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.toml"
    config.rename(tmp_path / "mine.toml")
    link.symlink_to("mine.toml")
    link.rename(config)
    assert StoreSettings.load().busy_timeout_seconds == 3
    os.chown(config, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(NotTrusted, match="is a link of user"):
        StoreSettings.load()
    os.chown(config, 0, 0, follow_symlinks=False)
    os.chown(tmp_path / "mine.toml", STRANGER, STRANGER)
    with pytest.raises(NotTrusted, match=f"it belongs to user {STRANGER}"):
        StoreSettings.load()


def test_a_configuration_that_cannot_be_read_is_an_error_as_before(config: Path) -> None:
    config.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        StoreSettings.load()

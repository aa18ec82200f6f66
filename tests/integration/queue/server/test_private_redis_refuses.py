"""What the private server refuses, and what it reports when it does not start."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import closing
from pathlib import Path

import pytest
from redis import Redis

from store.errors import QueueUnavailable
from worker.queue.server import private_server

from .private_homes import (
    data_of,
    program,
    server_id,
    stopped_afterwards,
)


@pytest.mark.parametrize("trap", ["a symbolic link", "a folder open to others", "a file"])
def test_a_socket_folder_that_others_could_have_made_is_refused(
    deep_home: Path, base: Path, trap: str
) -> None:
    folder = base / "run" / Path(private_server.url(deep_home)).parent.name
    if trap == "a symbolic link":
        (base / "theirs").mkdir(mode=0o700)
        folder.symlink_to(base / "theirs")
    elif trap == "a file":
        folder.touch(mode=0o600)
    else:
        folder.mkdir()
        folder.chmod(0o755)

    with pytest.raises(QueueUnavailable, match="is not a folder of this user alone"):
        private_server.ensure_running(deep_home)
    with pytest.raises(QueueUnavailable, match=folder.name):
        private_server.url(deep_home)


def test_a_data_folder_open_to_others_is_refused(home: Path) -> None:
    data_of(home).mkdir(parents=True)
    data_of(home).chmod(0o777)

    with pytest.raises(QueueUnavailable, match=r"mode 0777.*SLUICE_HOME"):
        private_server.ensure_running(home)
    data_of(home).chmod(0o700)


def test_a_home_that_cannot_be_made_is_named(base: Path) -> None:
    (base / "file").touch()

    with pytest.raises(QueueUnavailable, match=r"file.* cannot be used .*SLUICE_HOME"):
        private_server.ensure_running(base / "file" / "home")


def test_a_home_with_an_odd_name_works(base: Path) -> None:
    for home in stopped_afterwards(base / "a b%20#é'\""):
        with closing(Redis.from_url(private_server.ensure_running(home))) as client:
            assert client.ping()


def test_a_server_that_does_not_start_is_reported_with_its_last_word_and_its_log(home: Path) -> None:
    data_of(home).mkdir(parents=True, mode=0o700)
    (data_of(home) / "appendonly.aof").write_text("this is no append-only file\n")

    with pytest.raises(QueueUnavailable, match=r"Bad file format.*redis\.log"):
        private_server.ensure_running(home)
    assert not private_server.is_running(home)


def test_a_server_that_refuses_its_options_is_reported_with_what_it_reported(
    home: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(base / "bin" / "redis-server", "echo 'Bad directive'\nexit 1\n")
    monkeypatch.setenv("PATH", str(base / "bin"), prepend=os.pathsep)

    with pytest.raises(QueueUnavailable, match=r"redis-server does not start.*Bad directive"):
        private_server.ensure_running(home)


def test_a_server_that_never_answers_is_given_up(
    home: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This one keeps its life lock, and listens nowhere."""
    program(base / "bin" / "redis-server", "sleep 600 >/dev/null 2>&1 &\n" + f'echo $! >"{base}/sleeper"\n')
    monkeypatch.setenv("PATH", str(base / "bin"), prepend=os.pathsep)
    monkeypatch.setattr(private_server, "START_SECONDS", 0.3)

    try:
        with pytest.raises(QueueUnavailable, match=r"did not answer in 0\.3 s"):
            private_server.ensure_running(home)
    finally:
        os.kill(int((base / "sleeper").read_text()), signal.SIGKILL)
    shutil.rmtree(data_of(home))


def test_a_server_that_is_busy_counts_as_running(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private_server.ensure_running(home)
    process = server_id(home)
    monkeypatch.setattr(private_server, "ANSWER_SECONDS", 0.1)
    os.kill(process, signal.SIGSTOP)
    try:
        assert private_server.is_running(home)
    finally:
        os.kill(process, signal.SIGCONT)

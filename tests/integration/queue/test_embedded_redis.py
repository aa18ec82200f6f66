"""The private redis-server, for real: each test has its own home and ends its own server."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from redis import Redis

from store.errors import QueueUnavailable
from worker.queue import private_server
from worker.queue.server_program import find_server

ROOT = Path(__file__).parents[3]
START = "import sys; from pathlib import Path; from worker.queue.private_server import ensure_running; "


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder with a short name: pytest's own is too deep for a socket."""
    with tempfile.TemporaryDirectory(prefix="sl-") as folder:
        yield Path(folder)


@pytest.fixture
def home(base: Path) -> Iterator[Path]:
    yield from _home(base / "home")


@pytest.fixture
def deep_home(base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Too deep for a socket; the runtime directory is `base / "run"`."""
    (base / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base / "run"))
    yield from _home(base / ("d" * 120))


def _home(home: Path) -> Iterator[Path]:
    yield home
    if _data(home).is_dir():
        private_server.stop(home)


def _data(home: Path) -> Path:
    return home / "redis"


def _server_id(home: Path) -> int:
    """The server's process id, by its own word."""
    with _redis(home) as client:
        return int(client.info("server")["process_id"])


def _redis(home: Path) -> Redis:
    return Redis.from_url(private_server.url(home))


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)


def _kill(home: Path) -> None:
    """SIGKILL, once all it was told has reached the append-only file; returns when it is gone."""
    with _redis(home) as client:
        _until(lambda: client.info("persistence")["aof_buffer_length"] == 0)
        process = int(client.info("server")["process_id"])
        os.kill(process, signal.SIGKILL)
    _until(lambda: not private_server.is_running(home))


def _append_only_file(home: Path) -> Path:
    """The part that is being written to, by Redis 6 or 7."""
    parts = [*_data(home).glob("appendonlydir/*.incr.aof"), _data(home) / "appendonly.aof"]
    return parts[0]


VERSION = "[ \"$1\" = --version ] && echo 'Redis server v=7.0.0' && exit\n"


def _program(path: Path, text: str) -> Path:
    """A stand-in for a server, which tells a version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + VERSION + text)
    path.chmod(0o755)
    return path


def test_a_second_call_finds_the_server_of_the_first(home: Path) -> None:
    first = private_server.ensure_running(home)
    process = _server_id(home)

    assert private_server.ensure_running(home) == first == private_server.url(home)
    assert first.startswith("unix:///")
    assert _server_id(home) == process
    assert private_server.is_running(home)


def test_processes_that_start_at_once_share_one_server(home: Path) -> None:
    code = START + "sys.stdin.read(); print(ensure_running(Path(sys.argv[1])))"
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(home)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.close()
        starter.stdin = None
    reported = [starter.communicate(timeout=60)[0].strip() for starter in starters]

    assert reported == [private_server.url(home)] * 6
    assert (_data(home) / "redis.log").read_text().count("Server initialized") == 1


def test_nobody_else_reaches_the_server_and_it_has_no_port(home: Path) -> None:
    private_server.ensure_running(home)

    with _redis(home) as client:
        assert client.config_get("port")["port"] == "0"
    for path, mode in ((home, 0o700), (_data(home), 0o700), (_data(home) / "redis.sock", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_it_keeps_an_append_only_file_and_evicts_nothing(home: Path) -> None:
    private_server.ensure_running(home)

    with _redis(home) as client:
        found = {
            name: client.config_get(name)[name]
            for name in ("appendonly", "appendfsync", "save", "maxmemory-policy", "aof-load-truncated")
        }
    assert found == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "aof-load-truncated": "yes",
    }


def test_asking_starts_nothing_and_writes_nothing(home: Path) -> None:
    assert not private_server.is_running(home)
    assert not private_server.stop(home)
    assert private_server.url(home).endswith("/home/redis/redis.sock")
    assert not home.exists()


def test_what_a_stopped_server_held_is_there_again(home: Path) -> None:
    private_server.ensure_running(home)
    with _redis(home) as client:
        client.set("kept", "yes")

    assert private_server.stop(home)
    assert not private_server.is_running(home)
    assert not private_server.stop(home)

    private_server.ensure_running(home)
    with _redis(home) as client:
        assert client.get("kept") == b"yes"


def test_a_killed_server_is_replaced_and_replays_what_it_was_sent(home: Path) -> None:
    private_server.ensure_running(home)
    with _redis(home) as client:
        client.set("kept", "yes")
    _kill(home)
    assert (_data(home) / "redis.sock").is_socket(), "a killed server leaves its socket behind"
    assert (_data(home) / "redis.pid").exists(), "and its pid file"

    private_server.ensure_running(home)
    with _redis(home) as client:
        assert client.get("kept") == b"yes"


def test_an_append_only_file_torn_by_a_crash_loads_up_to_the_tear(home: Path) -> None:
    private_server.ensure_running(home)
    with _redis(home) as client:
        client.set("kept", "yes")
    _kill(home)
    with _append_only_file(home).open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nlo")

    private_server.ensure_running(home)
    with _redis(home) as client:
        assert client.keys() == [b"kept"]


def test_a_server_that_still_loads_is_waited_for(
    home: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private_server.ensure_running(home)
    with _redis(home) as client:
        client.mset({f"key {n}": "value" for n in range(3000)})
        client.bgrewriteaof()
        _until(lambda: _rewritten(client))
    private_server.stop(home)
    server = find_server()
    slow = "--key-load-delay 1000"  # microseconds; it answers after every 1024 keys
    _program(base / "bin" / "redis-server", f'exec "{server.path}" "$@" {slow}\n')
    monkeypatch.setenv("PATH", str(base / "bin"), prepend=os.pathsep)
    monkeypatch.setattr(private_server, "START_SECONDS", 1.5)

    began = time.monotonic()
    private_server.ensure_running(home)

    assert time.monotonic() - began > 2, "it was not slow, so nothing was shown"
    with _redis(home) as client:
        assert client.dbsize() == 3000


def test_the_append_only_file_is_rewritten_in_a_form_that_every_server_reads(home: Path) -> None:
    private_server.ensure_running(home)
    with _redis(home) as client:
        client.set("key", "value")
        client.bgrewriteaof()
        _until(lambda: _rewritten(client))
    files = [file for file in _data(home).rglob("appendonly*") if file.is_file()]
    assert any(b"SET\r\n$3\r\nkey" in file.read_bytes() for file in files)
    assert not any(file.read_bytes().startswith((b"REDIS", b"VALKEY")) for file in files)


def _rewritten(client: Redis) -> bool:
    found = client.info("persistence")
    return not found["aof_rewrite_in_progress"] and not found["aof_rewrite_scheduled"]


def test_the_server_outlives_the_session_that_started_it(home: Path) -> None:
    code = START + "print(ensure_running(Path(sys.argv[1])), flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(home)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as starter:
        assert starter.stdout is not None
        starter.stdout.readline()
        assert os.getsid(_server_id(home)) != os.getsid(starter.pid)
        os.killpg(starter.pid, signal.SIGKILL)

    assert private_server.is_running(home)


def test_a_deep_home_has_its_socket_in_a_private_folder_elsewhere(deep_home: Path, base: Path) -> None:
    private_server.ensure_running(deep_home)

    [folder] = (base / "run").iterdir()
    assert folder.name.startswith(f"sluice-{os.geteuid()}-")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert private_server.url(deep_home) == f"unix://{folder}/redis.sock"
    private_server.stop(deep_home)
    assert list((base / "run").iterdir()) == []


def test_a_command_with_another_runtime_directory_finds_the_same_server(
    deep_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private_server.ensure_running(deep_home)
    process = _server_id(deep_home)

    monkeypatch.delenv("XDG_RUNTIME_DIR")
    private_server.ensure_running(deep_home)

    assert _server_id(deep_home) == process


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
    _data(home).mkdir(parents=True)
    _data(home).chmod(0o777)

    with pytest.raises(QueueUnavailable, match=r"mode 0777.*SLUICE_HOME"):
        private_server.ensure_running(home)
    _data(home).chmod(0o700)


def test_a_home_that_cannot_be_made_is_named(base: Path) -> None:
    (base / "file").touch()

    with pytest.raises(QueueUnavailable, match=r"file.* cannot be used .*SLUICE_HOME"):
        private_server.ensure_running(base / "file" / "home")


def test_a_home_with_an_odd_name_works(base: Path) -> None:
    for home in _home(base / "a b%20#é'\""):
        with closing(Redis.from_url(private_server.ensure_running(home))) as client:
            assert client.ping()


def test_a_server_that_does_not_start_is_reported_with_its_last_word_and_its_log(home: Path) -> None:
    _data(home).mkdir(parents=True, mode=0o700)
    (_data(home) / "appendonly.aof").write_text("this is no append-only file\n")

    with pytest.raises(QueueUnavailable, match=r"Bad file format.*redis\.log"):
        private_server.ensure_running(home)
    assert not private_server.is_running(home)


def test_a_server_that_refuses_its_options_is_reported_with_what_it_reported(
    home: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _program(base / "bin" / "redis-server", "echo 'Bad directive'\nexit 1\n")
    monkeypatch.setenv("PATH", str(base / "bin"), prepend=os.pathsep)

    with pytest.raises(QueueUnavailable, match=r"redis-server does not start.*Bad directive"):
        private_server.ensure_running(home)


def test_a_server_that_never_answers_is_given_up(
    home: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This one keeps its life lock, and listens nowhere."""
    _program(base / "bin" / "redis-server", "sleep 600 >/dev/null 2>&1 &\n" + f'echo $! >"{base}/sleeper"\n')
    monkeypatch.setenv("PATH", str(base / "bin"), prepend=os.pathsep)
    monkeypatch.setattr(private_server, "START_SECONDS", 0.3)

    try:
        with pytest.raises(QueueUnavailable, match=r"did not answer in 0\.3 s"):
            private_server.ensure_running(home)
    finally:
        os.kill(int((base / "sleeper").read_text()), signal.SIGKILL)
    shutil.rmtree(_data(home))


def test_a_server_that_is_busy_counts_as_running(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private_server.ensure_running(home)
    process = _server_id(home)
    monkeypatch.setattr(private_server, "ANSWER_SECONDS", 0.1)
    os.kill(process, signal.SIGSTOP)
    try:
        assert private_server.is_running(home)
    finally:
        os.kill(process, signal.SIGCONT)

"""The private redis-server, for real: each test has its own home and ends its own server."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis import Redis

from worker.queue.server import private_server
from worker.queue.server.server_program import find_server

from .private_homes import (
    append_only_file,
    data_of,
    kill,
    program,
    redis_of,
    server_id,
    until,
)

ROOT = Path(__file__).parents[4]
START = (
    "import sys; from pathlib import Path; from worker.queue.server.private_server import ensure_running; "
)


def test_a_second_call_finds_the_server_of_the_first(home: Path) -> None:
    first = private_server.ensure_running(home)
    process = server_id(home)

    assert private_server.ensure_running(home) == first == private_server.url(home)
    assert first.startswith("unix:///")
    assert server_id(home) == process
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
    assert (data_of(home) / "redis.log").read_text().count("Server initialized") == 1


def test_nobody_else_reaches_the_server_and_it_has_no_port(home: Path) -> None:
    private_server.ensure_running(home)

    with redis_of(home) as client:
        assert client.config_get("port")["port"] == "0"
    for path, mode in ((home, 0o700), (data_of(home), 0o700), (data_of(home) / "redis.sock", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_it_keeps_an_append_only_file_and_evicts_nothing(home: Path) -> None:
    private_server.ensure_running(home)

    with redis_of(home) as client:
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
    with redis_of(home) as client:
        client.set("kept", "yes")

    assert private_server.stop(home)
    assert not private_server.is_running(home)
    assert not private_server.stop(home)

    private_server.ensure_running(home)
    with redis_of(home) as client:
        assert client.get("kept") == b"yes"


def test_a_killed_server_is_replaced_and_replays_what_it_was_sent(home: Path) -> None:
    private_server.ensure_running(home)
    with redis_of(home) as client:
        client.set("kept", "yes")
    kill(home)
    assert (data_of(home) / "redis.sock").is_socket(), "a killed server leaves its socket behind"
    assert (data_of(home) / "redis.pid").exists(), "and its pid file"

    private_server.ensure_running(home)
    with redis_of(home) as client:
        assert client.get("kept") == b"yes"


def test_an_append_only_file_torn_by_a_crash_loads_up_to_the_tear(home: Path) -> None:
    private_server.ensure_running(home)
    with redis_of(home) as client:
        client.set("kept", "yes")
    kill(home)
    with append_only_file(home).open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nlo")

    private_server.ensure_running(home)
    with redis_of(home) as client:
        assert client.keys() == [b"kept"]


def test_a_server_that_still_loads_is_waited_for(
    home: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private_server.ensure_running(home)
    with redis_of(home) as client:
        client.mset({f"key {n}": "value" for n in range(3000)})
        client.bgrewriteaof()
        until(lambda: _rewritten(client))
    private_server.stop(home)
    server = find_server()
    slow = "--key-load-delay 1000"  # microseconds; it answers after every 1024 keys
    program(base / "bin" / "redis-server", f'exec "{server.path}" "$@" {slow}\n')
    monkeypatch.setenv("PATH", str(base / "bin"), prepend=os.pathsep)
    monkeypatch.setattr(private_server, "START_SECONDS", 1.5)

    began = time.monotonic()
    private_server.ensure_running(home)

    assert time.monotonic() - began > 2, "it was not slow, so nothing was shown"
    with redis_of(home) as client:
        assert client.dbsize() == 3000


def test_the_append_only_file_is_rewritten_in_a_form_that_every_server_reads(home: Path) -> None:
    private_server.ensure_running(home)
    with redis_of(home) as client:
        client.set("key", "value")
        client.bgrewriteaof()
        until(lambda: _rewritten(client))
    files = [file for file in data_of(home).rglob("appendonly*") if file.is_file()]
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
        assert os.getsid(server_id(home)) != os.getsid(starter.pid)
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
    process = server_id(deep_home)

    monkeypatch.delenv("XDG_RUNTIME_DIR")
    private_server.ensure_running(deep_home)

    assert server_id(deep_home) == process

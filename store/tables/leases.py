"""`locks`: leases with a holder and an end, by the database's clock: one loader at a time, of each partition, and one
that is dead is not waited for.

Each taking has a number greater than all before, the fence: whoever relies on the lease gives it in each transaction,
so one who slept through the end of the lease writes nothing, whatever the names of holders are.
"""

from __future__ import annotations

import os
import secrets
import socket
from datetime import timedelta
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, RowMapping, select

from store import database, hashing, timestamps
from store.database.records import Partition
from store.database.schema import locks
from store.errors import LockHeld, LockLost

LOADER = "loader"  # the lease of the one loader; of a divided store each partition has its own
SLACK_SECONDS = 5  # a lease that ends so much later than one taken now is of a clock that was set back

_given_up: set[str] = set()  # holders that this process was, whose leases it may not have given back


def new_holder() -> str:
    """A name for this process: host and its start, process id and a nonce, for a process id comes round again."""
    return f"{socket.gethostname()}/{this_boot()}:{os.getpid()}:{secrets.token_hex(4)}"


@cache
def this_boot() -> str:
    """Names the processes that know each other by their ids: of one start of one host, and of one container there.

    Hosts may have equal names. Where the system tells no more, the name is all there is.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        boot, space = socket.gethostname(), ""
    return hashing.hexdigest(f"{boot.strip()} {space}".encode())[:12]


def loader_of(partition: Partition | None) -> str:
    """The lease of the loader of this partition."""
    return f"{LOADER} {partition}" if partition else LOADER


def loaders(connection: Connection) -> list[str]:
    """Who holds a loader's lease that has not run out, in the order of partitions."""
    ours = (locks.c.name == LOADER) | locks.c.name.startswith(f"{LOADER} ")
    rows = connection.execute(select(locks).where(ours).order_by(locks.c.name)).mappings()
    return list(dict.fromkeys(row["holder"] for row in rows if _runs(connection, row)))


def acquire(connection: Connection, name: str, holder: str, seconds: float) -> int:
    """Takes the lease, or raises LockHeld; its fence. One that ran out, or whose process is dead, is taken over.

    So is one that ends later than any could that is taken now: the clock was set back since, and nobody waits for
    the difference. A holder that lives loses its chunk, which is rolled back.
    """
    own = select(locks).where(locks.c.name == name)
    # Whoever relies on it has its row: one that is held is seen without waiting for that.
    _refuse_held(connection, connection.execute(own).mappings().first(), seconds)
    row = connection.execute(own.with_for_update()).mappings().first()
    _refuse_held(connection, row, seconds)
    fence: int = row["fence"] + 1 if row else 1
    values = {"name": name, "holder": holder, "expires_at": _end(connection, seconds), "fence": fence}
    statement = database.insert(connection, locks).values(values)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))
    return fence


def _refuse_held(connection: Connection, row: RowMapping | None, seconds: float) -> None:
    last = _end(connection, max(seconds, 0) + SLACK_SECONDS)
    if row and _runs(connection, row) and row["expires_at"] <= last and not _is_dead(row["holder"]):
        raise LockHeld(f"the {row['name']} lock is held by {row['holder']} until {row['expires_at']}")


def renew(connection: Connection, name: str, holder: str, seconds: float, fence: int | None = None) -> None:
    """Extends the lease inside the transaction that relies on it; raises LockLost where it is another's.

    Without a fence only the holder is looked at: for what nobody else would do wrong.
    """
    mine = (locks.c.name == name) & (locks.c.holder == holder)
    if fence is not None:
        mine &= locks.c.fence == fence
    if (
        connection.execute(locks.update().where(mine).values(expires_at=_end(connection, seconds))).rowcount
        != 1
    ):
        raise LockLost(f"the {name} lock ran out and another process took it: this chunk is rolled back")


def release(connection: Connection, name: str, holder: str) -> None:
    """Gives the lease back. Its row stays, for its fence: the next one is greater."""
    mine = (locks.c.name == name) & (locks.c.holder == holder)
    connection.execute(locks.update().where(mine).values(expires_at=_end(connection, 0)))


def give_up(holder: str) -> None:
    """This process does nothing more as this holder: what it cannot give back is not waited for here."""
    _given_up.add(holder)


def gave_back(holder: str) -> None:
    """All that a holder which was given up had is given back."""
    _given_up.discard(holder)


def forget(connection: Connection, name: str, holder: str) -> None:
    """Gives back a lease that nobody takes again."""
    connection.execute(locks.delete().where((locks.c.name == name) & (locks.c.holder == holder)))


def holder_of(connection: Connection, name: str) -> str | None:
    """Who holds a lease that has not run out."""
    row = connection.execute(select(locks).where(locks.c.name == name)).mappings().first()
    return row["holder"] if row and _runs(connection, row) else None


def of_dead_holders(connection: Connection) -> list[str]:
    """The leases that have not run out, of processes that this one would know and that are no more."""
    rows = connection.execute(select(locks).order_by(locks.c.name)).mappings()
    return [
        f"{row['name']}, held by {row['holder']} until {row['expires_at']}"
        for row in rows
        if _runs(connection, row) and _is_dead(row["holder"])
    ]


def _runs(connection: Connection, row: RowMapping) -> bool:
    return bool(row["expires_at"] > _end(connection, 0))


def _end(connection: Connection, seconds: float) -> str:
    return timestamps.to_text(database.now(connection) + timedelta(seconds=seconds))


def _is_dead(holder: str) -> bool:
    """Whether the holder was a process that this one would know by its id, and that is no more; or one given up."""
    if holder in _given_up:
        return True
    host, process, _nonce = holder.rsplit(":", 2)
    if host.rpartition("/")[2] != this_boot():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:  # that is what is asked
        return True
    except PermissionError:  # it lives, as another user's
        pass
    return False

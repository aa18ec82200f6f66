"""What lets batches be staged at the same time on PostgreSQL."""

from __future__ import annotations

from .edits import mutant

HOSTS = (
    mutant(
        "at the same time: a batch takes no turn for what is shared",
        ("store/database/backends/postgresql.py", "connection.exec_driver_sql(TAKE_TURN)", "pass"),
    ),
    mutant(
        "at the same time: a batch waits for all that write",
        (
            "store/database/backends/postgresql.py",
            '"batch": f"{limited}; {SHARE_CHANGERS}"',
            '"batch": f"{limited}; {TAKE_WRITERS}; {TAKE_TURN}"',
        ),
    ),
    mutant(
        "at the same time: a batch does not keep off who changes tables",
        (
            "store/database/backends/postgresql.py",
            '"batch": f"{limited}; {SHARE_CHANGERS}"',
            '"batch": limited',
        ),
    ),
    mutant(
        "at the same time: a chunk is all rows up to a number",
        ("store/database/backends/postgresql.py", "commits_in_order = False", "commits_in_order = True"),
    ),
    mutant(
        "at the same time: an unknown delivery is registered before its turn",
        (
            "worker/batch/receive.py",
            "    if number is None:\n        database.take_turn(connection)\n        number",
            "    if number is None:\n        number",
        ),
    ),
    mutant(
        "at the same time: letters are looked at before the turn alone",
        (
            "worker/batch/arrivals.py",
            "    waiting = groups.waiting(connection, message.source)\n"
            "    if not waiting:\n        return 0\n    if ids",
            "    waiting = Counter() if ids is None else groups.waiting(connection, message.source)\n"
            "    if not waiting:\n        return 0\n    if ids",
        ),
    ),
    mutant(
        "in partitions: what loaders share is written by two at a time",
        ("store/database/backends/postgresql.py", "connection.exec_driver_sql(TAKE_SUMS)", "pass"),
    ),
    mutant(
        "in partitions: a loader waits for the rows of another",
        (
            "store/database/backends/postgresql.py",
            "on.exec_driver_sql(SHARE_WRITERS)",
            "on.exec_driver_sql(TAKE_WRITERS)",
        ),
    ),
    mutant(
        "in partitions: the run of a loader that lives is interrupted",
        ("store/tables/load_runs.py", ", run_log.c.holder.not_in(others))", ")"),
    ),
    mutant(
        "in partitions: the first partition comes first, however long others wait",
        ("worker/partitions.py", "sorted(staged, key=lambda partition: staged[partition])", "list(staged)"),
    ),
    mutant(
        "in partitions: a chunk of tables that are divided otherwise now is loaded",
        ("worker/partitions.py", "if lease.partition not in install.partitions(connection):", "if False:"),
    ),
    mutant(
        "in partitions: a lease is waited for while its holder writes",
        (
            "store/tables/leases.py",
            "    _refuse_held(connection, connection.execute(own).mappings().first(), seconds)\n",
            "",
        ),
    ),
    mutant(
        "fencing: a lease that its own process could not give back is waited for",
        ("store/tables/leases.py", "    if holder in _given_up:", "    if False:"),
    ),
)

"""File to target, with the real commands over the real Redis: records/s, and the producer's peak memory.

python benchmarks/bench.py             # 100,000 records, and the producer's memory at 1,000,000
python benchmarks/bench.py --records 1000000

A bare loop that validates with pydantic and upserts runs beside it, for machines differ: read the ratio.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from generate import records

COMMANDS = Path(sys.executable).parent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--memory-records", type=int, default=1_000_000, help="0 leaves that part out")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    print(f"{platform.machine()}, {os.cpu_count()} cores, {versions}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "records.ndjson")
        with file.open("w") as out:
            out.writelines(records(options.records))
        loop = bare_loop(file, Path(folder, "loop.db"))
        sent, worked = pipeline(file, options.workers)
        rows = {
            "bare loop (pydantic, upsert)": loop,
            "producer enqueue": sent,
            f"worker up --burst --workers {options.workers}": worked,
            "file to target, both commands": sent + worked,
        }
        for name, seconds in rows.items():
            print(f"{name:34} {options.records / seconds:>10,.0f} records/s   {loop / seconds:.2f}")
        if options.memory_records:
            with file.open("w") as out:
                out.writelines(records(options.memory_records))
            print(
                f"{'producer peak memory':34} {peak_memory(file):>10,.0f} MB at {options.memory_records:,} records"
            )


def environment(home: str) -> dict[str, str]:
    """The commands' environment: a home of their own, nobody's settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SLUICE_", "REDIS_", "DATABASE_"))
    }
    return kept | {"SLUICE_HOME": home, "SLUICE_MAX_PENDING_BATCHES": "100000"}


def timed(command: list[str], env: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run([str(COMMANDS / command[0]), *command[1:]], env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def pipeline(file: Path, workers: int) -> tuple[float, float]:
    """Seconds of `producer enqueue`, and of `worker up --burst`, start-up and private Redis included."""
    home = tempfile.mkdtemp()
    env = environment(home)
    try:
        sent = timed(["producer", "enqueue", str(file)], env)
        worked = timed(["worker", "up", "--burst", "--workers", str(workers)], env)
        timed(["store", "check"], env)
        return sent, worked
    finally:
        timed(["worker", "down"], env)
        shutil.rmtree(home)


def peak_memory(file: Path) -> float:
    """Peak resident memory of `producer enqueue`, in MB."""
    home = tempfile.mkdtemp()
    env = environment(home)
    try:
        code = (
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        command = [sys.executable, "-c", code, str(COMMANDS / "producer"), "enqueue", str(file)]
        said = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
        return int(said.stdout) / 1024
    finally:
        timed(["worker", "down"], env)
        shutil.rmtree(home)


def bare_loop(file: Path, database: Path) -> float:
    """Seconds of the script one would have written: validate each line, upsert in transactions of 5,000."""
    from worker.contract import Event

    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE target (key TEXT PRIMARY KEY, name TEXT, value REAL, ts TEXT)")
    upsert = (
        "INSERT INTO target VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
        "name = excluded.name, value = excluded.value, ts = excluded.ts WHERE excluded.ts > target.ts"
    )
    started = time.perf_counter()
    rows: list[tuple[str, str, float, str]] = []
    with file.open() as lines:
        for line in lines:
            try:
                event = Event.model_validate_json(line)
            except ValueError:
                continue
            rows.append((event.key, event.name, event.value, event.ts.isoformat()))
            if len(rows) == 5000:
                with connection:
                    connection.executemany(upsert, rows)
                rows.clear()
    with connection:
        connection.executemany(upsert, rows)
    seconds = time.perf_counter() - started
    connection.close()
    return seconds


if __name__ == "__main__":
    main()

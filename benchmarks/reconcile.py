"""`store reconcile` over a target of its own making: seconds, and peak memory of the real command.

python benchmarks/reconcile.py                    # 1,000,000 keys of 2 sources
python benchmarks/reconcile.py --keys 200000 --sources 4 --mismatched 100

The target is written directly. One key in `--mismatched` differs in its value, one in a thousand is of
the first source alone; the counts are checked against that.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from store.database import install
from store.database.records import ContractColumn
from store.settings import StoreSettings

COLUMNS = (ContractColumn("name", "text"), ContractColumn("value", "real"))
COMMAND = str(Path(sys.executable).parent / "store")
INSERT = (
    "INSERT INTO target (source, key, ts, content_hash, lineage_id, lineage_line, lineage_run, lineage_outcome, "
    "name, value) VALUES (?, ?, ?, ?, ?, 1, 1, 1, ?, ?)"
)
# A child of its own, for a child's peak memory is told of all children together.
MEASURE = (
    "import resource, subprocess, sys, time; started = time.perf_counter(); "
    "subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr); seconds = time.perf_counter() - started; "
    "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
    "print(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--sources", type=int, default=2)
    parser.add_argument("--mismatched", type=int, default=100, help="one key in so many")
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}"
    )
    with tempfile.TemporaryDirectory() as folder:
        settings = StoreSettings(home=Path(folder), database_url=None)
        build(settings, options.keys, options.sources, options.mismatched)
        size = Path(folder, "sluice.db").stat().st_size / 2**20
        print(f"{options.keys:,} keys, {options.sources} sources, {size:,.0f} MB")
        for arguments in (["--limit", "1"], ["--csv"], ["--tolerance", "value=0.01", "--tolerance", "ts=60"]):
            measure("reconcile", *arguments, home=folder)
        for _ in range(2):
            measure("reconcile", "--keep", "--tolerance", "value=0.01", home=folder)
        check(folder, options.keys, options.mismatched)


def build(settings: StoreSettings, keys: int, sources: int, every: int) -> None:
    """A target, written directly."""
    engine = install.prepare(settings)
    install.add_contract_columns(engine, COLUMNS)
    engine.dispose()
    with sqlite3.connect(settings.home / "sluice.db") as connection:
        for place in range(sources):
            connection.executemany(INSERT, rows(place, keys, every))
    connection.close()


def rows(place: int, keys: int, every: int) -> Iterator[tuple[str, str, str, bytes, int, str, float]]:
    """One source's rows, in order of keys."""
    for number in range(keys):
        if place and number % 1000 == 7:
            continue
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(1_736_899_200 + number + place))
        value = number % 997 + (0.5 * place if number % every == 0 else 0.0)
        yield (
            f"source-{place}", f"key-{number:09d}", f"{moment}.000000Z", number.to_bytes(16, "big"),
            (place + 1) << 40 | number, f"sensor-{number % 1000}", value,
        )  # fmt: skip


def environment(home: str) -> dict[str, str]:
    """The command's environment: a home of its own, nobody's settings."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "DATABASE_"))
    }
    return kept | {"SLUICE_HOME": home}


def measure(*arguments: str, home: str) -> None:
    """Prints how long the command takes, start-up included; its processor time, for a busy machine; its peak memory."""
    command = [sys.executable, "-c", MEASURE, COMMAND, *arguments]
    done = subprocess.run(command, env=environment(home), check=True, capture_output=True, text=True)
    seconds, processor, peak = map(float, done.stdout.split())
    print(f"store {' '.join(arguments):50} {seconds:6.2f} s  {processor:6.2f} s of processor {peak:6.0f} MB")


def check(home: str, keys: int, every: int) -> None:
    """The counts are those that were built."""
    command = [COMMAND, "reconcile", "--json", "--limit", "1"]
    done = subprocess.run(command, env=environment(home), check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    single = len(range(7, keys, 1000))
    mismatched = sum(1 for number in range(0, keys, every) if number % 1000 != 7)
    assert found["keys"] == keys
    assert found["single_source"]["source-0"] == single
    assert found["mismatched"] == mismatched
    assert found["matched"] == keys - single - mismatched


if __name__ == "__main__":
    main()

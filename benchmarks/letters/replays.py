"""Replay and its proof over many letters: letters a second, and the peak memory of the command.

python benchmarks/letters/replays.py --letters 10000 100000
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

MEASURED = """
import resource, sys, time
from importlib import import_module
{preface}
started, processor = time.perf_counter(), time.process_time()
sys.argv = {arguments!r}
try:
    import_module("producer.cli.app").app()
except SystemExit as ended:
    assert not ended.code, ended.code
finally:
    taken, processor = time.perf_counter() - started, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(taken, processor, peak, file=sys.stderr)
"""


def run(home: Path, *words: str) -> str:
    """The error output of a command of this environment."""
    environment = {**os.environ, "SLUICE_HOME": str(home), "SLUICE_CONFIG": str(home / "sluice.toml")}
    if words[0] != sys.executable:
        words = (str(Path(sys.executable).with_name(words[0])), *words[1:])
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{words}: {done.stderr}")
    return done.stderr


def rejected(home: Path, number: int) -> None:
    """A store with so many open letters: a decimal comma in each."""
    (home / "sluice.toml").touch()
    with (home / "in.ndjson").open("w") as file:
        for each in range(number):
            at = f"2025-01-15T{each // 3600 % 24:02}:{each // 60 % 60:02}:{each % 60:02}Z"
            file.write(
                f'{{"key":"k{each}","name":"pump {each % 100}","value":"{each % 1000},5","ts":"{at}"}}\n'
            )
    run(home, "producer", "enqueue", str(home / "in.ndjson"), "--source", "shop")
    run(home, "worker", "up", "--burst")


def measured(home: Path, *options: str) -> tuple[float, float, float]:
    """(seconds, processor seconds, peak MB) of `producer replay` with these options, without the start of Python."""
    arguments = ["producer", "replay", "--cast", "value=decimal-comma", *options]
    program = MEASURED.format(preface="import producer.cli.replay", arguments=arguments)
    seconds, processor, peak = map(float, run(home, sys.executable, "-c", program).split()[-3:])
    return seconds, processor, peak


def main() -> None:
    """One row for each number of letters and command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--letters", type=int, nargs="+", default=[10_000, 100_000])
    print(
        "| letters | `producer replay` | seconds | processor seconds | letters/s of its processor time | peak MB |"
    )
    print("|---|---|---|---|---|---|")
    for number in parser.parse_args().letters:
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder, "home")
            home.mkdir(mode=0o700)
            rejected(home, number)
            show(number, "`--dry-run`", *measured(home, "--dry-run"))
            show(number, "`--proof DIGEST`", *measured(home, "--proof", _digest(home)))
            run(home, "worker", "up", "--burst")
            run(home, "store", "check")
            run(home, "worker", "down")


def show(number: int, command: str, seconds: float, processor: float, peak: float) -> None:
    """A row."""
    rate = number / processor
    print(
        f"| {number:,} | {command} | {seconds:.1f} | {processor:.1f} | {rate:,.0f} | {peak:.0f} |", flush=True
    )


def _digest(home: Path) -> str:
    """Of the proof that was just made."""
    from store import database
    from store.settings import StoreSettings

    engine = database.existing(StoreSettings(home=home))
    with database.reading(engine) as connection:
        found = connection.exec_driver_sql("SELECT digest FROM proofs ORDER BY made_at DESC").scalar_one()
    engine.dispose()
    return str(found)


if __name__ == "__main__":
    main()

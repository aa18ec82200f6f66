"""Processor time of whole commands on a nearly empty store: what each spends before its work, and a little after it.

python benchmarks/startup.py --turns 9
python benchmarks/startup.py --against OTHER     # beside another checkout, in turns, with the packages of this Python

The best of the turns counts, of user and system time together, the processes that a command starts and waits for
included. Other programs on the machine make even the best of them longer.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORD = '{"key": "a", "name": "n", "value": 1, "ts": "2025-01-15T12:00:00Z"}\n'


def commands(file: Path) -> list[list[str]]:
    """The commands that people and scripts run most."""
    return [
        ["producer", "--help"],
        ["store", "report"],
        ["store", "report", "--json"],
        ["store", "letters"],
        ["store", "letters", "--json"],
        ["store", "check"],
        ["worker", "status"],
        ["producer", "enqueue", str(file)],
        ["worker", "up", "--burst"],
    ]


def seconds(checkout: Path, home: Path, words: list[str]) -> float:
    """Processor time of one run. Raises RuntimeError where the command fails."""
    code = f"import sys; sys.argv = {words!r}; from {words[0]}.cli.app import main; main()"
    environment = os.environ | {"PYTHONPATH": str(checkout), "SLUICE_HOME": str(home)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, cwd=home,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {process.returncode} in {checkout}")
    return used.ru_utime + used.ru_stime


def measure(checkouts: list[Path], turns: int) -> None:
    """Prints a row for each command: the best of its turns in each checkout."""
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        homes = [Path(folder, str(number)) for number in range(len(checkouts))]
        for home in homes:
            home.mkdir(mode=0o700)
        file = Path(folder, "one.ndjson")
        file.write_text(RECORD)
        sites = list(zip(checkouts, homes, strict=True))
        try:
            for checkout, home in sites:  # the database, and compiled modules
                for words in commands(file):
                    seconds(checkout, home, words)
            print("| command |" + "".join(f" {each} |" for each in ("this", "against")[: len(checkouts)]))
            print("|---|" + "---:|" * len(checkouts))
            for words in commands(file):
                best = [9e9] * len(sites)
                for _ in range(turns):
                    best = [min(old, seconds(*at, words)) for old, at in zip(best, sites, strict=True)]
                shown = " ".join("FILE" if word == str(file) else word for word in words)
                print(f"| `{shown}` |" + "".join(f" {each:.2f} s |" for each in best), flush=True)
        finally:
            for checkout, home in sites:
                seconds(checkout, home, ["worker", "down"])


def main() -> None:
    """Reads the options and measures."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--turns", type=int, default=9)
    options.add_argument("--against", type=Path, help="another checkout")
    given = options.parse_args()
    measure([ROOT, *([given.against.absolute()] if given.against else [])], given.turns)


if __name__ == "__main__":
    main()

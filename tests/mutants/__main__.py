"""Takes one mechanism after the other out of a copy of the source, and shows which test notices.

python -m tests.mutants                 # all of them: some ten minutes
python -m tests.mutants --only inbox
python -m tests.mutants --record        # writes down which test notices which, in noticed.json

The test that noticed a mutant last time is tried first; all others only where it notices nothing.
A mutant that no test notices is a mechanism that could be lost unseen. Exit code 1 where there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from .edits import Mutant
from .mutants import MUTANTS

ROOT = Path(__file__).parents[2]
FOLDERS = ("producer", "worker", "store", "tests", "data", "benchmarks", "docs")
SECONDS = 1200  # all tests without a mutation need half of it on a busy machine
NOTICED = Path(__file__).with_name("noticed.json")  # mutant -> the test that noticed it last

# Those that start no server and no process: the quickest to notice come first.
TESTS = (
    "tests/integration/queue/test_mechanisms.py",
    "tests/integration/queue/test_jobs.py",
    "tests/integration/queue/test_dead_letter_queue.py",
    "tests/integration/test_loader.py",
    "tests/integration/test_replay.py",
    "tests/integration/queue/test_sending.py",
    "tests/integration/records/test_rejections.py",
    "tests/integration/queue/test_system_errors.py",
    "tests/integration/records/test_contracts.py",
    "tests/integration/queue/test_stuck_worker.py",
    "tests/unit/queue/test_endings.py",
    "tests/unit/queue/test_broker.py",
    "tests/unit/judge/test_stages.py",
    "tests/unit/judge/test_quick.py",
    "tests/unit/queue/test_message.py",
    "tests/unit/readers/test_feed.py",
    "tests/unit/test_paths.py",
    "tests/unit/readers/test_once.py",
    "tests/unit/readers/test_opening.py",
    "tests/unit/readers/test_json_to_the_last_byte.py",
    "tests/unit/readers/test_lines_and_rows.py",
    "tests/unit/readers/test_dialects.py",
    "tests/unit/readers/test_encodings.py",
    "tests/unit/judge/test_numbers_and_times.py",
    "tests/unit/judge/test_notation.py",
    "tests/unit/judge/test_local_times.py",
    "tests/integration/store/test_merging.py",
    "tests/integration/store/test_versions.py",
    "tests/integration/store/test_watermarks.py",
    "tests/integration/store/test_batches.py",
    "tests/integration/store/test_dead_letters.py",
    "tests/integration/store/database/test_database.py",
    "tests/integration/store/database/test_at_the_same_time.py",
    "tests/integration/store/database/test_partitions.py",
    "tests/integration/test_interleavings.py",
    "tests/integration/records/test_convergence.py",
    "tests/integration/records/test_field_files.py",
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", help="mutants whose name has these letters")
    parser.add_argument("--record", action="store_true", help="write noticed.json")
    options = parser.parse_args()
    chosen = [each for each in MUTANTS if not options.only or any(part in each.name for part in options.only)]
    noticed: dict[str, str] = json.loads(NOTICED.read_text())
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trial = Trial(Path(folder, "copy"), noticed)
        copy_tree(trial.copy)
        trial.must_pass(sorted({noticed[each.name] for each in chosen if each.name in noticed}))
        unnoticed = 0
        for each in chosen:
            started = time.monotonic()
            found = trial.of(each)
            unnoticed += found is None
            seconds = time.monotonic() - started
            print(f"{each.name:70} {seconds:4.0f} s  {found or 'NO TEST NOTICES'}", flush=True)
            if options.record:  # at once: what an interrupted run has found is known to the next
                write_down(noticed)
    print(f"{len(chosen)} mutants, {unnoticed} unnoticed")
    return int(unnoticed > 0)


def write_down(noticed: dict[str, str]) -> None:
    """Which test notices which of today's mutants."""
    known = {each.name: noticed[each.name] for each in MUTANTS if each.name in noticed}
    NOTICED.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


class Trial:
    """A copy of the source in which mutants are tried one after the other."""

    def __init__(self, copy: Path, noticed: dict[str, str]) -> None:
        self.copy = copy
        self.noticed = noticed
        self.all_pass = False

    def must_pass(self, tests: Sequence[str]) -> None:
        """Without a mutation. Raises SystemExit where one fails."""
        found = first_failure(self.copy, tests) if tests else None
        if found is not None:
            raise SystemExit(f"without a mutation this fails already: {found}")

    def of(self, mutant: Mutant) -> str | None:
        """The first test that fails of a mutant; None where none does."""
        known = self.noticed.get(mutant.name)
        found = tried(self.copy, mutant, [known]) if known else None
        if found is None:
            if not self.all_pass:
                self.must_pass(TESTS)
                self.all_pass = True
            found = tried(self.copy, mutant, TESTS)
        if found is not None and "::" in found:
            self.noticed[mutant.name] = f"tests/{found}"
        return found


def copy_tree(copy: Path) -> None:
    """The source as it stands, changes that are not committed too."""
    for room in FOLDERS:
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("pyproject.toml", "sluice.toml", "README.md"):
        shutil.copy(ROOT / name, copy)


def tried(copy: Path, each: Mutant, tests: Sequence[str]) -> str | None:
    """The first of the tests that fails of a mutant; the copy is as it was afterwards."""
    before = {edit.file: (copy / edit.file).read_text() for edit in each.edits}
    try:
        for edit in each.edits:
            source = (copy / edit.file).read_text()
            if source.count(edit.old) != 1:
                raise SystemExit(
                    f"{each.name}: {edit.file} has not exactly one {edit.old!r}: mend the mutant"
                )
            (copy / edit.file).write_text(source.replace(edit.old, edit.new))
        return first_failure(copy, tests)
    finally:
        for name, source in before.items():
            (copy / name).write_text(source)


def first_failure(copy: Path, tests: Sequence[str]) -> str | None:
    """The first test that fails in the copy, or what went wrong instead; None where all pass."""
    words = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-c", "pyproject.toml"]
    # The copy comes before the installed package; no bytecode, for an edit within a second looks unchanged.
    env = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words, *tests],
            cwd=copy, env=env, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not done within {SECONDS} s"
    if done.returncode == 0:
        return None
    named = re.search(
        r"^(?:FAILED|ERROR) ([^\s\[]+)", done.stdout, re.MULTILINE
    )  # parameters may have blanks
    return named[1].removeprefix("tests/") if named else done.stdout[-300:]


if __name__ == "__main__":
    sys.exit(main())

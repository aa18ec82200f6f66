"""Takes one mechanism after the other out of a copy of the source, and shows which test notices.

python tests/mutants.py                 # all of them: some ten minutes
python tests/mutants.py --only inbox

A mutant that no test notices is a mechanism that could be lost unseen. Exit code 1 where there is one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("producer", "worker", "store", "tests", "data", "benchmarks")
SECONDS = 600

# Those that start no server and no process: the quickest to notice come first.
TESTS = (
    "tests/integration/test_mechanisms.py",
    "tests/integration/test_jobs.py",
    "tests/integration/test_dead_letter_queue.py",
    "tests/integration/test_loader.py",
    "tests/integration/test_replay.py",
    "tests/integration/test_sending.py",
    "tests/integration/test_rejections.py",
    "tests/integration/test_system_errors.py",
    "tests/integration/test_contracts.py",
    "tests/unit/test_broker.py",
    "tests/unit/test_stages.py",
    "tests/unit/test_message.py",
    "tests/integration/store/test_merging.py",
    "tests/integration/store/test_watermarks.py",
    "tests/integration/store/test_batches.py",
    "tests/integration/store/test_dead_letters.py",
    "tests/integration/store/test_database.py",
    "tests/integration/test_convergence.py",
)


@dataclass(frozen=True)
class Edit:
    """One piece of source and what takes its place."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A mechanism, and the edits that take it out."""

    name: str
    edits: tuple[Edit, ...]


def mutant(name: str, *edits: tuple[str, str, str]) -> Mutant:
    return Mutant(name, tuple(Edit(*edit) for edit in edits))


LOOK = (
    "worker/receiving.py",
    "processed = bool(batches.known(connection, [message.id]))",
    "processed = False",
)
UPSERT = (
    "store/batches.py",
    '.on_conflict_do_nothing(index_elements=["id"])',
    '.on_conflict_do_update(index_elements=["id"], set_={"kind": batch.kind})',
)
MUTANTS = (
    mutant("inbox: a second delivery is not looked for", LOOK),
    mutant("inbox: a second row of a batch is no conflict", UPSERT),
    mutant("inbox: taken out altogether", LOOK, UPSERT),
    mutant(
        "inbox: the producer does not ask what was processed",
        ("producer/sending.py", "known = batches.known(connection, ids)", "known = set()"),
    ),
    mutant(
        "outbox: the loader publishes nothing",
        (
            "worker/jobs.py",
            "        dead_letter_queue.flush_outbox(here.redis(), engine)\n        try:",
            "        try:",
        ),
    ),
    mutant(
        "outbox: a batch publishes nothing",
        ("worker/jobs.py", "        dead_letter_queue.flush_outbox(redis, engine)\n    if", "    if"),
    ),
    mutant(
        "outbox: a letter is marked before it is published",
        (
            "worker/dead_letter_queue.py",
            '        reach("outbox.found")\n',
            '        reach("outbox.found")\n'
            "        with database.transaction(engine) as connection:\n"
            "            dead_letters.mark_published(connection, [x.id for x in new], timestamps.now_text())\n"
            "            dead_letters.mark_published(connection, gone, None)\n",
        ),
    ),
    mutant(
        "last writer wins: the merge's WHERE",
        (
            "store/target.py",
            "        where=tuple_(new.ts, new.content_hash) > tuple_(target.c.ts, target.c.content_hash),\n",
            "",
        ),
    ),
    mutant(
        "last writer wins: the best of a chunk",
        ("store/merging.py", "best = case((beaten, 0), else_=1)", "best = case((beaten, 1), else_=1)"),
    ),
    mutant(
        "last writer wins: what the target holds is not asked, nor the WHERE",
        (
            "store/target.py",
            "        where=tuple_(new.ts, new.content_hash) > tuple_(target.c.ts, target.c.content_hash),\n",
            "",
        ),
        (
            "store/merging.py",
            "(version > tuple_(held.c.ts, held.c.content_hash), 2)",
            "(held.c.key.is_not(None), 2)",
        ),
    ),
    mutant(
        "last writer wins: the hash does not break a tie",
        (
            "store/target.py",
            "where=tuple_(new.ts, new.content_hash) > tuple_(target.c.ts, target.c.content_hash)",
            "where=new.ts >= target.c.ts",
        ),
        (
            "store/merging.py",
            "(version > tuple_(held.c.ts, held.c.content_hash), 2)",
            "(staged.c.ts >= held.c.ts, 2)",
        ),
    ),
    mutant(
        "dedupe: the target is not asked",
        ("worker/receiving.py", "held = target.current(connection, source, keys)", "held = {}"),
    ),
    mutant(
        "dedupe: staging is not asked",
        ("worker/receiving.py", "staging.contents(connection, source, keys))", "set())"),
    ),
    mutant(
        "fencing: the lease is not renewed",
        (
            "worker/loader.py",
            "        locks.renew(connection, LOCK, holder, settings.load_lease_seconds)\n",
            "",
        ),
    ),
    mutant(
        "fencing: two loaders at once",
        ("store/locks.py", "    if row and row", "    if False and row"),
    ),
    mutant(
        "allow-list: any function is run",
        ("worker/broker.py", "if name not in ALLOWED or self.instance:", "if self.instance:"),
    ),
    mutant(
        "allow-list: callbacks are run",
        ("worker/broker.py", "    def execute_failure_callback(self, *_: Any, **__: Any) -> None: ...\n", ""),
        ("worker/broker.py", "    def execute_success_callback(self, *_: Any, **__: Any) -> None: ...\n", ""),
    ),
    mutant(
        "allow-list: another serializer's fields are read",
        ("worker/broker.py", "if name not in NEVER_OURS", "if name"),
    ),
    mutant(
        "watermark: it moves backwards",
        (
            "store/watermarks.py",
            "    if current is not None and move.value <= current:\n        return False\n",
            "",
        ),
    ),
    mutant(
        "watermark: a corrupt one is taken",
        (
            "worker/loader.py",
            "watermarks.read_all(connection, settings.max_future_skew)",
            "watermarks.stored(connection)",
        ),
    ),
    mutant(
        "transaction: staging is committed before the batch's row counts",
        (
            "worker/receiving.py",
            "    staging.add(connection, names, rows)\n",
            "    staging.add(connection, names, rows)\n    connection.commit()\n",
        ),
    ),
    mutant(
        "system error: the batch fails instead of going back to the queue",
        (
            "worker/jobs.py",
            "        return Retry(max=FOR_EVER, interval=here.worker.retry_intervals_seconds)",
            "        raise",
        ),
    ),
    mutant(
        "poison: a killer is never suspected",
        (
            "worker/attempts.py",
            "    return deaths >= (TOLERATED_PART if is_part else TOLERATED)",
            "    return False",
        ),
    ),
    mutant(
        "poison: a split is not remembered",
        ("worker/jobs.py", "    receiving.store_split(engine, message)\n", ""),
    ),
    mutant(
        "poison: deaths are not counted",
        (
            "worker/attempts.py",
            "        return int(pipeline.execute()[0]) - 1",
            "        pipeline.execute()\n        return 0",
        ),
    ),
    mutant(
        "dead letters: the same payload makes a second letter",
        (
            "worker/receiving.py",
            "parts = [message.source, message.format, message.header, payload, digest]",
            "parts = [message.source, message.format, message.header, payload, digest, message.id]",
        ),
    ),
    mutant(
        "message: another version is read as this one",
        ("worker/message.py", "        if version != VERSION:", "        if False:"),
    ),
    mutant(
        "ids: the fingerprint of contract and mapping is left out",
        (
            "producer/batching.py",
            "json.dumps([source, fingerprint, wire_format, header])",
            "json.dumps([source, wire_format, header])",
        ),
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", help="mutants whose name has these letters")
    options = parser.parse_args()
    chosen = [each for each in MUTANTS if not options.only or any(part in each.name for part in options.only)]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder, "copy")
        copy_tree(copy)
        found = first_failure(copy)
        if found is not None:
            print(f"without a mutation this fails already: {found}")
            return 1
        unnoticed = 0
        for each in chosen:
            started = time.monotonic()
            found = tried(copy, each)
            unnoticed += found is None
            seconds = time.monotonic() - started
            print(f"{each.name:70} {seconds:4.0f} s  {found or 'NO TEST NOTICES'}", flush=True)
    print(f"{len(chosen)} mutants, {unnoticed} unnoticed")
    return int(unnoticed > 0)


def copy_tree(copy: Path) -> None:
    """The source as it stands, changes that are not committed too."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("pyproject.toml", "sluice.toml", "README.md"):
        shutil.copy(ROOT / name, copy)


def tried(copy: Path, each: Mutant) -> str | None:
    """The first test that fails of a mutant; the copy is as it was afterwards."""
    before = {edit.file: (copy / edit.file).read_text() for edit in each.edits}
    try:
        for edit in each.edits:
            source = (copy / edit.file).read_text()
            if source.count(edit.old) != 1:
                raise SystemExit(
                    f"{each.name}: {edit.file} has not exactly one {edit.old!r}: mend the mutant"
                )
            (copy / edit.file).write_text(source.replace(edit.old, edit.new))
        return first_failure(copy)
    finally:
        for name, source in before.items():
            (copy / name).write_text(source)


def first_failure(copy: Path) -> str | None:
    """The first test that fails in the copy, or what went wrong instead; None where all pass."""
    words = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-c", "pyproject.toml"]
    there = [name for name in TESTS if (copy / name).exists()]
    # The copy comes before the installed package; no bytecode, for an edit within a second looks unchanged.
    env = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words, *there],
            cwd=copy, env=env, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not done within {SECONDS} s"
    if done.returncode == 0:
        return None
    named = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return named[1].removeprefix("tests/") if named else done.stdout[-300:]


if __name__ == "__main__":
    sys.exit(main())

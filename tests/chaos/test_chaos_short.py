"""The short campaign, as `make test` runs it; `make chaos` runs the long one."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.acceptance.sandbox import sandbox

from . import checking, records
from .cast import CONTRACT
from .verdict import judge, undisturbed

ROOT = Path(__file__).parents[2]
LONGEST_SECONDS = 3600  # only ends a campaign that hangs


def test_the_verdict_sees_a_record_that_is_lost_and_one_that_was_never_sent() -> None:
    lines, expected = records.generate(300, seed=1)
    with sandbox(SLUICE_CONTRACT="contract:Slowed") as site:
        site.file("contract.py", CONTRACT)
        paths = records.write(lines, site.folder / "in", 1)
        site.enqueue(*paths)
        site.ok("worker", "up", "--burst")
        calm = undisturbed(paths, site)
        assert judge(site, expected, calm).holds

        with closing(sqlite3.connect(site.home / "sluice.db")) as connection, connection:
            keys = [row[0] for row in connection.execute("SELECT key FROM target ORDER BY key LIMIT 2")]
            connection.execute("DELETE FROM target WHERE key = ?", keys[:1])
            connection.execute("UPDATE target SET value = -1 WHERE key = ?", keys[1:])
            connection.execute("UPDATE batches SET received = received + 1")
        found = judge(site, expected, calm)
        assert (found.lost, found.doubled, found.invented) == (2, 1, 1)
        assert not found.holds


def test_a_short_campaign_of_random_kills_loses_doubles_and_invents_nothing() -> None:
    done = subprocess.run(
        # Alike in every run, as far as the machine is: `make chaos` looks for what is new.
        [sys.executable, "-m", "tests.chaos.chaos", "--short", "--seed", "7"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost 0, doubled 0, invented 0" in done.stdout


def test_a_working_system_is_accused_of_nothing_and_no_repair_costs_it_a_letter() -> None:
    with sandbox(SLUICE_BATCH_RECORDS=checking.BATCH_RECORDS) as site:
        checks = checking.campaign(2.5, 7, site)
        assert site.count("dead_letters") > 0
    assert checks.asked > 2
    assert (checks.accusations, checks.unchecked) == ([], 0)

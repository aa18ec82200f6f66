"""The parts of `make bench`, with few records: what they measure is compared and checked, whatever it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "benchmarks" / "bench.py"
PARTS = {
    "shapes": ["own contract: file to target, by its loop", "own contract: processor time of all processes",
               "own contract: workers wait for the write lock"],
    "processor": ["processor time of 400 records, by the bare loop"],
    "delays": ["one record, to its row in staging, p50", "the same to target, loaded every second, p50"],
}  # fmt: skip


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_parts_of_the_bench_print_and_keep_their_figures(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    few = ["--records", "400", "--turns", "1", "--workers", "1", "--shapes", "own contract"]
    done = bench(*PARTS, *few, "--json", str(file))
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())
    for name in (name for names in PARTS.values() for name in names):
        assert name in done.stdout
        assert figures[name]["value"] >= 0
    spent = figures["processor time"]["own contract"]
    assert set(spent) == {"producer", "workers", "loader", "Redis", "supervisor and cron"}
    assert spent["producer"] > 0


def test_the_bench_names_a_part_that_it_has_not() -> None:
    done = bench("throughputs")
    assert done.returncode == 2
    assert "no such part: throughputs" in done.stderr

"""`store letters export --as-test`: the written test passes today, and fails with another expectation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from store import database
from store.dead_letters.transfer import as_test
from store.tables.dead_letters import conditions

from ..plant import Plant, ndjson, row

CONFIG = '[sources.s]\ndelimiter = ";"\ndecimal = ","\n'
FIELD = 'quote " and \\ and \'\'\' and """ and \n'


def written(plant: Plant) -> dict[str, str]:
    """reason -> the file of its first group."""
    found: dict[str, str] = {}
    for letter in plant.letters():
        if letter.reason not in found:
            with database.reading(plant.engine) as connection:
                chosen = conditions(connection, groups=[letter.group_id])
                letters = as_test.select_matching(connection, chosen)
            found[letter.reason] = as_test.file_of(letters)
    return found


def pytest_on(folder: Path) -> str:
    """What pytest says of the files, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:valkey", "."],
        cwd=folder,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_the_written_tests_pass_and_fail_with_another_expectation(plant: Plant, tmp_path: Path) -> None:
    plant.configure(CONFIG)
    plant.run(b"key;name;value;ts\na;n;1,2,3;2025-01-15\nb;n;4,5,6;2025-01-15\n", "own.csv", source="s")
    plant.run(
        ndjson(row("a", ts="3025-01-15T00:00:00Z"), row("c", value={FIELD: "x"}), {"key": "d"})
        + b'\xff\xfe\n{"key": "\\u0000"}\n[1]\n'
    )
    files = written(plant)
    assert {"invalid_value", "future_timestamp", "missing_timestamp", "undecodable"} < set(files)
    folder = tmp_path / "written"
    folder.mkdir()
    for reason, text in files.items():
        (folder / f"test_{reason}.py").write_text(text)
    changed = files["invalid_value"].replace("[('value', 'number')]", "[]")
    (folder / "test_changed.py").write_text(changed)
    number = sum(text.count("pytest.param(") for text in files.values())
    failing = changed.count("[], id=")
    assert failing
    assert f"{failing} failed, {number} passed" in pytest_on(folder)

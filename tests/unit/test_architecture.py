"""docs/architecture.md knows every file of the three rooms and every table, and no other; mutants know the source."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from store.database import letters
from tests.mutants.mutants import MUTANTS

ROOT = Path(__file__).parents[2]
CODE = ("producer", "worker", "store", "tests", "benchmarks")
MAX_LINES, MAX_FILES = 350, 15
TEXT = (ROOT / "docs" / "architecture.md").read_text()


def section(heading: str) -> str:
    """What stands below a heading, up to the next."""
    return re.split(r"^#+ ", TEXT.split(f"{heading}", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("room", ["producer", "worker", "store"])
def test_every_file_of_a_room_is_listed_and_every_listed_one_is_there(room: str) -> None:
    listed = re.findall(r"`([\w/]+\.py)`", section(f"### `{room}/`"))
    files = [path.relative_to(ROOT / room) for path in (ROOT / room).rglob("*.py")]
    there = [str(path) for path in files if path.name != "__init__.py" and "migrations" not in path.parts]
    assert sorted(listed) == sorted(there)


def test_no_file_and_no_folder_is_too_large_to_see_whole() -> None:
    files = [
        path
        for room in CODE
        for path in (ROOT / room).rglob("*.py")
        if not {"migrations", "__pycache__"} & set(path.parts)
    ]
    assert len(files) > 300  # the search finds them
    assert {str(path) for path in files if len(path.read_text().splitlines()) > MAX_LINES} == set()
    folders = Counter(path.parent for path in files)
    assert {str(folder): number for folder, number in folders.items() if number > MAX_FILES} == {}


def test_every_table_and_view_is_listed_and_every_listed_one_is_there() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", section("## The tables"), re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    by_contract = {"staging", "target"}
    views = {"golden", "current"} | {"lineage", "record_lineage"}
    assert sorted(listed) == sorted({*letters.metadata.tables, *by_contract, *views})


def test_the_test_that_is_noted_for_a_mutant_is_there() -> None:
    """With its parameters a name may have blanks and be cut at one: then pytest finds nothing, and so no mutant."""
    noted: dict[str, str] = json.loads((ROOT / "tests" / "mutants" / "noticed.json").read_text())
    assert noted.keys() == {mutant.name for mutant in MUTANTS}
    missing = {
        name: test
        for name, test in noted.items()
        if f"def {test.partition('::')[2].rpartition('::')[2]}("
        not in (ROOT / test.partition("::")[0]).read_text()
    }
    assert missing == {}


def test_every_mutant_finds_what_it_changes_once() -> None:
    found = {
        f"{mutant.name}: {edit.file}": (ROOT / edit.file).read_text().count(edit.old)
        for mutant in MUTANTS
        for edit in mutant.edits
    }
    assert {name: times for name, times in found.items() if times != 1} == {}

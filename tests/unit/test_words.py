"""The words that the glossary of docs/architecture.md bans occur in no name of the project."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("producer", "worker", "store", "tests")
GLOSSARY = (ROOT / "docs" / "architecture.md").read_text().split("## Glossary\n", 1)[1].split("\n## ", 1)[0]
BANNED = frozenset(
    re.findall(r"`([a-z_]+)`", GLOSSARY.split("Banned in names:", 1)[1].split("tests/unit", 1)[0])
)
# Names of RQ's own interface that say `horse`.
RQ_NAMES = frozenset(
    [
        "execute_horse",
        "fork_work_horse",
        "handle_work_horse_killed",
        "horse_pid",
        "_horse_pid",
        "is_horse",
        "_is_horse",
        "kill_horse",
        "main_work_horse",
        "monitor_work_horse",
        "setup_work_horse_signals",
        "wait_for_horse",
        "work_horse",
        "work_horse_killed_handler",
    ]
)
# Not clean yet. A file that becomes clean must leave the list.
NOT_CLEAN: frozenset[str] = frozenset()


def names(tree: ast.AST) -> Iterator[str]:
    """What a module names: functions, classes, parameters, variables, attributes, imports."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.alias(asname=str(name)):
                yield name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name


def words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in the singular too, and every two that stand together."""
    parts = [part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
    return {*parts, *(part.removesuffix("s") for part in parts), *map("_".join, pairwise(parts))}


def banned(name: str) -> set[str]:
    return words(name) & (BANNED - {"horse"} if name in RQ_NAMES else BANNED)


def offences(path: Path) -> list[str]:
    """The names of a file, its own included, that contain a banned word."""
    found = {path.stem, *names(ast.parse(path.read_text()))}
    return sorted(name for name in found if banned(name))


FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_contains_a_banned_word(path: Path) -> None:
    if str(path.relative_to(ROOT)) in NOT_CLEAN:
        assert offences(path), "this file is clean now: remove it from NOT_CLEAN"
    else:
        assert offences(path) == []


def test_every_file_that_is_not_clean_exists() -> None:
    assert {name for name in NOT_CLEAN if not (ROOT / name).exists()} == set()


def test_the_glossary_bans_these_words() -> None:
    assert {"place", "looking", "compared", "kept", "said", "told", "known_as", "mark", "horse"} == BANNED


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("from_place", {"place"}),
        ("PLACE_BITS", {"place"}),
        ("places", {"place"}),
        ("KeptBatch", {"kept"}),
        ("was_known_as", {"known_as"}),
        ("watermarks", set()),
        ("replaced", set()),
        ("work_horse", set()),
        ("horse_socket", {"horse"}),
    ],
)
def test_words_are_found_whole(name: str, expected: set[str]) -> None:
    assert banned(name) == expected


@pytest.mark.parametrize(
    "source",
    ["def said(): pass", "lambda told: 0", "kept = 1", "class Kept: pass", "self.mark = 1",
     "for place in (): pass", "import a as compared", "(said := 1)"],
)  # fmt: skip
def test_every_kind_of_name_is_found(source: str) -> None:
    assert any(banned(name) for name in names(ast.parse(source)))

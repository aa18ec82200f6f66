"""Each log line of ours names its event, and docs/operations.md has just these names, with their levels and fields."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from dataclasses import fields
from pathlib import Path

from store.logs import OF_A_LIBRARY
from worker.processes.standing import Totals

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "operations.md").read_text().split("\n## Logs\n", 1)[1].split("\n## ", 1)[0]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
LOGGERS = {"log", "voice", "self.log", "scheduler.log"}


def calls() -> list[tuple[str, ast.Call]]:
    """Every call of a method of a logger, and where."""
    found = []
    for room in ("producer", "worker", "store"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in LEVELS
                ):
                    owner = ast.unparse(node.func.value)
                    if owner in LOGGERS or "getLogger" in owner:
                        found.append((f"{path}:{node.lineno}", node))
    return found


def named(call: ast.Call) -> ast.Call | None:
    """The `event(...)` of its `extra`."""
    for word in call.keywords:
        made = word.value
        if (
            word.arg == "extra"
            and isinstance(made, ast.Call)
            and ast.unparse(made.func) in ("event", "logs.event")
        ):
            return made
    return None


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """event -> (levels, fields)."""
    rows = re.findall(r"^\| `(\w+)` \| ([\w, ]+) \| (.*?) ?\| [^|]+ \|$", TEXT, re.MULTILINE)
    return {name: (set(levels.split(", ")), set(re.findall(r"`(\w+)`", ids))) for name, levels, ids in rows}


def test_every_line_names_its_event_by_a_literal() -> None:
    found = calls()
    assert len(found) > 40
    nameless = [
        where
        for where, call in found
        if not (made := named(call)) or not isinstance(made.args[0], ast.Constant)
    ]
    assert nameless == []


def test_the_table_has_each_event_that_is_logged_with_its_level_and_fields_and_no_other() -> None:
    logged: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for _, call in calls():
        made = named(call)
        assert made and isinstance(call.func, ast.Attribute) and isinstance(made.args[0], ast.Constant)
        levels, names = logged[str(made.args[0].value)]
        level = {"exception": "error", "log": "error, warning"}.get(call.func.attr, call.func.attr)
        levels.update(level.split(", "))
        for word in made.keywords:
            names.update([word.arg] if word.arg else [each.name for each in fields(Totals)])
    assert documented() == dict(logged)


def test_the_text_names_the_event_of_all_other_lines() -> None:
    assert f"has the event `{OF_A_LIBRARY}`" in TEXT


def test_no_field_of_an_event_hides_what_every_line_has() -> None:
    every = {"time", "level", "event", "message", "logger", "pid", "traceback"}
    assert [name for name, (_, names) in documented().items() if names & every] == []

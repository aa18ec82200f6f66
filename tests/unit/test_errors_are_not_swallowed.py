"""An error that is caught is raised again, logged, turned into an answer, or left with a comment that says why."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [path for room in ("producer", "worker", "store") for path in sorted((ROOT / room).rglob("*.py"))]
NOTHING = (ast.Pass, ast.Continue, ast.Break)


def is_silent(handler: ast.ExceptHandler) -> bool:
    """Whether it only goes on, or answers with a constant that could as well mean that nothing was wrong."""
    return all(
        isinstance(step, NOTHING)
        or (isinstance(step, ast.Return) and (step.value is None or isinstance(step.value, ast.Constant)))
        for step in handler.body
    )


def suppresses(statement: ast.With) -> bool:
    return any("suppress(" in ast.unparse(item.context_expr) for item in statement.items)


def swallowed(path: Path) -> Iterator[str]:
    """The places where an error ends without a word."""
    lines = path.read_text().splitlines()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.ExceptHandler) and is_silent(node):
            shown_lines = lines[node.lineno - 1 : node.end_lineno]
        elif isinstance(node, ast.With) and suppresses(node):
            shown_lines = lines[node.lineno - 2 : node.end_lineno]
        else:
            continue
        if not any("# " in line for line in shown_lines):
            yield f"{path.relative_to(ROOT)}:{node.lineno}"


@pytest.mark.parametrize("room", ["producer", "worker", "store"])
def test_no_error_ends_without_a_word(room: str) -> None:
    assert [
        line for path in FILES if path.relative_to(ROOT).parts[0] == room for line in swallowed(path)
    ] == []

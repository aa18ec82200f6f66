"""Pictures, drawn by the server as SVG without style or script; what they show stands in a table beside them too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from worker.page.text import visible

WIDTH, HEIGHT, LEFT = 640, 120, 8
BOX_WIDTH, BOX_HEIGHT, GAP, INDENT = 420, 44, 18, 28
MOST_BOXES = 60


def bars(
    title: str, values: Sequence[Mapping[str, Any]], label: str, whole: str, part: str | None = None
) -> Markup:
    """A bar for each value, with the part of it that is rejected, if any is asked for; none for what is not known.

    The names of the values are what a reader of the picture is given, so they are words.
    """
    top = max((each[whole] for each in values if each[whole] is not None), default=0) or 1
    step = (WIDTH - 2 * LEFT) / max(len(values), 1)
    names = [(name, kind) for name, kind in ((whole, "whole"), (part, "part")) if name]
    shapes = []
    for number, each in enumerate(values):
        known = [(name, kind) for name, kind in names if each[name] is not None]
        hint = escape(
            f"{each[label]}: " + (", ".join(f"{each[name]:,} {name}" for name, _ in known) or "not known")
        )
        x, width = LEFT + number * step, max(step - 3, 1.0)
        rects = [_bar(kind, x, width, HEIGHT * each[name] / top) for name, kind in known]
        shapes.append(f"<g><title>{hint}</title>{''.join(rects)}</g>")
    return Markup(  # noqa: S704 - all text in it is escaped
        f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {WIDTH} {HEIGHT + 2}" class="bars">'
        f'<line x1="0" y1="{HEIGHT}" x2="{WIDTH}" y2="{HEIGHT}" class="axis"/>{"".join(shapes)}</svg>'
    )


def _bar(kind: str, x: float, width: float, tall: float) -> str:
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{HEIGHT - tall:.1f}" width="{width:.1f}" height="{tall:.1f}"/>'
    )


def tree(title: str, entries: Sequence[Mapping[str, Any]]) -> Markup:
    """Entries of lineage, each below its parent and joined to it."""
    ordered = by_parent(entries[:MOST_BOXES])
    rows = {each["id"]: row for row, (each, _) in enumerate(ordered)}
    shapes, height = [], 0
    for row, (each, depth) in enumerate(ordered):
        x, y = depth * INDENT, row * (BOX_HEIGHT + GAP)
        height = y + BOX_HEIGHT
        if each["parent_id"] in rows:
            above = rows[each["parent_id"]] * (BOX_HEIGHT + GAP) + BOX_HEIGHT
            shapes.append(
                f'<path class="axis" fill="none" d="M{x - INDENT + 10} {above}V{y + BOX_HEIGHT / 2}H{x}"/>'
            )
        first, second = (escape(visible(_cut(each[name]))) for name in ("step", "detail"))
        where = escape(visible(_cut(f"{each['file']}:{each['line']}", 58)))
        shapes.append(
            f'<rect class="box" x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="4"/>'
            f'<text x="{x + 10}" y="{y + 18}"><tspan class="step">{first}</tspan> {second}</text>'
            f'<text class="where" x="{x + 10}" y="{y + 36}">{where}</text>'
        )
    deepest = max((depth for _, depth in ordered), default=0)
    return Markup(  # noqa: S704 - all text in it is escaped
        f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {BOX_WIDTH + deepest * INDENT + 2} {height + 2}" '
        f'class="tree">{"".join(shapes)}</svg>'
    )


def by_parent(entries: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], int]]:
    """The entries, each behind its parent, with its depth; parents that form a circle are shown without depth."""
    known = {each["id"] for each in entries}
    below: dict[Any, list[Mapping[str, Any]]] = {}
    for each in entries:
        below.setdefault(each["parent_id"] if each["parent_id"] in known else None, []).append(each)
    found: list[tuple[Mapping[str, Any], int]] = []
    waiting = [(each, 0) for each in reversed(below.get(None, []))]
    while waiting:
        each, depth = waiting.pop()
        found.append((each, depth))
        waiting += [(child, depth + 1) for child in reversed(below.get(each["id"], []))]
    listed = {each["id"] for each, _ in found}
    return found + [(each, 0) for each in entries if each["id"] not in listed]


def _cut(text: Any, most: int = 44) -> str:
    shown = str(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"

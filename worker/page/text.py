"""Text for a page: nothing in it that a browser would obey or hide."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from markupsafe import Markup

from store import terminal, timestamps
from store.cli.render.elements import span

SHOWN_BYTES = 4096


def visible(value: Any) -> Any:
    """What a template prints. Marks that are not seen, or turn text round, are written out: ⟦U+202E⟧."""
    if value is None:
        return ""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return value if value.isprintable() else "".join(map(_visible, value))


def _visible(character: str) -> str:
    return character if character.isprintable() else f"⟦U+{ord(character):04X}⟧"


def lines_of(text: str) -> list[str]:
    """The lines of a text; tabs are blanks, all else that is not printed is written out when it is shown."""
    return text.replace("\t", "    ").split("\n")


def number(value: Any) -> str:
    """1,234; nothing for none."""
    return "" if value is None else f"{value:,}"


def counted(value: int, one: str, many: str = "") -> str:
    """`1 batch`, `2 batches`."""
    return terminal.counted(value, one, many)


def share(part: int, whole: int) -> str:
    """A part in percent; a dash where there is no whole."""
    return f"{part / whole:.1%}" if whole else "—"


def moment(text: str | None) -> str:
    """ISO 8601 as people read it, UTC, without the fraction."""
    return "" if not text else timestamps.to_iso(text)[:19].replace("T", " ")


def length(seconds: float | None) -> str:
    """A length of time in words of one unit or two."""
    return "" if seconds is None else span(seconds)


def age(text: str | None, now: datetime) -> str:
    """How long ago that was."""
    if not text:
        return ""
    then = datetime.fromisoformat(text)
    return f"{span(max((now - then).total_seconds(), 0.0))} ago"

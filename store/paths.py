"""A field within a record, also one within objects, as one text: `properties.mag`.

A dot of a name has a backslash in front, and so has a backslash: `a\\.b` is one name.
"""

from __future__ import annotations

from collections.abc import Iterable

Path = tuple[str, ...]


def joined(path: Iterable[str]) -> str:
    """The names as one text."""
    return ".".join(name.replace("\\", "\\\\").replace(".", "\\.") for name in path)


def split(text: str) -> Path:
    """The inverse of `joined`."""
    if "\\" not in text:
        return tuple(text.split("."))
    names, name, escaped = [], "", False
    for character in text:
        if escaped or character not in "\\.":
            name, escaped = name + character, False
        elif character == "\\":
            escaped = True
        else:
            names.append(name)
            name = ""
    return (*names, name)

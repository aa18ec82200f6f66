"""A field within a record, also one within objects, as one text: `properties.mag`.

A dot of a name has a backslash in front, and so has a backslash: `a\\.b` is one name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

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


ABSENT: Any = object()
MOST_LEVELS = 20


def value_at(body: Mapping[str, Any], path: Path) -> Any:
    """What stands at a path; ABSENT for nothing."""
    value: Any = body
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return ABSENT
        value = value[name]
    return value


def put(body: dict[str, Any], path: Path, value: Any) -> None:
    """Puts a value at a path. Objects on the way are copied, or made; raises ValueError where one is no object."""
    inner = body
    for number, name in enumerate(path[:-1], 1):
        held = inner.get(name)
        if held is not None and not isinstance(held, dict):
            raise ValueError(f"{joined(path[:number])} is no object")
        inner[name] = inner = dict(held or {})
    inner[path[-1]] = value


def take(body: dict[str, Any], path: Path) -> Any:
    """Takes out what stands at a path, and returns it; ABSENT for nothing. Objects on the way are copied."""
    if value_at(body, path) is ABSENT:
        return ABSENT
    inner = body
    for name in path[:-1]:
        inner[name] = inner = dict(inner[name])
    return inner.pop(path[-1])


def fields_within(body: Mapping[str, Any], above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every field with its path, those within objects too, and the objects before them."""
    for name, value in body.items():
        path = (*above, name)
        yield path, value
        if isinstance(value, dict) and len(path) < MOST_LEVELS:
            yield from fields_within(value, path)

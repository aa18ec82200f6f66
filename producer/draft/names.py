"""Names for a contract that Python, pydantic and the store allow. Pure."""

from __future__ import annotations

import keyword
import re
from pathlib import PurePath

from pydantic import BaseModel

from producer.draft.columns import Column
from store.text import SOURCE_NAME

PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
TYPES = ("bool", "dict", "int", "float", "list", "str")  # a field of this name would hide the type


def field_name(column: Column, taken: set[str]) -> str:
    """A name for the contract: that of the column where it can be one. It is added to those that are taken."""
    raw = column.path[-1]
    name = raw if PLAIN_NAME.fullmatch(raw) else re.sub(r"[^A-Za-z0-9]+", "_", _ascii(raw)).strip("_").lower()
    name = name.lstrip("_") or "field"
    if name[0].isdigit():
        name = f"n{name}"
    if name.startswith("model_"):  # pydantic's own
        name = f"its_{name}"
    for each in (
        name,
        "_".join(re.sub(r"[^A-Za-z0-9]+", "_", part).strip("_") for part in column.path),
        name,
    ):
        if each and _is_free(each, taken) and PLAIN_NAME.fullmatch(each) and not each.startswith("_"):
            name = each
            break
    else:
        number = 2
        while not _is_free(f"{name}_{number}", taken):
            number += 1
        name = f"{name}_{number}"
    taken |= {name.lower(), f"{name.lower()}_exact"}
    return name


def _is_free(name: str, taken: set[str]) -> bool:
    is_ours = hasattr(BaseModel, name) or name.startswith("model_") or name in TYPES or name in IMPORTED
    return not (name.lower() in taken or keyword.iskeyword(name) or is_ours or name.endswith("_exact"))


IMPORTED = (
    "date",
    "datetime",
    "Decimal",
    "Any",
    "Literal",
    "Record",
)  # a field of this name would hide the type


def _ascii(text: str) -> str:
    """Letters with marks as those that people write in their place."""
    for letter, instead in (
        ("ä", "ae"),
        ("ö", "oe"),
        ("ü", "ue"),
        ("ß", "ss"),
        ("å", "a"),
        ("ø", "o"),
        ("æ", "ae"),
    ):
        text = text.replace(letter, instead).replace(letter.upper(), instead)
    return text


def source_name(path: str) -> str:
    """The name of a source, by that of a file: `orders-2025.csv.gz` is orders-2025."""
    stem = PurePath(path).name.partition(".")[0]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", _ascii(stem)).strip("-._")[:64]
    return name if SOURCE_NAME.fullmatch(name) else "source"


def module_name(source: str) -> str:
    """The module of a source's contract."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", source).strip("_").lower()
    name = f"n{name}" if name[:1].isdigit() or not name else name
    return f"{name}_contract"


def model_name(source: str) -> str:
    """The class of a source's contract."""
    words = re.findall(r"[A-Za-z0-9]+", source)
    name = "".join(word[:1].upper() + word[1:] for word in words)
    return f"N{name}" if name[:1].isdigit() else name if name not in IMPORTED else f"{name}Record"

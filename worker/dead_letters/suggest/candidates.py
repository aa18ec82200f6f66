"""The edits that may fix a faulty field: about ten, by its kind, what is wrong with it, and its values. Pure.

None of them is a suggestion yet: the contract judges each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import orjson

from store import paths
from store.dead_letters.edits import CURRENCY, Edit, cast, text_to_cast
from worker.dead_letters.suggest.layouts import layouts
from worker.dead_letters.suggest.readings import UNITS

NUMBERS = ("real", "integer", "decimal")
NULL_WORDS = frozenset({"n/a", "na", "n.a.", "-", "--", "null", "none", "nil", "nan", "\\n", "#n/a"})
PLAIN = ("decimal-comma", "thousands")
AMOUNTS = ("currency-comma", "currency-thousands")
MOST_FORMATS = 6
MOST_RENAMES = 2
LIKE_ENOUGH = 0.6
SYNONYMS = {
    "key": ("id", "uid", "uuid", "identifier"),
    "ts": ("time", "timestamp", "datetime", "date", "at", "stamp"),
}  # of the two fields that every contract has
NAMES = {
    "trim": "trim",
    "number": "number",
    "decimal-comma": "decimal comma",
    "thousands": "thousands",
    "currency": "currency sign",
    "currency-comma": "currency sign, decimal comma",
    "currency-thousands": "currency sign, thousands",
    "epoch": "seconds since 1970",
    "epoch-ms": "milliseconds since 1970",
    "text": "number as text",
}


@dataclass(frozen=True, slots=True)
class Faulty:
    """A field that a group's letters have a fault at."""

    field: str  # the contract's name, or that of a field beyond it
    typed: str  # how an edit names it
    raw: str  # its name in the payloads
    kind: str | None  # of its column; None beyond the contract
    rule: str
    shape: str
    may_be_absent: bool
    default: str  # the contract's, in words


@dataclass(frozen=True, slots=True)
class Candidate:
    """An edit that may help."""

    name: str
    edit: Edit  # with the names that a user types
    field: str | None = None
    how: str | None = None  # its cast
    rivals: tuple[
        str, ...
    ] = ()  # casts that read the same text differently, this one or a wider one among them
    needs_null_words: bool = False  # all values of the group must say that there is none
    because: str = ""  # why it is a candidate, where its name does not show it


AS_THEY_ARE = Candidate("as they are", Edit())


def candidates(
    faulty: Faulty, values: Sequence[Any], free: Mapping[str, int], taken: Collection[str] = ()
) -> list[Candidate]:
    """The edits for one field, the simplest first.

    `values` are those that payloads have in it, `free` the fields of payloads that nothing else uses, with the number
    of payloads that have them, and `taken` the names of the contract.
    """
    texts = [text for value in values if (text := text_to_cast(value, "text")) is not None]
    return [*_without_cast(faulty, texts, free, taken), *_casts(faulty, values, texts)]


def _without_cast(
    faulty: Faulty, texts: Sequence[str], free: Mapping[str, int], taken: Collection[str]
) -> Iterator[Candidate]:
    typed, field = faulty.typed, faulty.field
    if faulty.kind is None:
        if faulty.raw not in taken:
            yield Candidate(f"drop {field}", Edit(drop=(typed,)), field)
        return
    if faulty.shape == "absent":
        free = {name: number for name, number in free.items() if _may_be_meant(name, faulty.raw)}
        near = nearest(faulty.raw, field, free)
        for name in near or ([*free] if len(free) == 1 and _can_be_typed(*free) else []):
            because = "" if near else f"{name} is the only field that nothing else uses"
            edit = Edit(rename={f"raw.{name}": typed})
            yield Candidate(f"rename {name} to {typed}", edit, field, because=because)
    if faulty.may_be_absent:
        if faulty.shape in ("empty", "blank", "null"):
            yield Candidate(f"empty: {faulty.default}", Edit(default={typed: None}), field)
        if texts and all(is_null_word(text) for text in texts):
            words = ", ".join(sorted({text.strip() for text in texts})[:3])
            yield Candidate(
                f"no value ({words}): {faulty.default}", Edit(set={typed: None}), field, needs_null_words=True
            )


def _casts(faulty: Faulty, values: Sequence[Any], texts: Sequence[str]) -> Iterator[Candidate]:
    def made(how: str, rivals: tuple[str, ...] = ()) -> Candidate:
        return Candidate(name_of(how), Edit(cast={faulty.typed: how}), faulty.field, how, rivals)

    if faulty.kind is None:
        return
    if any(is_changed(value, "trim") for value in values):
        yield made("trim")
    if faulty.kind in NUMBERS:
        with_sign = any(isinstance(value, str) and CURRENCY.sub("", value) != value for value in values)
        weaker, rivals = ("currency", AMOUNTS) if with_sign else ("number", PLAIN)
        for how in (weaker, *rivals):
            if any(is_changed(value, how) for value in values):
                yield made(how, rivals)
    elif is_time(faulty):
        for formats in usual(layouts, texts):
            times = tuple(f"time:{each}" for each in formats)
            for how in times:
                if any(is_changed(value, how) for value in values):
                    yield made(how, times)
        for how in UNITS:
            if any(is_changed(value, how) for value in values):
                yield made(how, UNITS)
    elif faulty.kind == "text" and any(isinstance(value, orjson.Fragment) for value in values):
        yield made("text")


def is_time(faulty: Faulty) -> bool:
    """Whether a field holds a time: that of the record, or one for which pydantic says so."""
    return faulty.field == "ts" or faulty.rule.startswith(("date", "time"))


def name_of(how: str) -> str:
    """A cast in words."""
    return NAMES.get(how) or f"time {how.removeprefix('time:')}"


def is_changed(value: Any, how: str) -> bool:
    """Whether a cast reads a value, and makes something else of it."""
    text = text_to_cast(value, how)
    return text is not None and cast(text, how) is not text


def is_null_word(text: str) -> bool:
    """Whether a text says that there is no value."""
    return text.strip().lower() in NULL_WORDS


def usual(find: Callable[[str], list[tuple[str, ...]]], texts: Sequence[str]) -> list[tuple[str, ...]]:
    """The formats that most of the texts may have."""
    counted = Counter(formats for text in texts for formats in find(text))
    found: list[tuple[str, ...]] = []
    for formats, _ in counted.most_common():
        if sum(map(len, found)) < MOST_FORMATS:
            found.append(formats)
    return found


def nearest(raw: str, field: str, free: Mapping[str, int]) -> list[str]:
    """The free fields that are named most like a missing one."""
    names = [name for name in sorted(free, key=lambda each: -free[each]) if _can_be_typed(name)]
    own = paths.split(raw)[-1]
    scored = [
        (max(_likeness(paths.split(name)[-1], wanted) for wanted in (own, field)), name) for name in names
    ]
    found = [name for score, name in sorted(scored, key=lambda each: -each[0]) if score >= LIKE_ENOUGH]
    return found[:MOST_RENAMES]


def _may_be_meant(name: str, raw: str) -> bool:
    """Whether a field stands in the same object as a missing one, or has its own name in another."""
    one, other = paths.split(name), paths.split(raw)
    return one[:-1] == other[:-1] or one[-1] == other[-1]


def _likeness(name: str, wanted: str) -> float:
    """From 0 to 1; a name that contains the other one is like it, and one that usually means the same."""
    if _plain(name) in SYNONYMS.get(wanted, ()):
        return 0.9
    one, other = sorted((_plain(name), _plain(wanted)), key=len)
    if len(one) > 2 and one in other:
        return 0.7 + 0.3 * len(one) / len(other)
    return SequenceMatcher(None, one, other).ratio()


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _can_be_typed(name: str) -> bool:
    """Whether an option of a command can name this field."""
    return bool(name) and name.isprintable() and "=" not in name

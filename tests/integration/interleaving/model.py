"""The specification of versions and letters as a model, written from its text: nothing of Sluice is imported.

`judged`, `accounts` and `winners` are the state as a function of the deliveries and their order. `load` and
`conflicts` are what the loader counts on one of the ways there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import groupby
from typing import Literal, NamedTuple

Position = tuple[int, int]  # the number of a delivery, and of a record in it
Key = tuple[str, str]  # source and key
Ties = Mapping[str, Literal["delivery", "hash"]]  # of each source


class Rules(NamedTuple):
    """A mapping and a contract."""

    value: str = "v"  # the field that becomes `value`
    has_note: bool = False  # `note` is a field of the contract


class Raw(NamedTuple):
    """A record as it is sent."""

    text: str
    letter: str | None = None  # the payload of the letter that is replayed with it


class Sent(NamedTuple):
    """A delivery."""

    number: int
    source: str
    rules: Rules
    records: tuple[Raw, ...]


class Version(NamedTuple):
    """A valid record. Of the versions of a key the greatest wins."""

    source: str
    key: str
    ts: str
    sequence: int
    rank: Position | bytes
    content: bytes
    value: float | None  # None of a tombstone

    @property
    def group(self) -> tuple[str, str, str, int]:
        """Versions of one group have equal key, time and sequence."""
        return self[:4]

    @property
    def shown(self) -> tuple[str, bytes, float | None, bool]:
        """Of what the target shows, that which the specification gives a form."""
        return self.ts, self.content, self.value, self.value is None


def judged(raw: str, source: str, rules: Rules) -> Version | None:
    """The version, without its rank; None where the contract rejects the record."""
    if not raw.startswith("{"):
        return None
    rest = json.loads(raw)
    key, at, name, value = (rest.pop(field) for field in ("id", "at", "title", rules.value))
    identity = {"key": key, "ts": f"{at[:26]}Z"}
    sequence = rest["n"] if source == "log" else int(at[26])  # `clock` has digits below microseconds instead
    if rest.get("gone"):
        body, value = identity | {"deleted": True}, None
    elif not isinstance(value, float):
        return None
    else:
        note = {"note": rest.pop("note", None)} if rules.has_note else {}
        body = {**identity, "name": name, "value": value, **note, "extra": rest}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    content = blake2b(canonical, digest_size=16).digest()
    return Version(source, key, identity["ts"], sequence, b"", content, value)


class Accounts(NamedTuple):
    """What became of each record."""

    accepted: dict[Position, Version]
    letters: set[tuple[str, str]]  # source and payload of the open ones


def accounts(sent: Iterable[Sent], processed: Collection[Position], ties: Ties) -> Accounts:
    """Of the records of these deliveries, those that were processed."""
    accepted: dict[Position, Version] = {}
    latest: dict[tuple[str, str], Position] = {}  # source and payload -> where it was rejected last
    letters: set[tuple[str, str]] = set()
    for delivery in sorted(sent):
        for line, (text, replayed) in enumerate(delivery.records):
            position, letter = (delivery.number, line), (delivery.source, replayed or text)
            version = judged(text, delivery.source, delivery.rules)
            if position not in processed:
                continue
            if version is None:
                letters.add(letter)
                if replayed is None:
                    latest[letter] = position
                continue
            if replayed:
                letters.discard(letter)
            own = latest[letter] if replayed == text else position  # an unedited replay keeps its delivery
            rank = version.content if ties[delivery.source] == "hash" else own
            accepted[position] = version._replace(rank=rank)
    return Accounts(accepted, letters)


def winners(versions: Iterable[Version]) -> dict[Key, Version]:
    """The register: of each source and key the greatest version."""
    best: dict[Key, Version] = {}
    for each in versions:
        best[each[:2]] = max(each, best.get(each[:2], each))
    return best


def load(held: Mapping[Key, Version], chunk: Sequence[Version]) -> tuple[dict[Key, Version], Counter[str]]:
    """The register after a chunk, and the outcomes of its records."""
    after = winners([*held.values(), *chunk])
    outcomes: Counter[str] = Counter()
    for key, rows in groupby(sorted(chunk), key=lambda each: each[:2]):
        versions, before, won = list(rows), held.get(key), after[key]
        repeats = sum(is_repeat(each, won) for each in versions)
        is_written = before is None or not is_repeat(before, won)
        outcomes["inserted" if before is None else "updated"] += is_written
        outcomes["duplicates"] += repeats - is_written
        outcomes["superseded"] += len(versions) - repeats
    return after, outcomes


def is_repeat(one: Version, other: Version) -> bool:
    """Whether two versions have equal time, sequence and content."""
    return (one.group, one.content) == (other.group, other.content)


def conflicts(loaded: Sequence[Version]) -> dict[str, tuple[int, int]]:
    """source -> the least and the most conflicts that can be counted: one number where the path decides nothing.

    Each content that did not win, of the time and sequence that did, is at least one conflict. A record is at
    most one, and the greatest of its time and sequence is none.
    """
    best, found = winners(loaded), {each.source: (0, 0) for each in loaded}
    for group, rows in groupby(sorted(loaded), key=lambda each: each.group):
        versions, (least, most) = list(rows), found[group[0]]
        contents = len({each.content for each in versions})
        if contents > 1:
            least += contents - 1 if best[group[:2]].group == group else 0
            found[group[0]] = (least, most + len(versions) - 1)
    return found

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.csv_reader import Dialect
from store.errors import MessageError, NewerMessage
from store.tables.deliveries import Delivery
from worker.queue.identity import halves
from worker.queue.message import VERSION, Letter, Message, Opaque

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
IDS = st.from_regex(r"[0-9a-f]{1,32}", fullmatch=True)
SOURCES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
RECORDS = TEXT | st.builds(Opaque, st.binary(), st.integers(0, 2**40), st.none() | st.just("ab" * 16))
DELIVERIES = st.builds(
    Delivery,
    id=IDS,
    kind=st.sampled_from(["file", "stream", "replay"]),
    source=SOURCES,
    file=TEXT,
    content=st.none() | TEXT,
    fingerprint=IDS,
    again=st.integers(0, 2**31),
)


def message(delivery: Delivery, **fields: Any) -> Message:
    """A message names the source, the file and the fingerprint of its delivery."""
    return Message(
        delivery=delivery,
        source=delivery.source,
        file=delivery.file,
        fingerprint=delivery.fingerprint,
        **fields,
    )


MESSAGES = st.lists(st.tuples(RECORDS, st.integers(1, 2**40)), min_size=1, max_size=5).flatmap(
    lambda pairs: st.builds(
        message,
        DELIVERIES,
        id=st.just("ab" * 16),
        kind=st.sampled_from(["file", "replay"]),
        first=st.integers(0, 2**32 - 5),
        format=st.sampled_from(["json", "csv"]),
        header=st.none() | st.lists(TEXT),
        dialect=st.builds(
            Dialect, st.sampled_from(",\t;"), st.sampled_from("\"'"), st.none() | st.just("\\"), st.booleans()
        ),
        records=st.just([record for record, _ in pairs]),
        lines=st.just([line for _, line in pairs]) | st.just(range(7, 7 + len(pairs))),
        letters=st.lists(st.builds(Letter, IDS, st.integers(0, 2**62), st.booleans()), max_size=3),
        size=st.integers(0, 2**40),
        part_of=st.none() | IDS,
    )
)


def listed(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__slots__} | {"lines": list(message.lines)}


@given(MESSAGES)
def test_a_message_survives_the_wire_unchanged(message: Message) -> None:
    wire = orjson.loads(orjson.dumps(message.to_wire()))
    assert listed(Message.from_wire(wire)) == listed(message)


COMMAS = Dialect().to_wire()


def sample(**changed: Any) -> dict[str, Any]:
    delivery = Delivery("d1", "file", "s", "f", "c1", "x")
    sent = Message(
        "ab", "file", delivery, 3, "s", "f", "json", None, Dialect(), ["{}", "[]"], [4, 5], "x", [], 4
    )
    return sent.to_wire() | changed


def test_consecutive_lines_are_sent_as_the_first_line() -> None:
    assert sample()["lines"] == 4
    assert list(Message.from_wire(sample()).lines) == [4, 5]


@pytest.mark.parametrize(
    "wire", [None, [], "x", {}, {"v": 0}, {"v": "4"}, {"v": 2}, {"v": True}, {"v": 10**18}]
)
def test_a_message_of_no_version_that_is_read_is_refused(wire: Any) -> None:
    with pytest.raises(MessageError, match="cannot be read"):
        Message.from_wire(wire)


def test_a_message_of_a_newer_version_is_for_a_newer_worker() -> None:
    with pytest.raises(NewerMessage, match=f"version {VERSION + 1}.* up to {VERSION}.*newer"):
        Message.from_wire({"v": VERSION + 1})


@pytest.mark.parametrize(
    "changed",
    [{"records": None}, {"records": [{}]}, {"records": [{"base64": "%%", "size": 1, "digest": None}]},
     {"letters": [[1]]}, {"records": [5]}, {"first": -1}, {"first": 2**32}, {"first": 2**32 - 1}, {"first": True},
     {"first": "0"},
     {"dialect": None}, {"dialect": {}}, {"dialect": COMMAS | {"delimiter": ""}}, {"dialect": COMMAS | {"trim": 1}},
     {"dialect": COMMAS | {"quotechar": ","}}, {"dialect": COMMAS | {"escapechar": 5}},
     {"delivery": None}, {"delivery": "d1"}, {"delivery": ["d1", "file", "c1"]}, {"delivery": [1, "file", "c1", 0]},
     {"delivery": ["d1", "folder", "c1", 0]}, {"delivery": ["d1", "file", 1, 0]},
     {"delivery": ["d1", "file", "c1", "0"]}],
)  # fmt: skip
def test_a_misshapen_message_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(MessageError, match="misshapen"):
        Message.from_wire(sample(**changed))


@pytest.mark.parametrize("name", ["\x1b[2J", "a\nb", "", "a b", "\u202e", "x" * 65])
@pytest.mark.parametrize("field", ["id", "source", "fingerprint", "delivery", "part_of", "letter"])
def test_an_id_or_a_source_that_is_more_than_a_name_is_refused(field: str, name: str) -> None:
    changed: dict[str, Any] = {field: name}
    if field == "delivery":
        changed = {"delivery": [name, "file", "c1", 0]}
    elif field == "letter":
        changed = {"letters": [[name, 1, False]]}
    if field == "part_of" and not name:
        return
    with pytest.raises(MessageError, match="misshapen"):
        Message.from_wire(sample(**changed))


@pytest.mark.parametrize("name", ["id", "delivery", "first", "records", "lines", "letters", "header"])
def test_a_message_without_a_required_field_is_refused(name: str) -> None:
    wire = sample()
    del wire[name]
    with pytest.raises(MessageError, match=name):
        Message.from_wire(wire)


def test_halves_stay_in_the_delivery_and_know_their_first_records() -> None:
    whole = Message.from_wire(sample(records=["1", "2", "3"], lines=[4, 5, 9]))
    parts = halves(whole)
    assert [(part.first, part.records, list(part.lines)) for part in parts] == [
        (3, ["1"], [4]),
        (4, ["2", "3"], [5, 9]),
    ]
    assert {part.delivery for part in parts} == {whole.delivery}
    again = halves(parts[1])
    assert [part.first for part in again] == [4, 5]

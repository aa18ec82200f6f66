"""The id of a batch covers all that decides what becomes of its records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.csv_reader import Dialect
from store.errors import ForgedMessage
from store.tables.deliveries import Delivery
from worker.queue.identity import check, content_digest, halves, identified
from worker.queue.message import Letter, Message, Opaque, raw_record

FILE = Delivery.of("file", "s", "a.csv", "c" * 32, "f")
REPLAY = Delivery.of("replay", "s", "dead_letters", "c" * 32, "f")
RECORDS: list[Any] = ["a,1", "é,2", Opaque(b"\xff", 1, None), Opaque(b"head", 10**7, "ab" * 16), ""]


def message(**changed: Any) -> Message:
    usual = Message(
        "",
        "file",
        FILE,
        0,
        "s",
        "a.csv",
        "csv",
        ["key", "value"],
        Dialect(),
        RECORDS,
        range(2, 7),
        "f",
        [],
        9,
    )
    return replace(usual, **changed)


def replayed(**changed: Any) -> Message:
    letters = [Letter(f"{n}" * 32, n, False) for n in range(len(RECORDS))]
    return message(kind="replay", delivery=REPLAY, letters=letters, **changed)


def sent(made: Message) -> Message:
    """As a worker receives it."""
    return Message.from_wire(orjson.loads(orjson.dumps(identified(made).to_wire())))


@pytest.mark.parametrize("made", [message(), replayed(), message(lines=[2, 3, 5, 8, 13])])
def test_what_is_sent_is_what_is_received_and_so_are_its_halves(made: Message) -> None:
    received = sent(made)
    check(received, received.id)
    for half in halves(received):
        check(sent(half))
        assert half.part_of == received.id


FORGED = {
    "another first record": {"first": 1},
    "another delivery": {"delivery": Delivery.of("file", "s", "a.csv", "d" * 32, "f")},
    "another column": {"header": ["value", "key"]},
    "another delimiter": {"dialect": Dialect(";")},
    "another quote": {"dialect": Dialect(quotechar="'")},
    "another format": {"format": "json"},
    "another line": {"lines": range(3, 8)},
    "lines that are not consecutive": {"lines": [2, 3, 4, 5, 7]},
    "another record": {"records": ["a,2", *RECORDS[1:]]},
    "a record less": {"records": RECORDS[1:], "lines": range(2, 6)},
    "records in another order": {"records": RECORDS[::-1]},
    "another boundary": {"records": ["a,1é", ",2", *RECORDS[2:]]},
    "another head of an oversize record": {"records": [*RECORDS[:3], Opaque(b"other", 10**7, "ab" * 16), ""]},
    "another size of an oversize record": {"records": [*RECORDS[:3], Opaque(b"head", 10**6, "ab" * 16), ""]},
}


@pytest.mark.parametrize("changed", FORGED.values(), ids=FORGED)
def test_content_under_the_id_of_another_is_refused(changed: dict[str, Any]) -> None:
    true = identified(message())
    with pytest.raises(ForgedMessage, match="its id is not that of its content"):
        check(replace(message(**changed), id=true.id))
    check(identified(message(**changed)))  # under its own id it is a message like any other


def test_another_letter_under_the_id_of_a_replay_is_refused() -> None:
    true = identified(replayed())
    others = [replace(letter, edited=True) for letter in true.letters]
    with pytest.raises(ForgedMessage, match="its id is not that of its content"):
        check(replace(true, letters=others))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (
            message(letters=[Letter("x", 1, False)] * 5),
            "a replay names one letter for each record, a file none",
        ),
        (replace(replayed(), letters=[]), "a replay names one letter for each record"),
        (replace(replayed(), kind="file"), "its kind is file"),
        (message(kind="replay"), "its kind is replay"),
        (message(delivery=replace(FILE, content="other")), "the id of its delivery"),
        (message(delivery=replace(FILE, fingerprint="other")), "the id of its delivery"),
        (message(delivery=replace(FILE, again=7)), "the id of its delivery"),
        (message(delivery=replace(FILE, content=None)), "only a stream"),
        (message(records=[*RECORDS[:2], Opaque(b"\xff", 5, None), *RECORDS[3:]]), "another size"),
        (message(records=[*RECORDS[:3], Opaque(b"x", 1 << 63, "ab" * 16), ""]), "a size or digest"),
        (message(records=[*RECORDS[:3], Opaque(b"x", 9, "zz"), ""]), "a size or digest"),
    ],
)
def test_what_no_producer_makes_is_refused_whatever_its_id(made: Message, why: str) -> None:
    with pytest.raises(ForgedMessage, match=why):
        check(identified(made))


def test_a_message_in_the_job_of_another_is_refused() -> None:
    with pytest.raises(ForgedMessage, match="it is in job 'another'"):
        check(identified(message()), "another")


def test_a_stream_without_a_content_has_any_id_and_a_file_under_another_name_the_same() -> None:
    check(identified(message(delivery=Delivery("0" * 32, "stream", "s", "stdin", None, "f"))))
    renamed = message(delivery=replace(FILE, file="b.csv"), file="b.csv", size=1)
    assert identified(renamed).id == identified(message()).id


PAYLOADS = st.lists(st.binary(max_size=6) | st.text(max_size=6).map(str.encode), max_size=6)


@given(PAYLOADS, PAYLOADS)
def test_the_digest_is_the_same_for_bytes_and_text_and_another_for_other_records(
    some: list[bytes], others: list[bytes]
) -> None:
    digest = content_digest("d", 0, some)
    assert digest == content_digest("d", 0, [raw_record(each) for each in some])
    assert (digest == content_digest("d", 0, others)) == (some == others)

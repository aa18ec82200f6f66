"""The ids of accepted records are those that the same records would have as letters."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from store.csv_reader import Dialect
from store.tables.deliveries import Delivery
from worker.batch import arrivals, rejections
from worker.judge import stages
from worker.queue.message import Message, Opaque, RawRecord, raw_record

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
HEADERS = st.none() | st.lists(TEXT, max_size=3)


def message(header: list[str] | None, *records: RawRecord, encoding: str = "utf-8") -> Message:
    delivery, lines = Delivery("d", "file", "s", "f", None, "x"), range(1, len(records) + 1)
    dialect, format = Dialect(encoding=encoding), "json" if header is None else "csv"
    return Message(
        "ab", "file", delivery, 0, "s", "f", format, header, dialect, list(records), lines, "x", [], 1
    )  # type: ignore[arg-type]


def id_as_letter(message: Message, record: RawRecord) -> str:
    payload, encoding, _, digest = stages.payload_of(record)
    return rejections.letter_id(message, payload, encoding, digest)


@given(HEADERS, st.lists(TEXT, min_size=1, max_size=4))
def test_a_record_has_the_id_of_its_letter_and_its_last_position(
    header: list[str] | None, records: list[str]
) -> None:
    batch = message(header, *records)
    found = arrivals.Ids.of(batch, range(len(records)), Counter({"late": 1})).positions
    assert found == {id_as_letter(batch, each): number for number, each in enumerate(records)}


@given(HEADERS, TEXT, st.sampled_from(["utf-8", "latin-1", "cp1252"]))
def test_a_record_has_the_ids_of_its_letter_as_bytes_where_there_are_such(
    header: list[str] | None, record: str, encoding: str
) -> None:
    batch = message(header, record, encoding=encoding)
    wanted: list[RawRecord] = [record, Opaque.head_of(record.encode())]
    if not record.isascii() and record.encode(encoding, "ignore").decode(encoding) == record:
        wanted.append(Opaque(record.encode(encoding), 1, None))
    found = arrivals.Ids.of(batch, [0], Counter({"too_large": 1})).positions
    assert found.keys() == {id_as_letter(batch, each) for each in wanted}


@given(st.binary(min_size=1))
def test_bytes_and_the_text_of_their_base64_are_two_letters(content: bytes) -> None:
    record = raw_record(content)
    if isinstance(record, Opaque):
        text = stages.payload_of(record)[0]
        batch = message(["a"], record, text)
        assert id_as_letter(batch, record) != id_as_letter(batch, text)

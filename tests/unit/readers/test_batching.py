from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.files.batches import Block, PartialRecord, Payload, RawBatch, cut
from worker.queue.message import Opaque

CONTEXT: dict[str, Any] = {
    "delivery": "d1" * 16,
    "max_records": 3,
    "max_bytes": 1000,
}


def block(*payloads: Payload, first: int = 1) -> Block:
    return Block(list(payloads), range(first, first + len(payloads)))


def batches(*blocks: Block, **changed: Any) -> list[RawBatch]:
    return list(cut(blocks, **(CONTEXT | changed)))


def only_id(*payloads: Payload, **changed: Any) -> str:
    (batch,) = batches(block(*payloads), **changed)
    return batch.content


def blocks_of(payloads: Sequence[Payload], lengths: Sequence[int]) -> list[Block]:
    """The same records in blocks of other lengths."""
    made, start = [], 0
    for length in [*lengths, len(payloads)]:
        made.append(block(*payloads[start : start + length], first=start + 1))
        start += length
    return made


def test_a_batch_closes_at_the_greatest_number_of_records() -> None:
    assert [b.payloads for b in batches(block(b"1", b"2", b"3", b"4"))] == [[b"1", b"2", b"3"], [b"4"]]


def test_a_batch_closes_before_the_record_that_would_take_it_over_the_greatest_size() -> None:
    found = batches(block(b"aa", b"bb", b"c", b"d"), max_bytes=4)
    assert [(b.payloads, b.size) for b in found] == [([b"aa", b"bb"], 4), ([b"c", b"d"], 2)]


def test_a_record_larger_than_a_batch_may_be_is_a_batch_alone() -> None:
    found = batches(block(b"a", b"b" * 9, b"c"), max_bytes=4)
    assert [b.payloads for b in found] == [[b"a"], [b"b" * 9], [b"c"]]


def test_an_oversize_record_counts_with_its_head() -> None:
    (batch,) = batches(block(b"a", Opaque(b"head", 10**10, "00" * 16)))
    assert batch.size == 5


def test_no_records_make_no_batch() -> None:
    assert batches() == []
    assert batches(Block([], []), Block([], range(3, 3))) == []


def test_a_batch_may_span_blocks() -> None:
    (batch,) = batches(block(b"1"), Block([], []), block(b"2", b"3", first=2))
    assert batch.payloads == [b"1", b"2", b"3"]


def test_consecutive_lines_stay_a_range_across_blocks() -> None:
    first, second = batches(block(b"1", b"2"), block(b"3", b"4", first=3))
    assert (first.lines, second.lines) == (range(1, 4), range(4, 5))


@pytest.mark.parametrize("lines", [range(7, 9), [7, 9], [7, 7]])
def test_lines_that_are_not_consecutive_are_stored_one_by_one(lines: Sequence[int]) -> None:
    (batch,) = batches(block(b"1"), Block([b"2", b"3"], lines))
    assert list(batch.lines) == [1, *lines]


def test_a_list_of_lines_is_cut_with_its_records() -> None:
    first, second = batches(Block([b"1", b"2", b"3", b"4"], [1, 5, 6, 9]))
    assert (list(first.lines), list(second.lines)) == ([1, 5, 6], [9])


PAYLOADS = st.lists(
    st.binary(max_size=6) | st.builds(Opaque, st.binary(max_size=6), st.integers(7, 99), st.just("ab" * 16)),
    max_size=30,
)


@given(PAYLOADS, st.lists(st.integers(0, 8)), st.integers(1, 9), st.integers(1, 20))
def test_how_records_come_in_blocks_changes_no_batch(
    payloads: list[Payload], lengths: list[int], max_records: int, max_bytes: int
) -> None:
    whole = batches(block(*payloads), max_records=max_records, max_bytes=max_bytes)
    pieces = batches(*blocks_of(payloads, lengths), max_records=max_records, max_bytes=max_bytes)
    assert whole == pieces


@given(PAYLOADS, st.integers(1, 9), st.integers(1, 20))
def test_every_record_is_in_one_batch_in_order_and_within_the_bounds(
    payloads: list[Payload], max_records: int, max_bytes: int
) -> None:
    found = batches(block(*payloads), max_records=max_records, max_bytes=max_bytes)
    assert [p for batch in found for p in batch.payloads] == payloads
    assert [n for batch in found for n in batch.lines] == list(range(1, len(payloads) + 1))
    for batch in found:
        assert batch.size == sum(map(len, batch.payloads))
        assert len(batch.payloads) <= max_records
        assert batch.size <= max_bytes or len(batch.payloads) == 1
    for batch, following in pairwise(found):
        full = len(batch.payloads) == max_records
        assert full or batch.size + len(following.payloads[0]) > max_bytes


def test_an_id_is_32_hexadecimal_digits() -> None:
    assert len(only_id(b"1")) == 32
    assert int(only_id(b"1"), 16) >= 0


def test_sending_the_same_records_again_makes_the_same_ids() -> None:
    records = block(*(b"%d" % n for n in range(10)))
    assert [b.content for b in batches(records)] == [b.content for b in batches(records)]


def test_an_id_is_the_same_on_every_machine() -> None:
    assert only_id(b'{"a":1}', b"2") == "abc424a5f0f02ec407cd047201a2c1a1"


def test_the_same_records_of_another_delivery_have_other_ids() -> None:
    assert only_id(b"1") != only_id(b"1", delivery="d2" * 16)


def test_a_batch_knows_the_number_of_its_first_record_in_the_delivery() -> None:
    blocks = block(b"1", b"2"), Block([], []), block(b"3", b"4", b"5", first=7)
    assert [b.first for b in batches(*blocks, max_records=2)] == [0, 2, 4]


def test_the_same_records_elsewhere_in_the_delivery_have_another_id() -> None:
    first, second = batches(block(b"1", b"1"), max_records=1)
    assert first.payloads == second.payloads
    assert first.content != second.content


def test_a_record_has_one_number_in_whatever_batches_it_is_cut() -> None:
    records = block(*(b"%d" % n for n in range(10)))
    for most in range(1, 11):
        found = batches(records, max_records=most)
        numbered = {b.first + position: payload for b in found for position, payload in enumerate(b.payloads)}
        assert numbered == dict(enumerate(records.payloads))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([b"a\nb"], [b"a", b"b"]),
        ([b"ab"], [b"a", b"b"]),
        ([b"a", b""], [b"", b"a"]),
        ([b"a", b"bc"], [b"ab", b"c"]),
        ([Opaque(b"a", 9, "00" * 16)], [b"00" * 16]),
        ([Opaque(b"a", 9, "00" * 16)], [Opaque(b"a", 8, "00" * 16)]),
        ([Opaque(b"a", 9, "00" * 16)], [Opaque(b"a", 9, "01" * 16)]),
    ],
)
def test_different_records_have_different_ids(one: list[Payload], other: list[Payload]) -> None:
    assert only_id(*one) != only_id(*other)


# The head of a large record is that of the record which its digest is of: none has another one.
AS_MADE = st.lists(
    st.binary(max_size=6) | st.builds(Opaque.head_of, st.binary(min_size=7, max_size=9)), max_size=30
)


@given(AS_MADE, AS_MADE | st.none())
def test_equal_ids_mean_equal_records(one: list[Payload], other: list[Payload] | None) -> None:
    """Two equal lists are hardly drawn by chance: without another one, it is a copy."""
    other = [*one] if other is None else other
    if one and other:
        wide = {"max_records": 100}
        assert (only_id(*one, **wide) == only_id(*other, **wide)) == (one == other)


def test_an_id_does_not_depend_on_lines() -> None:
    assert batches(block(b"1"))[0].content == batches(block(b"1", first=99))[0].content


def test_repeats_within_a_file_are_batches_of_their_own_with_the_same_ids_every_time() -> None:
    records = block(*[b"1", b"2", b"3"] * 4)
    ids = [batch.content for batch in batches(records)]
    assert len(set(ids)) == 4
    assert ids == [batch.content for batch in batches(records)]
    assert ids[:1] == [batch.content for batch in batches(block(b"1", b"2", b"3"))]


@given(st.binary(min_size=1, max_size=60), st.integers(1, 20), st.integers(1, 9))
def test_a_record_added_in_pieces_equals_the_record_added_at_once(
    record: bytes, limit: int, piece: int
) -> None:
    whole, pieces = PartialRecord(limit, b" "), PartialRecord(limit, b" ")
    whole.add(record)
    for start in range(0, len(record), piece):
        pieces.add(record[start : start + piece])
    assert whole.take() == pieces.take()


def test_a_partial_record_is_empty_after_each_record() -> None:
    record = PartialRecord(5000, b" ")
    record.add(b"x" * 9000)
    assert record.take() == Opaque.head_of(b"x" * 9000)
    record.add(b"y")
    assert record.take() == b"y"

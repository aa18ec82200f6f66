"""`send` and `asend`: idempotent under a name, read as there is room, and nothing is lost by an error between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pandas
import polars
import pyarrow
import pytest

from producer import asend, send
from producer.resources import Resources
from producer.stream import send_with
from store.errors import InputError, NoWorker, UsageError

from ..plant import Plant, row


def values(plant: Plant) -> dict[str, Any]:
    return {each["key"]: each["value"] for each in plant.rows()}


def received(plant: Plant) -> int:
    return sum(each["received"] for each in plant.rows("batches", "seq"))


def finish(plant: Plant) -> None:
    plant.work()
    plant.load()
    assert plant.violations() == []


def test_the_same_records_under_one_name_are_one_delivery(api: Plant) -> None:
    rows = [row(f"k{number}", value=float(number)) for number in range(10)]
    first = send(rows, name="orders", batch_records=4)
    assert (first.records, first.batches, first.sent_batches) == (10, 3, 3)
    again = send(iter(rows), name="orders", batch_records=4)
    assert (again.delivery, again.known_batches, again.sent_batches) == (first.delivery, 3, 0)
    finish(api)
    assert send(rows, name="orders", batch_records=4).known_batches == 3
    assert received(api) == 10
    assert send(rows).delivery != send(rows).delivery != first.delivery


def test_a_command_with_the_name_of_a_stream_is_the_same_delivery(api: Plant) -> None:
    from producer.feed import Feed  # the command's way

    sent = send([row()], name="orders")
    with Resources.open() as resources:
        feed = Feed("default", resources.worker.source("default"), resources.contract, resources.settings)
        with feed.open(str(api.file(b"{}"))) as file:
            assert feed.delivery(file, stream="orders").id == sent.delivery


def test_a_generator_is_read_as_the_queue_has_room(api: Plant) -> None:
    read: list[int] = []

    class Full(Exception):
        pass

    def records() -> Iterator[dict[str, Any]]:
        for number in range(1000):
            read.append(number)
            yield row(f"k{number}")

    def full() -> None:
        if api.broker.waiting() == 2 and len(read) >= 8:
            raise Full

    with Resources.open(batch_records=2, max_pending_batches=2) as resources, pytest.raises(Full):
        send_with(resources, records(), name=None, source="default", wait=False, check=full)
    assert len(read) <= 12
    assert api.broker.waiting() == 2


@pytest.mark.parametrize(("fails_at", "batch"), [(0, 1), (3, 4), (7, 2), (9, 3)])
def test_records_that_end_with_an_error_are_sent_again_without_a_second_effect(
    api: Plant, fails_at: int, batch: int
) -> None:
    rows = [row(f"k{number}") for number in range(10)]

    def broken() -> Iterator[dict[str, Any]]:
        yield from rows[:fails_at]
        raise OSError("the feed is away")

    with pytest.raises(OSError, match="away"):
        send(broken(), name="feed", batch_records=batch)
    assert api.broker.waiting() == fails_at // batch
    send(rows, name="feed", batch_records=batch)
    finish(api)
    assert len(api.rows()) == received(api) == 10


def test_what_json_cannot_write_is_refused_by_number_and_what_is_before_it_is_sent(api: Plant) -> None:
    with pytest.raises(InputError, match="record 4 "):
        send([row("a"), row("b"), row("c"), row("d", name=object())], batch_records=1)
    assert api.broker.waiting() == 3


def test_what_is_no_number_is_rejected_and_a_large_integer_too(api: Plant) -> None:
    send([row("a", value=float("nan")), row("b", value=10**30), row("c", value=True), row("d")], name="odd")
    finish(api)
    assert api.reasons() == ["invalid_value"] * 2 + ["invalid_value"]
    assert [letter.file for letter in api.letters()] == ["odd"] * 3


@pytest.mark.parametrize("records", ["text", b"bytes", {"key": "a"}, 7, [""], [b"  "], [None]])
def test_what_is_no_record_is_refused(api: Plant, records: Any) -> None:
    with pytest.raises(UsageError):
        send(records)
    assert api.broker.waiting() == 0


def test_a_frame_is_sent_row_by_row_and_what_is_missing_is_null(api: Plant) -> None:
    rows = [row("a", value=1.5), row("b", value=None)]
    send(polars.DataFrame(rows), name="polars")
    send(pyarrow.Table.from_pylist(rows), name="pyarrow")
    send(pandas.DataFrame(rows), name="pandas")
    send(polars.LazyFrame(rows), name="lazy")
    finish(api)
    assert values(api) == {"a": 1.5}
    assert {letter.occurrences for letter in api.letters()} == {4}
    assert api.reasons() == ["missing_value"]


def test_a_frame_with_times_of_its_own_keeps_them(api: Plant) -> None:
    frame = pandas.DataFrame([row("a")]).assign(ts=pandas.to_datetime(["2025-01-15T08:00:00.000001Z"]))
    send(frame)
    finish(api)
    assert api.rows()[0]["ts"] == "2025-01-15T08:00:00.000001Z"


def test_waiting_without_a_worker_is_refused_before_anything_is_sent(api: Plant) -> None:
    with pytest.raises(NoWorker):
        send([row()], wait=True)
    assert api.broker.waiting() == 0


def test_an_asynchronous_iterator_is_sent(api: Plant) -> None:
    async def records() -> AsyncIterator[dict[str, Any]]:
        for number in range(2100):
            yield row(f"k{number}", value=float(number))

    receipt = asyncio.run(asend(records(), name="feed", batch_records=1000))
    assert (receipt.records, receipt.batches) == (2100, 3)
    finish(api)
    assert values(api)["k2099"] == 2099.0


def test_a_cancelled_send_ends_though_the_queue_is_full(api: Plant) -> None:
    async def endless() -> AsyncIterator[dict[str, Any]]:
        while True:
            yield row()

    async def run() -> None:
        sending = asyncio.create_task(asend(endless(), batch_records=1, max_pending_batches=1))
        while not api.broker.waiting():
            await asyncio.sleep(0.01)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    asyncio.run(asyncio.wait_for(run(), 60))
    assert api.broker.waiting() == 1


def test_the_error_of_an_asynchronous_iterator_is_raised(api: Plant) -> None:
    async def broken() -> AsyncIterator[dict[str, Any]]:
        yield row()
        raise OSError("the feed is away")

    with pytest.raises(OSError, match="away"):
        asyncio.run(asend(broken()))

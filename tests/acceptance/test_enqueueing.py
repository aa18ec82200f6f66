"""`producer enqueue` in time: it waits for room, is interrupted, and goes on."""

from __future__ import annotations

import signal

from .sandbox import Sandbox

RECORDS = "".join(
    f'{{"key": "k{number}", "name": "n", "value": {number}, "ts": "2025-01-15T08:00:00Z"}}\n'
    for number in range(23)
)
CUT = ("--batch-records", "1", "--max-pending-batches", "2", "--json")


def test_with_no_room_it_waits_and_when_interrupted_goes_on_where_it_was(box: Sandbox) -> None:
    file = box.file("records.ndjson", RECORDS)
    first = box.start("producer", "enqueue", file, *CUT)
    box.until(lambda: "no worker is running" in first.err, "the producer says what it waits for")
    assert first.is_alive
    assert box.queued() == 2

    interrupted = first.stop(signal.SIGINT)
    assert (interrupted.code, interrupted.out) == (130, "")
    assert "Traceback" not in interrupted.err
    assert box.queued() == 2

    up = box.start("worker", "up", "--workers", "1")
    second = box.start("producer", "enqueue", file, *CUT).end()
    assert second.code == 0, second.err
    box.until(lambda: box.count("target") == 23, "all records are loaded")
    assert up.stop().code == 0

    assert box.count("batches") == 23
    assert box.report()["duplicates"] == 0
    assert box.select("SELECT key, value FROM target ORDER BY value") == [(f"k{n}", n) for n in range(23)]
    box.check()


def test_a_pipe_is_a_file_too(box: Sandbox) -> None:
    sent = box.ok("producer", "enqueue", "-", "--format", "ndjson", "--json", stdin=RECORDS).json

    assert (sent["records"], sent["files"][0]["file"]) == (23, "-")
    assert box.queued() == 1


def test_a_stream_with_a_name_is_one_delivery_and_without_one_a_new_one_each_time(box: Sandbox) -> None:
    named = ("producer", "enqueue", "-", "--format", "ndjson", "--name", "2025-01-15", "--json")
    assert box.ok(*named, stdin=RECORDS).json["records"] == 23
    assert box.ok(*named, stdin=RECORDS).json["known_batches"] == 1
    assert box.ok(*named[:5], "--json", stdin=RECORDS).json["known_batches"] == 0
    assert box.count("deliveries") == 2


def test_a_name_is_for_one_file(box: Sandbox) -> None:
    files = [box.file(name, RECORDS) for name in ("a.ndjson", "b.ndjson")]
    done = box.run("producer", "enqueue", *files, "--name", "x")
    assert done.code == 2
    assert "--name x names one delivery, and 2 files were given" in done.err
    assert not list(box.home.glob("sluice.db*"))


def test_what_is_sent_again_on_purpose_is_a_new_delivery_and_wins_equal_times(box: Sandbox) -> None:
    first, second = (box.file(f"{name}.ndjson", RECORDS.replace('"n"', f'"{name}"')) for name in "ab")
    for words in ([first], [second], [first], [first, "--again"]):
        box.ok_here("producer", "enqueue", *words)
        box.ok("worker", "up", "--burst")
        expected = "a" if words == [first] and box.count("deliveries") == 1 else "b"
        expected = "a" if "--again" in words else expected
        assert box.select("SELECT DISTINCT name FROM target") == [(expected,)]
    assert box.count("deliveries") == 3
    box.check()


def test_the_same_bytes_read_as_another_format_are_another_delivery(box: Sandbox) -> None:
    text = "key,name,value,ts\nk,n,1,2025-01-15T08:00:00Z\n"
    box.ok_here("producer", "enqueue", box.file("a.ndjson", text))
    box.ok_here("producer", "enqueue", box.file("a.csv", text))
    box.ok("worker", "up", "--burst")
    assert box.select("SELECT received, staged FROM batches ORDER BY received") == [(1, 1), (2, 0)]

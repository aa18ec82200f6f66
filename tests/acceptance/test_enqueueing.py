"""`producer enqueue` in time: it waits for room, is interrupted, and goes on."""

from __future__ import annotations

import gzip
import json
import os
import signal
from pathlib import Path
from threading import Thread
from typing import Any

from .commands import Done
from .sandbox import SAMPLE, Sandbox

FIELD = Path(__file__).parents[1] / "data" / "field"

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


def by_name(done: Done) -> dict[str, dict[str, Any]]:
    """The receipts of `--json`, by the last part of the shown name."""
    return {each["file"].rpartition("/")[2]: each for each in done.json["files"]}


def write_all(writer: int, data: bytes) -> None:
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(data)


def test_what_can_be_read_only_once_arrives_whole_and_is_a_new_delivery_each_time(box: Sandbox) -> None:
    """Refuses 943 of 1,000 records, with exit code 0: what a first look had read was gone."""
    lines = "".join(f'{{"key":"k{n}","name":"n","value":{n},"ts":"2025-01-15"}}\n' for n in range(1000))
    table = "key,name,value,ts\n" + "".join(f"k{n},n,{n},2025-01-15\n" for n in range(1000))
    array = "[" + lines.strip().replace("\n", ",") + "]"
    for format, text in (("ndjson", lines), ("csv", table), ("json", array)):
        for data in (text.encode(), gzip.compress(text.encode())):
            reader, writer = os.pipe()
            writing = Thread(target=write_all, args=(writer, data))  # a pipe holds less than all of it
            writing.start()
            sent = box.enqueue(f"/dev/fd/{reader}", "--format", format, "--json").json
            writing.join()
            os.close(reader)
            assert (sent["records"], sent["known_batches"]) == (1000, 0)
    box.ok("producer", "enqueue", "/dev/stdin", "--format", "csv", stdin=table)
    fifo = box.folder / "records.csv"
    os.mkfifo(fifo)
    sending = box.start("producer", "enqueue", "records.csv")
    fifo.write_text(table)
    assert sending.end().out == "records.csv: 1,000 records in 1 batch to source default\n"
    box.ok("worker", "up", "--burst")
    assert box.select("SELECT count(*), sum(value) FROM target") == [(1000, sum(range(1000)))]
    assert (box.count("deliveries"), box.report()["duplicates"]) == (8, 7000)
    box.check()


def test_the_fault_of_one_file_is_named_and_the_others_are_sent(box: Sandbox) -> None:
    """Refuses a file that is never sent because of the one before it, and an exit code of 0."""
    folder = Path(os.fsdecode(os.fsencode(box.folder) + b"/in\xe9"))
    folder.mkdir()
    names = {"a": b"a.csv", "m": b"caf\xe9\n.csv", "z": b"z.csv"}
    for name, raw in names.items():
        (folder / os.fsdecode(raw)).write_bytes((FIELD / "fname_multi" / f"{name}.csv").read_bytes())
    (folder / "caf\\xe9\\n.csv").write_text("key,name,value,ts\no1,x,1,2025-01-15T12:00:00Z\n")
    (folder / "d.csv").mkdir()
    (folder / "n.csv").write_bytes((FIELD / "zipcsv" / "data.csv").read_bytes())
    files = sorted(map(str, folder.iterdir()))

    done = box.run_here("producer", "enqueue", *files)
    assert done.code == 1
    shown = f"{box.folder}/in\\xe9"
    assert done.out.splitlines() == [
        f"{shown}/{name}: 1 record in 1 batch to source default"
        for name in ("a.csv", "caf\\\\xe9\\\\n.csv", "caf\\xe9\\n.csv", "z.csv")
    ]
    refused, packed = done.err.splitlines()
    assert refused == f"error: {shown}/d.csv: no data file is in this folder"
    assert packed.startswith(f"error: {shown}/n.csv: this is a ZIP archive")

    again = box.run_here("producer", "enqueue", *files, "--json")
    assert again.code == 1
    assert {name: (each["status"], each["records"]) for name, each in by_name(again).items()} == {
        "a.csv": ("sent", 1),
        "caf\\\\xe9\\\\n.csv": ("sent", 1),
        "caf\\xe9\\n.csv": ("sent", 1),
        "d.csv": ("not sent", 0),
        "n.csv": ("not sent", 0),
        "z.csv": ("sent", 1),
    }
    assert again.json["known_batches"] == again.json["records"] == 4
    assert "this is a ZIP archive" in by_name(again)["n.csv"]["error"]

    box.ok("worker", "up", "--burst")
    assert box.select("SELECT key FROM target ORDER BY key") == [("a1",), ("m1",), ("o1",), ("z1",)]
    assert box.select("SELECT count(DISTINCT file) FROM batches") == [(4,)]
    for name, key in ((names["m"], "m1"), (b"caf\\xe9\\n.csv", "o1")):
        traced = box.ok_here(
            "store", "lineage", "--file", os.fsdecode(bytes(folder) + b"/" + name), "--line", "2"
        )
        assert key in traced.out
    assert "m1" in box.ok_here("store", "lineage", "--file", f"{shown}/caf\\xe9\\n.csv", "--line", "2").out
    box.check()


def test_of_damaged_files_every_whole_record_is_sent_and_the_error_says_how_many(box: Sandbox) -> None:
    """Refuses records that were read and are not sent: up to eight batches of 20,000."""
    cut = [str(FIELD / "gzcut" / f"{name}.csv.gz") for name in ("cut", "full", "trail")]
    done = box.run_here("producer", "enqueue", *cut, "--batch-records", "3")
    assert done.code == 1
    assert [line.rpartition("/")[2] for line in done.out.splitlines()] == [
        f"{name}.csv.gz: 7 records in 3 batches to source default" for name in ("cut", "full", "trail")
    ]
    first, second = done.err.splitlines()
    assert "cut.csv.gz: the gzip data is damaged or cut short at byte 77, line 9 of its text" in first
    assert first.endswith("send it again. 7 records of it were sent")
    assert "trail.csv.gz: bytes that are not gzip data follow the gzip data, from byte 87 on" in second
    assert second.endswith("7 records of it were sent")

    others = {
        name: str(FIELD / "gz" / f"{name}.csv.gz") for name in ("crcbad", "garbage", "truncated", "zeros")
    }
    receipts = {name: box.run_here("producer", "enqueue", path, "--json") for name, path in others.items()}
    assert {
        name: (each.code, each.json["files"][0]["status"], each.json["records"])
        for name, each in receipts.items()
    } == {
        "crcbad": (1, "sent in part", 5),
        "garbage": (1, "sent in part", 5),
        "truncated": (1, "sent in part", 5),
        "zeros": (0, "sent", 5),
    }
    assert "what it gave before may be wrong too" in receipts["crcbad"].err

    box.ok("worker", "up", "--burst")
    keys = [f"g{n}" for n in range(7)]
    assert [key for (key,) in box.select("SELECT key FROM target ORDER BY key")] == keys
    stored = box.ok_here("store", "runs", "--detail", "--json").json["deliveries"]
    assert [each["status"] for each in stored].count("sent in part") == 5
    assert "5 records of it were sent" in box.ok_here("store", "runs", "--detail").out
    box.check()


def test_of_a_document_that_ends_being_one_every_whole_record_is_loaded(box: Sandbox) -> None:
    """Refuses an exit code of 0, and records before the fault that are not sent."""
    cases = [
        "truncated_array/cut-path.json",
        "records_path_drops_rest/garbage.json",
        "truncated_array/empty.json",
    ]
    files = [str(FIELD / case) for case in cases]
    done = box.run_here("producer", "enqueue", *files, "--records", "f", "--json")
    assert done.code == 1
    assert {name: (each["status"], each["records"]) for name, each in by_name(done).items()} == {
        "cut-path.json": ("sent in part", 2),
        "garbage.json": ("sent in part", 1),
        "empty.json": ("not sent", 0),
    }
    cut, garbage, empty = done.err.splitlines()
    assert "cut short: behind byte 127 of its text, on line 1, ',' or ']' should follow" in cut
    assert "no JSON document from byte 69 of its text on, line 1" in garbage
    assert "is empty, and no JSON document is" in empty
    box.ok("worker", "up", "--burst")
    assert [key for (key,) in box.select("SELECT key FROM target ORDER BY key")] == ["A", "B"]
    box.check()


def test_a_file_of_which_nothing_is_sent_ends_with_the_code_of_a_usage_error(box: Sandbox) -> None:
    box.file("page.json", "<!DOCTYPE html>\n<html></html>\n")
    done = box.run_here("producer", "enqueue", "page.json", "--json")
    assert (done.code, by_name(done)["page.json"]["status"]) == (2, "not sent")
    assert "this is an HTML or XML page" in done.err
    assert (box.count("deliveries"), box.queued()) == (0, 0)


def test_columns_that_are_lacking_are_warned_of_before_every_row_is_rejected(box: Sandbox) -> None:
    box.file("a.csv", "key,name,Value,ts\na,n,1,2025-01-15\n")
    done = box.ok_here("producer", "enqueue", "a.csv")
    assert done.err == (
        "warning: a.csv: the header has no column for value (the nearest: 'Value' for value), which the contract "
        "requires: every row will be rejected\n"
    )


def test_arguments_that_are_not_utf_8_are_names_or_errors(box: Sandbox) -> None:
    file, odd = box.file("a.ndjson", RECORDS), os.fsdecode(b"\xe9")
    for _ in range(2):
        assert box.enqueue(file, "--name", odd, "--json").json["records"] == 23
    assert box.select("SELECT content FROM deliveries WHERE kind = 'stream'") != []
    assert box.count("deliveries") == 1
    refused = box.run_here("producer", "enqueue", box.file("a.json", "{}"), "--records", odd)
    assert (refused.code, "--records is not UTF-8 text" in refused.err) == (2, True)
    for words in (
        ("store", "lineage", odd),
        ("store", "explain", odd),
        ("store", "letters", "list", "--source", odd),
        ("producer", "replay", "--reason", odd),
        ("producer", "replay", "--id", odd),
    ):
        done = box.run_here(*words)
        assert (done.code, done.out) == (2, "")
        assert done.err == (
            "error: the argument \\xe9 is not UTF-8 text: only a path and the name of a stream may be other bytes\n"
        )


def test_with_run_one_command_leads_from_the_file_to_the_table_and_leaves_no_worker(box: Sandbox) -> None:
    sent = box.ok("producer", "enqueue", SAMPLE, "--run", "--json").json
    again = box.ok("producer", "replay", "--reason", "invalid_value", "--set", "value=5", "--run")

    assert (sent["outcome"]["inserted"], sent["outcome"]["rejected"]) == (5, 2)
    assert "Traceback" not in again.err
    assert box.count("target") == 6
    assert box.workers() == 0
    assert box.workers("loader") == 0
    box.until(lambda: len(box.processes()) <= 1, "only the private Redis is left")
    box.check()


def test_with_run_more_than_the_queue_has_room_for_is_sent_while_it_is_worked(box: Sandbox) -> None:
    done = box.ok("producer", "enqueue", box.file("records.ndjson", RECORDS), *CUT, "--run")

    assert done.json["outcome"]["inserted"] == 23
    assert box.count("batches") == 23


def test_what_arrives_in_a_watched_folder_is_sent_once_and_a_signal_ends_it(box: Sandbox) -> None:
    """Refuses a watcher that a bad file ends, that tells of it again and again, or that forgets what it has sent."""
    folder = box.folder / "incoming"
    folder.mkdir()
    (folder / "bad.csv").write_text("<!doctype html>")
    options = ("--every", "0.02", "--settle", "0.02", "--json")

    watch = box.start("producer", "watch", str(folder), *options)
    box.until(lambda: "bad.csv" in watch.out, "the bad file is reported")
    (folder / "a.ndjson.part").write_text(RECORDS)
    (folder / "a.ndjson.part").rename(folder / "a.ndjson")
    box.until(lambda: "a.ndjson" in watch.out, "what arrived is sent")
    ended = watch.stop(signal.SIGTERM)
    assert ended.code == 0, ended.err
    found = [(Path(line["file"]).name, line["status"]) for line in map(json.loads, ended.out.splitlines())]
    assert found == [("bad.csv", "not sent"), ("a.ndjson", "sent")]
    assert ended.err.count("bad.csv") == 1

    box.ok("worker", "up", "--burst")
    assert box.count("target") == 23
    again = box.run_here("producer", "watch", str(folder), "--once", "--settle", "0")
    assert (again.code, again.out) == (1, "1 file with content that was sent before\n")
    box.check()

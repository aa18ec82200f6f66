"""`producer watch --once`: what is in the folder is sent once, by its content."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import orjson

from producer.arrivals.watching import Watch
from producer.cli import watching
from worker.queue.client import Broker

from ..plant import Plant, ndjson, row
from .conftest import Producer

ONCE = ("--once", "--settle", "0", "--json")


def lines(done: Any) -> dict[str, Any]:
    """Of each file, its line."""
    found = [orjson.loads(line) for line in done.stdout.splitlines()]
    assert len({each["file"] for each in found}) == len(found), "a file has two lines"
    return {Path(each["file"]).name: each for each in found}


def statuses(done: Any) -> dict[str, str]:
    return {name: each["status"] for name, each in lines(done).items()}


def test_what_is_there_is_sent_and_a_bad_file_and_what_is_no_data_do_not_stop_it(
    plant: Plant, producer: Producer, folder: Path
) -> None:
    (folder / "a.csv").write_bytes(b"<!doctype html>")
    (folder / "b.ndjson").write_bytes(ndjson(row("b"), row("c")))
    (folder / "README").write_text("hello")
    done = producer("watch", folder, *ONCE)
    assert done.exit_code == 1
    found = lines(done)
    assert statuses(done) == {"README": "no data file", "a.csv": "not sent", "b.ndjson": "sent"}
    assert "this is an HTML or XML page" in found["a.csv"]["error"]
    assert found["b.ndjson"]["records"] == 2
    assert done.stderr.count("this is an HTML") == 1


def test_started_again_it_knows_what_was_sent_by_its_content(
    plant: Plant, producer: Producer, folder: Path
) -> None:
    (folder / "a.ndjson").write_bytes(ndjson(row("a")))
    assert statuses(producer("watch", folder, *ONCE)) == {"a.ndjson": "sent"}
    again = producer("watch", folder, *ONCE)  # no worker has processed it: it is on the queue
    assert (lines(again)["a.ndjson"]["status"], lines(again)["a.ndjson"]["known_batches"]) == ("sent", 1)
    plant.work()
    (folder / "a.ndjson").rename(folder / "renamed.ndjson")
    (folder / "b.ndjson").write_bytes(ndjson(row("a"), row("b")))
    assert statuses(producer("watch", folder, *ONCE)) == {"renamed.ndjson": "known", "b.ndjson": "sent"}
    plant.work()
    assert statuses(producer("watch", folder, *ONCE)) == {"renamed.ndjson": "known", "b.ndjson": "known"}


def test_what_was_sent_but_is_lost_on_the_queue_is_sent_again(
    plant: Plant, producer: Producer, folder: Path
) -> None:
    (folder / "a.ndjson").write_bytes(ndjson(row("a")))
    producer("watch", folder, *ONCE)
    plant.redis.flushall()
    found = lines(producer("watch", folder, *ONCE))["a.ndjson"]
    assert (found["status"], found["sent_batches"]) == ("sent", 1)


def test_a_file_that_changes_while_it_settles_is_not_sent_and_is_a_fault(
    plant: Plant, producer: Producer, folder: Path, monkeypatch: Any
) -> None:
    file = folder / "a.ndjson"
    file.write_bytes(ndjson(row("a")))

    class Writes:
        """In place of the event of signals: while it is waited for, somebody writes."""

        def wait(self, _: float) -> bool:
            file.write_bytes(ndjson(row("a"), row("b")))
            return False

        def is_set(self) -> bool:
            return False

    class Writing:
        def __enter__(self) -> Writes:
            return Writes()

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(watching, "stopping", Writing)
    done = producer("watch", folder, "--once", "--settle", "600", "--json")
    assert done.exit_code == 1
    assert lines(done)["a.ndjson"]["error"] == "it is still being written"
    assert plant.broker.queue("records").job_ids == []


def test_a_signal_ends_it_after_the_batch_and_the_next_start_sends_the_rest(
    plant: Plant, producer: Producer, folder: Path, monkeypatch: Any
) -> None:
    (folder / "a.ndjson").write_bytes(ndjson(*(row(f"k{n}") for n in range(50))))
    (folder / "b.ndjson").write_bytes(ndjson(row("b")))
    monkeypatch.setenv("SLUICE_BATCH_RECORDS", "1")
    send, before = Broker.send, signal.getsignal(signal.SIGTERM)

    def send_and_signal(broker: Broker, messages: Any) -> None:
        send(broker, messages)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Broker, "send", send_and_signal)
    done = producer("watch", folder, "--settle", "0", "--json")
    assert done.exit_code == 0, done.output
    assert signal.getsignal(signal.SIGTERM) is before
    assert "sending stopped" in done.stderr
    assert len(plant.broker.queue("records").job_ids) in range(1, 50)

    monkeypatch.setattr(Broker, "send", send)
    rest = producer("watch", folder, *ONCE)
    assert rest.exit_code == 0
    assert statuses(rest) == {"a.ndjson": "sent", "b.ndjson": "sent"}
    plant.work()
    with plant.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT SUM(received) FROM batches").scalar() == 51


def test_once_that_a_signal_ends_fails_and_names_what_is_left(
    plant: Plant, producer: Producer, folder: Path, monkeypatch: Any
) -> None:
    for name in ("a", "b"):
        (folder / f"{name}.ndjson").write_bytes(ndjson(row(name)))
    send = Broker.send

    def send_and_signal(broker: Broker, messages: Any) -> None:
        send(broker, messages)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Broker, "send", send_and_signal)
    done = producer("watch", folder, *ONCE)
    assert done.exit_code == 1
    assert "b.ndjson: not sent: a signal asked for the end" in done.stderr
    assert statuses(done)["b.ndjson"] == "not sent"


def test_once_that_a_signal_ends_while_files_settle_fails(
    plant: Plant, producer: Producer, folder: Path, monkeypatch: Any
) -> None:
    (folder / "a.ndjson").write_bytes(ndjson(row("a")))
    look = Watch.look

    def look_and_signal(watch: Watch, now: float) -> Any:
        monkeypatch.setattr(Watch, "look", look)
        signal.raise_signal(signal.SIGTERM)
        return look(watch, now)

    monkeypatch.setattr(Watch, "look", look_and_signal)
    done = producer("watch", folder, "--once", "--settle", "600", "--json")
    assert (done.exit_code, statuses(done)) == (1, {"a.ndjson": "not sent"})


def test_a_library_that_is_missing_stops_its_files_alone(
    plant: Plant, producer: Producer, folder: Path, monkeypatch: Any
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (folder / "a.parquet").write_bytes(b"PAR1")
    (folder / "b.ndjson").write_bytes(ndjson(row("b")))
    done = producer("watch", folder, *ONCE)
    assert done.exit_code == 1
    assert statuses(done) == {"a.parquet": "not sent", "b.ndjson": "sent"}
    assert "pip install 'sluice[parquet]'" in lines(done)["a.parquet"]["error"]


def test_a_folder_that_is_not_there_is_an_error_at_the_start(producer: Producer, folder: Path) -> None:
    assert "cannot be read" in str(producer("watch", folder / "none", "--once").exception)

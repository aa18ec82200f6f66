"""`producer enqueue FOLDER`: every file of it is sent, or named."""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from ..plant import Plant, ndjson, row
from .conftest import Producer

HTML = b"<!doctype html><p>log in</p>"


def fill(folder: Path) -> None:
    (folder / "b.ndjson").write_bytes(ndjson(row("b")))
    (folder / "a.csv").write_bytes(b"key,name,value,ts\na,n,1,2025-01-15T08:00:00Z\n")
    (folder / "Z.ndjson").write_bytes(ndjson(row("z"), row("y")))
    (folder / "README.txt").write_text("hello")
    (folder / ".c.csv").write_text("key\n1\n")
    (folder / "d.csv.part").write_text("key\n1\n")
    (folder / "sub").mkdir()
    (folder / "gone.csv").symlink_to("nothing")
    os.mkfifo(folder / "pipe.csv")


def test_the_files_of_a_folder_are_sent_in_the_order_of_their_names_and_the_rest_is_named(
    plant: Plant, producer: Producer, folder: Path
) -> None:
    fill(folder)
    done = producer("enqueue", folder, "--json")
    found = orjson.loads(done.stdout)
    assert done.exit_code == 0, done.output
    assert [(Path(each["file"]).name, each["status"], each["records"]) for each in found["files"]] == [
        ("Z.ndjson", "sent", 2),
        ("a.csv", "sent", 1),
        ("b.ndjson", "sent", 1),
    ]
    assert {Path(each["file"]).name: each["why"] for each in found["others"]} == {
        ".c.csv": "its name is that of a hidden or an unfinished file",
        "README.txt": "its name shows no format that is read",
        "d.csv.part": "its name is that of a hidden or an unfinished file",
        "gone.csv": "a link to nothing",
        "pipe.csv": "no regular file",
        "sub": "a folder: give it by itself",
    }
    with plant.engine.connect() as connection:
        sent = connection.exec_driver_sql("SELECT file FROM deliveries ORDER BY seq").scalars()
        assert [Path(each).name for each in sent] == ["Z.ndjson", "a.csv", "b.ndjson"]


def test_a_bad_file_does_not_stop_the_others_and_stands_in_the_table(
    plant: Plant, producer: Producer, folder: Path
) -> None:
    fill(folder)
    (folder / "a.csv").write_bytes(HTML)
    done = producer("enqueue", folder)
    assert done.exit_code == 1
    table = done.stdout.partition("Files of")[2].partition("\nfile ")[2].splitlines()
    shown = {line.split()[0]: line for line in table if line.strip()}
    assert "not sent" in shown["a.csv"]
    assert "this is an HTML" in shown["a.csv"]
    assert "no data file" in shown["README.txt"]
    assert " sent " in shown["b.ndjson"]


def test_a_folder_sent_again_has_no_second_effect(plant: Plant, producer: Producer, folder: Path) -> None:
    fill(folder)
    producer("enqueue", folder)
    found = orjson.loads(producer("enqueue", folder, "--json").stdout)
    assert [each["known_batches"] for each in found["files"]] == [1, 1, 1]


def test_a_folder_without_data_is_an_error_and_so_is_one_name_for_several_files(
    plant: Plant, producer: Producer, folder: Path
) -> None:
    (folder / "README.txt").write_text("hello")
    done = producer("enqueue", folder)
    assert done.exit_code == 2
    assert "no data file is in this folder" in done.stderr
    assert "README.txt is none: its name shows no format" in done.stderr
    fill(folder)
    assert "names one delivery, and 3 files" in str(producer("enqueue", folder, "--name", "x").exception)

"""What a file is sent as: a delivery, and messages up to the last whole record."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from typer.testing import CliRunner

from producer.cli import enqueue
from producer.cli.app import app
from producer.feed import Feed, until_fault
from producer.settings import ProducerSettings
from store.csv_reader import Dialect
from store.errors import ConfigError, InputError
from store.tables.deliveries import Delivery
from worker.contract import load_contract
from worker.queue.message import Message
from worker.settings import SourceSettings, WorkerSettings

GZCUT = Path(__file__).parents[2] / "data" / "field" / "gzcut"
DELIVERY = Delivery("0" * 32, "file", "plant", "f", None, "0" * 16)


def feed(format: str | None = None, records: str | None = None) -> Feed:
    contract = load_contract(WorkerSettings())
    return Feed("plant", SourceSettings(), contract, ProducerSettings(batch_records=3), format, records)


def delivery_of(path: Path | str, **options: str) -> Delivery:
    with feed("ndjson").open(str(path)) as file:
        return feed("ndjson").delivery(file, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["cut", "trail"])
def test_the_batches_of_all_whole_records_come_before_the_fault(name: str) -> None:
    found: list[Message] = []
    faults: list[InputError] = []
    with feed().open(str(GZCUT / f"{name}.csv.gz")) as file:
        found += until_fault(feed().messages(file, DELIVERY), faults)
    with feed().open(str(GZCUT / "full.csv.gz")) as file:
        assert found == list(feed().messages(file, DELIVERY))
    assert [len(message.records) for message in found] == [3, 3, 1]
    assert len(faults) == 1


def test_whoever_does_not_ask_for_a_fault_gets_it_raised() -> None:
    with feed().open(str(GZCUT / "cut.csv.gz")) as file, pytest.raises(InputError, match="cut short"):
        list(feed().messages(file, DELIVERY))


def test_another_error_is_no_fault_of_a_file() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ConfigError("x")

    with pytest.raises(ConfigError):
        list(until_fault(failing(), []))


def test_a_regular_file_is_identified_by_its_content_and_a_pipe_is_new_each_time(tmp_path: Path) -> None:
    line = b'{"key": "a"}\n'
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(line)
    assert delivery_of(tmp_path / "a").id == delivery_of(tmp_path / "b").id

    def piped(**options: str) -> Delivery:
        reader, writer = os.pipe()
        os.write(writer, line)
        os.close(writer)
        try:
            return delivery_of(f"/dev/fd/{reader}", **options)
        finally:
            os.close(reader)

    one, other = piped(), piped()
    assert (one.kind, one.content) == ("stream", None)
    assert one.id != other.id
    assert piped(stream="x").id == piped(stream="x").id != piped(stream="y").id


def test_the_same_bytes_under_a_name_that_means_another_delimiter_are_another_delivery(
    tmp_path: Path,
) -> None:
    ids = set()
    for name in ("a.csv", "b.csv", "a.tsv"):
        (tmp_path / name).write_bytes(b"key\n")
        with feed().open(str(tmp_path / name)) as file:
            ids.add(feed().delivery(file).id)
    assert len(ids) == 2


def test_the_name_of_a_delivery_is_the_path_as_it_is_shown(tmp_path: Path) -> None:
    path = os.fsdecode(bytes(tmp_path) + b"/caf\xe9\n")
    Path(path).write_bytes(b'{"key": "a"}\n')
    assert delivery_of(path).file == f"{tmp_path}/caf\\xe9\\n"
    odd = os.fsdecode(b"\xe9")
    assert delivery_of(path, stream=odd).id != delivery_of(path, stream="\\xe9").id


def test_options_that_fit_no_file_are_found_without_opening_it() -> None:
    with pytest.raises(ConfigError, match="'xml'"):
        feed("xml").check_options("nowhere.csv")
    with pytest.raises(ConfigError, match="for JSON documents, not csv"):
        feed(records="a").check_options("nowhere.csv")
    with pytest.raises(ConfigError, match="not UTF-8"):
        feed(records=os.fsdecode(b"\xe9"))
    feed().check_options("nowhere.txt")  # a fault of that file, not of the options


def test_an_option_goes_before_the_setting_and_makes_another_delivery(tmp_path: Path) -> None:
    """Refuses a file that is known already, though an option reads it otherwise."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"key;name\n")
    ids = []
    options: list[dict[str, Any]] = [
        {}, {"delimiter": ";"}, {"encoding": "latin-1"}, {"encoding": "ISO-8859-1"}, {"skip_rows": 0}, {"decimal": ","},
        {"null_values": ["x"]}, {"comment": "#"},
    ]  # fmt: skip
    for each in options:
        one = replace(feed("csv"), options=each)
        with one.open(str(path)) as file:
            ids.append(one.delivery(file).id)
            assert file.header == ["key", "name"] if each.get("delimiter") else ["key;name"]
    assert ids[2] == ids[3]
    assert ids[0] == ids[4]
    assert len(set(ids)) == 6


def test_a_named_stream_is_another_delivery_under_other_options() -> None:
    def delivered(**options: Any) -> str:
        one = replace(feed("csv"), options=options)
        with (
            mock.patch.object(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"key\n"))),
            one.open("-") as file,
        ):
            return one.delivery(file, stream="x").id

    assert delivered() == delivered() != delivered(encoding="cp1252") != delivered(encoding="cp1250")


def test_options_of_tables_are_for_tables() -> None:
    one = replace(feed(), options={"skip_rows": 1, "encoding": "latin-1", "null_values": ["-"]})
    one.check_options("a.csv")
    with pytest.raises(ConfigError, match="--null-values, --skip-rows is for CSV files, not ndjson"):
        one.check_options("a.ndjson")
    replace(feed(), options={"encoding": "latin-1"}).check_options("a.json")


def test_a_function_and_an_option_for_numbers_exclude_each_other() -> None:
    one = replace(feed(), source=SourceSettings(adapter="a:b"), options={"decimal": ","})
    with pytest.raises(ConfigError, match="adapter is a function, which reads the numbers itself"):
        one.check_options("a.csv")


def test_the_options_of_the_command_are_those_of_a_dialect(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(enqueue, "enqueue_files", lambda *_, **options: given.update(options["dialect"]))
    arguments = (
        "a.csv --encoding cp1252 --delimiter ; --quotechar ' --escapechar \\ --no-trim --skip-rows 2 --comment # "
        "--decimal , --thousands . --null-values NA --null-values -"
    )
    assert CliRunner().invoke(app, ["enqueue", *arguments.split(" ")]).exit_code == 0
    assert given.keys() == Dialect().to_wire().keys()
    assert Dialect(**given) == Dialect(";", "'", "\\", False, "cp1252", 2, "#", ",", ".", ("NA", "-"))
    assert CliRunner().invoke(app, ["enqueue", "a.csv"]).exit_code == 0
    assert set(given.values()) == {None}

"""A CSV file without any column that its source needs is refused with one error that says what to change."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from producer.feed import Feed
from producer.settings import ProducerSettings
from store.errors import InputError
from worker.contract import load_contract
from worker.settings import SourceSettings, WorkerSettings

GOOD = "key,name,value,ts\na,x,1.5,2025-01-15T12:00:00Z\n"
ALIASED = """
from pydantic import Field
from worker.contract import Record
class Order(Record):
    amount: float = Field(alias="Betrag")
    note: str | None = None
"""


def checked(text: str, shares: dict[str, float] | None = None, **source: Any) -> list[str]:
    """The fields that no column gives. Raises InputError if none is given."""
    settings = WorkerSettings()
    feed = Feed(
        "plant",
        SourceSettings(**source),
        load_contract(settings),
        ProducerSettings(),
        "csv",
        shares=shares or {},
    )
    with (
        mock.patch.object(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode()))),
        feed.open("-") as file,
    ):
        return feed.check_header(file)


def refusal(text: str, **source: Any) -> str:
    with pytest.raises(InputError) as error:
        checked(text, **source)
    return str(error.value)


def test_the_columns_of_the_contract_are_enough_in_any_order_and_among_others() -> None:
    assert checked(GOOD) == []
    assert checked("other,ts,value,name,key\n") == []


def test_the_fields_that_no_column_gives_are_named() -> None:
    assert checked("key,Name,value\n") == ["ts", "name"]


def test_without_any_of_them_the_nearest_names_are_named_with_their_mapping() -> None:
    message = refusal("Key, NAME ,values,Event Ts\n")
    assert "no column for any field that the contract requires (key, ts, name, value)" in message
    assert "its columns are 'Key', 'NAME', 'values', 'Event Ts'" in message
    assert "'Key' for key, 'NAME' for name, 'values' for value" in message
    assert (
        'under [sources.plant]: fields.key = "Key"; fields.name = "NAME"; fields.value = "values"' in message
    )
    assert message.endswith("nothing of it was sent")


def test_a_name_that_no_expression_can_have_is_quoted_in_the_mapping() -> None:
    assert "fields.key = '\"k-e-y\"'" in refusal("k-e-y\n")


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ":"])
def test_the_delimiter_that_would_fit_is_named(delimiter: str) -> None:
    shown = delimiter.replace("\t", "\\t")
    message = refusal(GOOD.replace(",", delimiter))
    assert f'Line 1 has such columns: set delimiter = "{shown}" under [sources.plant]' in message


def test_the_comma_is_named_where_another_delimiter_is_set() -> None:
    assert 'set delimiter = "," under [sources.plant]' in refusal(GOOD, delimiter=";")


def test_a_line_of_a_spreadsheet_program_that_does_not_fit_is_to_be_skipped() -> None:
    message = refusal("sep=;\r\n" + GOOD)
    assert (
        "Line 2 has such columns: set skip_rows = 1, or remove the lines before it, and set delimiter"
        in message
    )


def test_lines_before_the_header_are_named() -> None:
    message = refusal("\nMonthly export, made 2025-01-16\n# units: degC\n\n" + GOOD)
    assert "Line 5 has such columns: set skip_rows = 4, or remove the lines before it" in message


def test_a_header_that_is_skipped_is_named() -> None:
    assert "Line 1 has such columns: set skip_rows = 0" in refusal(GOOD, skip_rows=1)


def test_a_file_without_a_header_needs_one() -> None:
    assert "The first row must name the columns" in refusal("a,x,1.5,2025-01-15T12:00:00Z\n")


def test_a_long_header_is_shown_in_part() -> None:
    message = refusal(",".join(f"column{n}" + "x" * 100 for n in range(50)) + "\n")
    assert "and 30 more" in message
    assert len(message) < 3000


MAPPED = {"fields": {"key": "uid", "value": "data.reading || \"Wert\"", "ts": "at"}}  # fmt: skip


def test_the_names_are_those_of_the_mapping() -> None:
    assert checked("uid,Wert,at,name\n", **MAPPED) == []
    assert checked("uid,data,at,name\n", **MAPPED) == []
    assert checked("uid,at\n", **MAPPED) == ["name", "value"]
    message = refusal("key,value,ts,Name\n", **MAPPED)
    assert "key from 'uid', ts from 'at', name, value from 'Wert' or 'data'" in message


@pytest.mark.parametrize("shares", [{"adapt": 0.0}, {"adapt": 0.5}])
def test_where_the_mapping_is_off_the_contracts_own_names_count(shares: dict[str, float]) -> None:
    assert checked("key,value,ts,name\n", shares, **MAPPED) == []


def test_where_validation_is_off_only_the_key_and_the_time_are_needed() -> None:
    assert checked("key,ts\n", {"validate": 0.0}) == []


def test_constants_and_defaults_need_no_column() -> None:
    assert checked("key,ts\n", constants={"name": "x"}, defaults={"value": 1}) == []
    everything = {"key": "k", "name": "x", "value": 1, "ts": "2025-01-15"}
    assert checked("other\n", constants=everything) == []


def test_what_a_function_reads_is_not_known() -> None:
    assert checked("other\n", adapter="builtins:dict") == []


def test_a_field_is_read_by_its_alias_and_an_optional_one_is_not_needed(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aliased_contract.py").write_text(ALIASED)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SLUICE_CONTRACT", "aliased_contract:Order")
    settings = WorkerSettings.load()
    feed = Feed("plant", SourceSettings(), load_contract(settings), ProducerSettings(), "csv")
    assert feed.needed.lacking(["key", "ts", "Betrag"]) == []
    assert feed.needed.lacking(["key", "ts", "amount"]) == ["amount"]


def test_an_empty_file_and_other_formats_have_no_header_to_check() -> None:
    feed = Feed("plant", SourceSettings(), load_contract(WorkerSettings()), ProducerSettings(), "ndjson")
    with (
        mock.patch.object(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b'{"a": 1}\n'))),
        feed.open("-") as file,
    ):
        assert feed.check_header(file) == []

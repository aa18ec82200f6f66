"""What the names of an edit stand for: raw fields, those within objects too, and which names are refused."""

from __future__ import annotations

import pytest

from store.errors import UsageError
from worker.contract import load_contract
from worker.dead_letters.names import Names, names_in
from worker.settings import SourceSettings, WorkerSettings

BODY = {"id": "a", "p": {"mag": "4,5", "time": 1, "deep": {"x": 1}}, "a.b": 1, "free": {"y": 1}}
FIELDS = {"value": "p.mag", "ts": "p.time", "key": "id"}


def names(source: dict[str, object] | None = None) -> Names:
    settings = SourceSettings.model_validate({"fields": FIELDS} if source is None else source)
    return Names(load_contract(WorkerSettings()), settings, names_in(BODY))


@pytest.mark.parametrize(
    ("typed", "raw"),
    [
        ("value", "p.mag"),  # the contract's, by the mapping
        ("raw.p.mag", "p.mag"),
        ("raw.p", "p"),
        ("raw.id", "id"),
        ("raw.a.b", r"a\.b"),  # one name with a dot
        (r"raw.a\.b", r"a\.b"),
        ("raw.free.y", "free.y"),  # beyond the mapping: it passes as it is
        ("raw.new", "new"),
        (r"raw.new\.one", r"new\.one"),
    ],
)
def test_a_name_stands_for_one_raw_field(typed: str, raw: str) -> None:
    assert names().raw(typed) == raw


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("raw.p.magg", "no such field; did you mean p.mag?"),
        ("raw.q.z", r"a new field is named raw.q\.z"),
        ("raw.p.deep.x", "of p the mapping reads p.mag, p.time alone"),
        ("raw.value", "the mapping sets value by 'p.mag'"),
        ("valeu", "did you mean value?"),
    ],
)
def test_a_name_that_is_none_or_would_do_nothing_is_refused(typed: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        names().raw(typed)
    assert says in str(refused.value)


def test_a_field_that_the_mapping_reads_may_be_given_where_no_letter_has_it() -> None:
    assert names({"fields": {"value": "p.size"}}).raw("raw.p.size") == "p.size"
    assert names({"fields": {"value": "p.size"}}).raw("value") == "p.size"


@pytest.mark.parametrize(
    "source", [{"fields": {"value": "p.mag || p.size"}}, {"adapter": "tests.examples:examples"}]
)
def test_behind_an_expression_or_an_adapter_only_the_raw_name_is_taken(source: dict[str, object]) -> None:
    assert names(source).raw("raw.p.deep.x") == "p.deep.x"
    with pytest.raises(UsageError):
        names(source).raw("value")


def test_a_raw_field_that_another_field_is_read_from_is_used() -> None:
    assert names({"fields": {"name": "id", "value": "name"}}).raw("raw.name") == "name"

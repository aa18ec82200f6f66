from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contract import load_contract
from worker.judge.columns import canonical
from worker.judge.faults import Rejection
from worker.judge.parse import Unusable
from worker.judge.records import Accepted
from worker.judge.stages import judge_for
from worker.settings import SourceSettings, WorkerSettings

GOOD = {"key": "a", "name": "n", "value": 1, "ts": "2025-01-15T12:00:00Z"}


def validate(raw: dict[str, Any], **source: Any) -> Accepted:
    settings = WorkerSettings()
    judge = judge_for(load_contract(settings), SourceSettings(**source), settings.max_future_skew)
    return judge.validator.validate(raw)


def reasons(raw: dict[str, Any], **source: Any) -> list[str]:
    with pytest.raises(Rejection) as rejected:
        validate(raw, **source)
    return [fault.reason for fault in rejected.value.faults]


def without(name: str) -> dict[str, Any]:
    return {field: value for field, value in GOOD.items() if field != name}


def test_an_accepted_record_is_in_the_form_it_is_stored() -> None:
    found = validate(GOOD | {"z": 1, "b": [True]})
    assert (found.key, found.ts, found.values) == ("a", "2025-01-15T12:00:00.000000Z", ("n", 1.0))
    assert found.extra == '{"b":[true],"z":1}'
    assert len(found.content_hash) == 16


@pytest.mark.parametrize("blank", [None, "", " ", "\t\n", "\u3000"])
@pytest.mark.parametrize("name", GOOD)
def test_absent_null_and_blank_are_missing(name: str, blank: str | None) -> None:
    reason = f"missing_{'timestamp' if name == 'ts' else name}"
    assert reasons(without(name)) == [reason]
    assert reasons(GOOD | {name: blank}) == [reason]


@pytest.mark.parametrize("wrong", [True, False, [], {}, "x", float("nan"), float("inf"), Unusable("why")])
def test_what_is_no_number_is_an_invalid_one(wrong: Any) -> None:
    assert reasons(GOOD | {"value": wrong}) == ["invalid_value"]


@pytest.mark.parametrize("number", [0, -1, 2.5, "2.5", "-1e3", 1e308, 2**53])
def test_a_number_may_be_text(number: Any) -> None:
    assert validate(GOOD | {"value": number}).values == ("n", float(number))


@pytest.mark.parametrize("name", ["key", "name"])
@pytest.mark.parametrize("wrong", ["a\0", "\ud800", 5, True, [], Unusable("why")])
def test_what_is_no_text_is_an_invalid_one(name: str, wrong: Any) -> None:
    assert reasons(GOOD | {name: wrong}) == [f"invalid_{name}"]


def test_all_that_is_wrong_is_reported_in_the_order_of_the_contract_others_last() -> None:
    raw = {"zz": "\0", "value": True, "ts": "never", "key": None}
    assert reasons(raw) == ["missing_key", "invalid_timestamp", "missing_name", "invalid_value", "invalid_zz"]


@given(
    st.dictionaries(
        st.text(max_size=4), st.none() | st.text(max_size=4) | st.integers() | st.booleans(), max_size=4
    )
)
def test_fields_of_any_name_and_value_are_stored_or_rejected_by_a_reason_that_can_be_stored(
    fields: dict[str, Any],
) -> None:
    try:
        validate(fields | GOOD)
    except Rejection as rejection:
        for fault in rejection.faults:
            fault.reason.encode()
            assert "\0" not in fault.reason


def test_forbidden_fields_are_named() -> None:
    assert reasons(GOOD | {"b": 1, "a": 1}, extra="forbid") == ["unexpected_field", "unexpected_field"]


def test_ignored_fields_change_nothing_and_are_not_looked_at() -> None:
    assert validate(GOOD | {"b": Unusable("why")}, extra="ignore") == validate(GOOD)


@pytest.mark.parametrize(
    "changed",
    [{"key": "b"}, {"name": "m"}, {"value": 2}, {"ts": "2025-01-15T12:00:00.000001Z"}, {"extra field": 1}],
)
def test_content_hash_tells_any_field_apart(changed: dict[str, Any]) -> None:
    assert validate(GOOD | changed).content_hash != validate(GOOD).content_hash


@pytest.mark.parametrize(
    "same",
    [{"value": 1.0}, {"value": "1"}, {"ts": "2025-01-15T13:00:00+01:00"}, {"ts": "2025-01-15 12:00"}],
)
def test_content_hash_is_of_the_validated_record(same: dict[str, Any]) -> None:
    assert validate(GOOD | same).content_hash == validate(GOOD).content_hash
    assert validate(dict(reversed((GOOD | same).items()))).content_hash == validate(GOOD).content_hash


def test_canonical_json_of_a_set_is_the_same_in_every_process() -> None:
    words = {f"word-{n}" for n in range(50)}
    program = """if True:
        from worker.judge.columns import canonical
        print(canonical({'a': {f'word-{n}' for n in range(50)}}).decode())
    """
    for seed in ("1", "2"):
        printed = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        assert printed.strip() == canonical({"a": words})

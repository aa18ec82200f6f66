"""The short form of `make fuzz`, and every input that was ever worth keeping."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .fuzzing import CASES, EXAMPLES, check, load

EXAMPLES_EACH = 80
STORED = sorted(CASES.glob("*.json"))


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_case_holds(path: Path) -> None:
    target, example = load(path)
    check(target, example)


@pytest.mark.parametrize("target", EXAMPLES)
def test_random_input_becomes_records_and_dead_letters_and_nothing_else(target: str) -> None:
    # Alike in every run: what is new is found by `make fuzz`, and a gate must not fail by chance.
    @settings(
        max_examples=EXAMPLES_EACH if target != "memory" else 5,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(st.data())
    def attempt(data: st.DataObject) -> None:
        check(target, data.draw(EXAMPLES[target]))

    attempt()


def test_there_are_stored_cases_of_every_target() -> None:
    assert {path.stem.rpartition("-")[0] for path in STORED} == set(EXAMPLES)

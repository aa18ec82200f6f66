"""The orders in `data` are those that its script makes: the same ones, with eight kinds of faults and without."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_orders", DATA / "make_orders.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_the_script_writes(script: ModuleType) -> None:
    for name, records in zip(("orders", "orders-faulty"), script.both(), strict=True):
        text = gzip.decompress((DATA / f"{name}.ndjson.gz").read_bytes()).decode()
        assert [json.loads(line) for line in text.splitlines()] == records


def test_every_kind_of_fault_is_there_as_often_as_the_script_says(script: ModuleType) -> None:
    meant, came = script.both()
    faulty = [one for one, other in zip(came, meant, strict=True) if one != other]
    assert len(script.FAULTS) == 8
    assert len(faulty) == sum(number for _, number, _, _ in script.FAULTS) == 1384

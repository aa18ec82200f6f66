"""A contract of one's own as a fixture."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ..plant import Plant

HEAD = """
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, Optional
from uuid import UUID
from pydantic import BaseModel, Field, create_model, field_validator
from worker.contract import Record
"""


@pytest.fixture
def contract(plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a module with these fields in place and makes its `Model` the contract."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def use(fields: str, before: str = "", settings: str = "") -> None:
        name = f"contract_{tmp_path.name.encode().hex()[-12:]}_{len(made)}"
        made.append(name)
        body = f"class Model(Record):\n    {fields}\n" if fields else ""
        (tmp_path / f"{name}.py").write_text(f"{HEAD}\n{before}\n{body}")
        plant.configure(f'[worker]\ncontract = "{name}:Model"\n{settings}')

    yield use
    for name in made:
        sys.modules.pop(name, None)

"""`worker contract test`: what newly passes and what newly fails, and that nothing passes that was not judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from store import database
from store.dead_letters import actions
from store.dead_letters.actions import Order
from store.tables import dead_letters
from worker import contract
from worker.cli.app import app

from ..plant import Plant, ndjson, row
from .conftest import Command

HEAD = """
from decimal import Decimal
from typing import Any
from pydantic import BaseModel, Field, field_validator
from worker.contract import Record
"""
ORDER = HEAD + "class Order(Record):\n    name: str\n    value: float\n"

Write = Callable[[str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Plant) -> Iterator[Write]:
    """Writes the module `orders`, whose `Order` is the contract."""
    monkeypatch.syspath_prepend(str(tmp_path))
    plant.configure('[worker]\ncontract = "orders:Order"\n')

    def module(text: str) -> None:
        (tmp_path / "orders.py").write_text(HEAD + text if not text.startswith(HEAD) else text)
        contract.forget()

    yield module
    contract.forget()


def test_nothing_newly_fails_under_the_contract_in_force(
    plant: Plant, answer: Command, shown: Command
) -> None:
    plant.run(ndjson(row("a"), row("b", value="x"), row("c", extra={"n": 1})))
    found = answer("worker", "contract", "test")
    letters, rows = found["letters"], found["target"]
    assert (letters["letters"], letters["newly_pass"], letters["still_fail"]) == (1, 0, 1)
    assert (rows["rows"], rows["sampled"], rows["pass"], rows["newly_fail"], rows["not_judged"]) == (
        2,
        2,
        2,
        0,
        0,
    )
    assert "2 of 2 rows, 2 pass, 0 newly fail" in shown("worker", "contract", "test")


def test_a_mapping_as_it_would_be_lets_letters_pass(plant: Plant, answer: Command, tmp_path: Path) -> None:
    plant.configure('[sources.s]\nfields.name = "title"\n')
    plant.run(ndjson({"key": "k", "ts": "2025-01-15", "title": "n", "temp": 4}, {"key": "l"}), source="s")
    mended = tmp_path / "mended.toml"
    mended.write_text('[sources.s]\nfields.value = "temp"\n')
    letters = answer("worker", "contract", "test", "--mapping", str(mended))["letters"]
    assert (letters["newly_pass"], letters["still_fail"]) == (1, 1)
    [passing] = letters["passing"]
    assert (passing["status"], passing["reason"], passing["letters"]) == ("open", "missing_value", 1)
    assert answer("worker", "contract", "test")["letters"]["newly_pass"] == 0
    assert (
        answer("worker", "contract", "test", "--mapping", str(mended), "--source", "t")["letters"]["letters"]
        == 0
    )


def test_discarded_letters_are_judged_too(plant: Plant, answer: Command, write: Write) -> None:
    write(ORDER)
    plant.run(ndjson(row("a", value="x"), row("b", value="x")))
    with database.transaction(plant.engine) as connection:
        chosen = dead_letters.conditions(connection, ids=[plant.letters()[0].id])
        actions.begin(connection, Order("discard", {}, "why", "ann"), chosen)
    write("class Order(Record):\n    name: str\n    value: Any\n")
    letters = answer("worker", "contract", "test")["letters"]
    assert sorted((each["status"], each["letters"]) for each in letters["passing"]) == [
        ("discarded", 1),
        ("open", 1),
    ]


def test_rows_that_newly_fail_are_grouped_with_why_and_end_with_1(
    plant: Plant, answer: Command, shown: Command, write: Write
) -> None:
    write(ORDER)
    plant.run(ndjson(*(row(f"k{number}", value=number) for number in range(5)), row("x", value="bad")))
    write("class Order(Record):\n    name: str\n    value: float = Field(ge=3)\n    unit: str\n")
    rows = answer("worker", "contract", "test", code=1)["target"]
    assert (rows["pass"], rows["newly_fail"]) == (0, 5)
    found = {tuple(fault["rule"] for fault in each["faults"]): each["records"] for each in rows["failing"]}
    assert found == {("greater_than_equal", "missing"): 3, ("missing",): 2}
    text = shown("worker", "contract", "test", code=1)
    assert "unit missing absent" in text
    assert "5 newly fail" in text


def test_another_contract_is_tried_and_nothing_is_changed(
    plant: Plant, answer: Command, write: Write
) -> None:
    write(
        ORDER + "class Strict(Record):\n    name: str\n    value: float = Field(ge=3)\n    unit: str = 'mm'\n"
    )
    plant.run(ndjson(row("a", value=1), row("b", value=4)))
    before = plant.column_types("target")
    rows = answer("worker", "contract", "test", "--contract", "orders:Strict", code=1)["target"]
    assert (rows["pass"], rows["newly_fail"], rows["failing"][0]["samples"]) == (1, 1, ["a"])
    assert plant.column_types("target") == before
    assert plant.violations() == []


def test_a_null_that_may_have_been_an_absent_field_is_not_judged(
    plant: Plant, answer: Command, write: Write
) -> None:
    write("class Order(Record):\n    name: str | None = None\n    value: float\n")
    plant.run(ndjson(row("a", name=None), row("b"), {"key": "c", "ts": "2025-01-15", "value": 1}))
    write("class Order(Record):\n    name: str = 'pump'\n    value: float\n")  # takes none, and no null
    rows = answer("worker", "contract", "test")["target"]
    assert (rows["pass"], rows["not_judged"]) == (1, 2)
    assert "absent" in next(iter(rows["why_not_judged"]))


def test_a_null_of_a_field_that_was_not_there_yet_was_absent(
    plant: Plant, answer: Command, write: Write
) -> None:
    write(ORDER)
    plant.run(ndjson(row("a")))
    write(ORDER + "    unit: str = 'mm'\n")
    plant.run(ndjson(row("b", unit="cm")), name="later.ndjson")
    rows = answer("worker", "contract", "test")["target"]
    assert (rows["pass"], rows["not_judged"]) == (2, 0)


def test_a_validator_that_does_not_take_what_it_made_makes_no_row_fail(
    plant: Plant, answer: Command, write: Write
) -> None:
    body = (
        "    name: str\n    value: str\n    @field_validator('value', mode='before')\n    @classmethod\n"
        "    def with_unit(cls, value):\n        assert value.endswith(' kg')\n        return value[:-3]\n"
    )
    write(f"class Order(Record):\n{body}")
    plant.run(ndjson(row("a", value="4 kg")))
    rows = answer("worker", "contract", "test")["target"]
    assert (rows["pass"], rows["newly_fail"], rows["not_judged"]) == (0, 0, 1)
    write(f"class Order(Record):\n{body}\nclass Other(Order):\n    pass\n")
    rows = answer("worker", "contract", "test", "--contract", "orders:Other")["target"]
    assert (rows["pass"], rows["newly_fail"], rows["not_judged"]) == (0, 0, 1)


def test_stored_values_are_judged_as_their_fields_are(plant: Plant, answer: Command, write: Write) -> None:
    fields = "    tags: list[str]\n    price: Decimal\n    ok: bool\n    n: int | None = None\n"
    write(f"class Order(Record):\n    key: int\n{fields}")
    long = "0.12345678901234567890123"
    record = {"key": 7, "ts": "2025-01-15", "tags": ["a"], "price": long, "ok": True, "colour": "red"}
    plant.run(ndjson(record))
    write(
        f"class Order(Record):\n    key: int\n    ok: bool = Field(strict=True)\n{fields}".replace(
            "    ok: bool\n", "", 1
        )
    )
    rows = answer("worker", "contract", "test")["target"]
    assert (rows["pass"], rows["not_judged"]) == (1, 0)
    write(f"class Order(Record):\n    key: int\n{fields}    price: Decimal = Field(max_digits=20)\n")
    [failing] = answer("worker", "contract", "test", code=1)["target"]["failing"]
    assert failing["faults"][0]["rule"] == "decimal_max_digits"


def test_a_deleted_row_is_not_judged(plant: Plant, answer: Command) -> None:
    plant.configure('[sources.s]\ndeleted = "gone"\n')
    plant.run(ndjson(row("a"), row("b", gone=True)), source="s")
    rows = answer("worker", "contract", "test")["target"]
    assert (rows["rows"], rows["pass"], rows["not_judged"]) == (2, 1, 1)


def test_a_sample_is_about_as_large_as_asked_and_always_the_same(plant: Plant, answer: Command) -> None:
    plant.run(ndjson(*(row(f"k{number}", value=number) for number in range(400))))
    sampled = [answer("worker", "contract", "test", "--sample", "100")["target"]["sampled"] for _ in range(2)]
    assert sampled[0] == sampled[1]
    assert 50 < sampled[0] < 150
    assert answer("worker", "contract", "test", "--all")["target"]["sampled"] == 400


@pytest.mark.parametrize(
    ("text", "arguments", "says"),
    [
        ("", ["--all", "--sample", "5"], "leave --sample out"),
        ("", ["--contract", "nowhere:Order"], "cannot be imported"),
        ("[shop]\nx = 1\n", ["--mapping", "m.toml"], "is no section"),
        ("[sources.s]\nfield = 1\n", ["--mapping", "m.toml"], "field is not a key of this section"),
        ("[[", ["--mapping", "m.toml"], "cannot be read"),
    ],
)
def test_what_cannot_be_tried_is_refused(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.toml").write_text(text)
    done: Any = CliRunner().invoke(app, ["contract", "test", *arguments])
    assert done.exit_code != 0
    assert says in str(done.exception)

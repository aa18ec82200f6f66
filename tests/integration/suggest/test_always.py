"""`producer suggest --always`: the lines make of a file what the edit makes of its letters, or there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ..plant import Plant, ndjson, row
from .conftest import Command

Make = Callable[[], Plant]

CONTENT = ("key", "ts", "name", "value", "extra")
EPOCHS = [row(f"k{number}", ts=1736942400000 + number * 1000) for number in range(3)]
NULLABLE = """
from worker.contract import Record
class Order(Record):
    name: str = "pump"
    value: float | None = None
"""


def csv(*lines: str) -> bytes:
    return "\n".join(("key,name,value,ts", *lines, "")).encode()


def contents(plant: Plant) -> list[tuple[Any, ...]]:
    return [tuple(each[name] for name in CONTENT) for each in plant.rows()]


def group_of(plant: Plant) -> str:
    [largest, *_] = [each for each in plant.rows("letter_groups", "open DESC, id") if each["open"]]
    return str(largest["id"])


def best_of(plant: Plant, answer: Command) -> dict[str, Any]:
    found: dict[str, Any] = answer("producer", "suggest", group_of(plant), "--always")["suggestions"][0]
    return found


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        (
            "a.csv",
            csv('a,n,"1.234,5",2025-01-15', 'b,n,"1.204,25",2025-01-15'),
            ['decimal = ","', 'thousands = "."'],
        ),
        ("a.csv", csv('a,n,"12,5",2025-01-15'), ['decimal = ","']),
        ("a.csv", csv('a,n,"1,234.5",2025-01-15'), ['thousands = ","']),
        ("a.csv", csv("a,n,4,15.01.2025", "b,n,5,16.01.2025"), ['ts_format = "%d.%m.%Y"']),
        ("a.ndjson", ndjson(*EPOCHS), ['ts_unit = "ms"']),
        (
            "a.ndjson",
            ndjson(row(7), row(8)),
            ['''fields.key = "(type(key) == 'number' && to_string(key)) || key"'''],
        ),
        (
            "a.ndjson",
            ndjson({"key": "k", "ts": "2025-01-15", "name": "n", "Val": 4}),
            ['fields.value = "Val"'],
        ),
        (
            "a.ndjson",
            ndjson({"key": "k", "ts": 1736942400, "name": "n", "the value": 4}),
            ['fields.value = "\\"the value\\""', 'ts_unit = "s"'],
        ),
        ("a.csv", csv("a,n,4,15.01.2025", "b,n,5,2025-01-15"), ['casts.ts = "time:%d.%m.%Y"']),
        (
            "a.ndjson",
            ndjson(row("a", value="1.234,5"), row("b", value=2.5)),
            ['casts.value = "decimal-comma"'],
        ),
        ("a.csv", csv("a,n,EUR 1.5,2025-01-15"), ['casts.value = "currency"']),
    ],
)
def test_the_lines_read_a_file_as_the_edit_reads_its_letters(
    make_plant: Make, answer: Command, type_command: Command, name: str, content: bytes, lines: list[str]
) -> None:
    plant = make_plant()
    plant.run(content, name=name, source="s")
    best = best_of(plant, answer)
    assert best["always"]["lines"] == ["[sources.s]", *lines]
    type_command(plant, best["command"])
    plant.work()
    plant.load()
    other = make_plant()
    other.configure("\n".join(best["always"]["lines"]))
    other.run(content, name=name, source="s")
    assert (other.letters(), contents(other)) == ([], contents(plant))


def test_a_field_that_had_another_name_before_is_read_by_both(plant: Plant, answer: Command) -> None:
    plant.run(ndjson(row("a"), {"key": "k", "ts": "2025-01-15", "name": "n", "Value": 4}), source="s")
    assert best_of(plant, answer)["always"]["lines"] == ["[sources.s]", 'fields.value = "value || Value"']


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("a.ndjson", ndjson(row("a", value="")), ['''fields.value = "[value][?@ != ''] | [0]"''']),
        ("a.csv", csv("a,n, ,2025-01-15"), ["trim = true"]),
        ("a.csv", csv("a,n,n/a,2025-01-15"), ['null_values = ["n/a"]']),
        ("a.ndjson", ndjson(row("a", value="n/a")), ['''fields.value = "[value][?@ != 'n/a'] | [0]"''']),
        ("a.ndjson", ndjson(row("a", name=None)), ['defaults.name = "pump"']),
    ],
)
def test_a_word_or_a_blank_that_stands_for_no_value_has_a_key(
    plant: Plant, answer: Command, tmp_path: Any, monkeypatch: pytest.MonkeyPatch,
    name: str, content: bytes, lines: list[str],
) -> None:  # fmt: skip
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "nullable_orders.py").write_text(NULLABLE)
    plant.configure('[worker]\ncontract = "nullable_orders:Order"\n')
    plant.run(content, name=name, source="s")
    assert best_of(plant, answer)["always"]["lines"] == ["[sources.s]", *lines]


@pytest.mark.parametrize(
    ("config", "name", "content", "why"),
    [
        ("", "a.csv", csv('a,n,"1,5",2025-01-15', "b,n,2.5,2025-01-15"), "came with a decimal point"),
        ("", "a.csv", csv("a,n,4,05.05.2025"), "do not show how later ones are to be read"),
        ('[sources.s]\nextra = "forbid"\n', "a.ndjson", ndjson(row("a", junk=1)), "no key removes a field"),
    ],
)
def test_where_no_line_does_the_same_it_says_why_and_what_can(
    plant: Plant, answer: Command, shown: Command, config: str, name: str, content: bytes, why: str
) -> None:
    plant.configure(config)
    plant.run(content, name=name, source="s")
    always = best_of(plant, answer)["always"]
    assert always["lines"] is None
    assert why in always["why_not"]
    assert "Not for sluice.toml" in shown("producer", "suggest", group_of(plant), "--always")


def test_lines_that_replace_others_name_them(plant: Plant, shown: Command) -> None:
    plant.configure('[sources.s]\nfields.key = "id"\n')
    plant.run(ndjson({"id": 7, "ts": "2025-01-15", "name": "n", "value": 1}), source="s")
    text = shown("producer", "suggest", group_of(plant), "--always")
    assert "(type(id) == 'number' && to_string(id)) || id" in text
    assert 'in place of fields.key = "id"' in text
    assert "letters need no edit" in text


def test_letters_of_csv_files_are_to_be_replayed_before_the_lines_are_in_force(
    plant: Plant, answer: Command
) -> None:
    plant.run(csv('a,n,"1,5",15.01.2025'), name="a.csv", source="s")
    always = best_of(plant, answer)["always"]
    assert set(always["lines"]) == {"[sources.s]", 'decimal = ","', 'ts_format = "%d.%m.%Y"'}
    assert "with the command above first" in always["notes"][-1]

"""`producer suggest`: what is shown was tried on the letters, and a replay with its edit does what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from producer.cli.app import app
from tests.examples import examples
from worker.dead_letters.suggest import trial

from ..plant import Plant, ndjson, row
from .conftest import Command

MAPPED = '[sources.s]\nfields.value = "temp"\n'


def groups(plant: Plant) -> list[dict[str, Any]]:
    """The largest first."""
    return [each for each in plant.rows("letter_groups", "open DESC, reason, id") if each["open"]]


def only_group(plant: Plant) -> str:
    [group] = groups(plant)
    return str(group["id"])


def test_the_best_edit_is_shown_with_its_count_a_sample_and_its_command(
    plant: Plant, answer: Command, shown: Command, type_command: Command
) -> None:
    plant.run(
        ndjson(
            row("a", value="12,50"),
            row("b", value="1.234,50"),
            row("c", value="7,25"),
            row("d", value="1,5,5"),
        )
    )
    [first] = [each["id"] for each in groups(plant) if each["open"] == 2]
    found = answer("producer", "suggest", first[:8])
    [best] = found["suggestions"]
    assert (best["name"], best["letters"], best["would_load"]) == ("decimal comma", 2, 2)
    assert list(best["sample"]["before"]) == ["value"]
    assert best["command"] == f"producer replay --group {first[:8]} --cast value=decimal-comma"
    text = shown("producer", "suggest", first)
    assert "decimal comma: 2 of 2 would load" in text
    assert best["command"] in text
    type_command(plant, best["command"])
    plant.work()
    plant.load()
    assert {each["value"] for each in plant.rows()} == {12.5, 7.25}


def test_the_largest_groups_are_shown_at_a_glance(plant: Plant, answer: Command, shown: Command) -> None:
    plant.run(
        ndjson(
            row("a", value="1,5"), row("b", value="2,5"), row("c", ts="15.01.2025"), row("d", value="1,234")
        )
    )
    text = shown("producer", "suggest")
    assert "decimal comma: 3 of 3" in text
    assert "time %d.%m.%Y: 1 of 1" in text
    assert [each["letters"] for each in answer("producer", "suggest", "--limit", "1")] == [3]
    assert answer("producer", "suggest", "--source", "other") == []


@pytest.mark.parametrize(
    ("field", "values", "says"),
    [
        ("ts", ["04/05/2025", "04/05/2025"], "2025-04-05T00:00:00 or 2025-05-04T00:00:00"),
        ("ts", ["04/05/2025", "15/01/2025", "01/15/2025"], "alone"),
        ("value", ["1,234", "5,678"], "or"),
    ],
)
def test_where_two_readings_are_possible_nothing_is_chosen(
    plant: Plant, answer: Command, shown: Command, field: str, values: list[str], says: str
) -> None:
    plant.run(ndjson(*(row(f"k{number}", **{field: value}) for number, value in enumerate(values))))
    group = only_group(plant)
    found = answer("producer", "suggest", group)
    assert found["suggestions"] == []
    assert says in found["ambiguous"][0]["why"]
    text = shown("producer", "suggest", group)
    assert "ambiguous" in text
    assert "producer replay" not in text


def test_a_value_far_behind_the_sample_decides_or_contradicts(
    plant: Plant, answer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "LOOKED_AT", 2)
    plant.run(
        ndjson(
            *(row(f"k{number}", ts="04/05/2025", n=number) for number in range(20)), row("x", ts="15/01/2025")
        )
    )
    group = only_group(plant)
    [best] = answer("producer", "suggest", group)["suggestions"]
    assert (best["name"], best["would_load"]) == ("time %d/%m/%Y", 21)
    assert "1 value, such as '15/01/2025'" in best["evidence"]
    plant.run(ndjson(row("y", ts="01/15/2025")), name="more.ndjson")
    found = answer("producer", "suggest", group)
    assert (found["suggestions"], len(found["ambiguous"])) == ([], 1)


def test_faults_at_two_fields_are_fixed_together(
    plant: Plant, answer: Command, type_command: Command
) -> None:
    plant.run(
        ndjson(
            *(
                row(f"k{number}", value=f"{number},5", ts=f"{number}.02.2025 08:00")
                for number in range(13, 20)
            )
        )
    )
    [best] = answer("producer", "suggest", only_group(plant))["suggestions"]
    assert best["name"] == "time %d.%m.%Y %H:%M (ts) and decimal comma (value)"
    assert set(best["sample"]["after"]) == {"ts", "value"}
    type_command(plant, best["command"])
    plant.work()
    assert plant.letters() == []


def test_a_missing_field_is_found_under_another_name_and_in_raw_names(
    plant: Plant, answer: Command, type_command: Command
) -> None:
    plant.configure(MAPPED)
    bad = {"key": "k", "ts": "2025-01-15", "name": "n", "Temp": 4, "colour": "red"}
    plant.run(ndjson(bad), source="s")
    [best] = answer("producer", "suggest", only_group(plant))["suggestions"]
    assert best["name"] == "rename Temp to value"
    type_command(plant, best["command"])
    plant.work()
    assert plant.letters() == []


def test_a_mended_mapping_needs_no_edit(plant: Plant, answer: Command) -> None:
    plant.run(ndjson({"key": "k", "ts": "2025-01-15", "name": "n", "temp": 4}), source="s")
    plant.configure(MAPPED)
    [best] = answer("producer", "suggest", only_group(plant))["suggestions"]
    assert (best["name"], best["would_load"], best["edit"]) == ("as they are", 1, None)


def test_a_computed_field_is_noted_as_beyond_an_edit(plant: Plant, answer: Command, shown: Command) -> None:
    plant.configure('[sources.s]\nfields.value = "data.temp || data.t"\n')
    plant.run(ndjson({"key": "k", "ts": "2025-01-15", "name": "n", "data": {"temp": "1,5"}}), source="s")
    assert "'data.temp || data.t'" in answer("producer", "suggest", only_group(plant))["notes"][0]
    assert "No edit for value" in shown("producer", "suggest", only_group(plant))


def test_an_unknown_group_is_refused(plant: Plant) -> None:
    done = CliRunner().invoke(app, ["suggest", "zz"])
    assert "no group of dead letters has such an id" in str(done.exception)


def test_a_group_without_open_letters_has_nothing_to_fix(
    plant: Plant, shown: Command, answer: Command
) -> None:
    plant.run(ndjson(row("a", value="1,5")))
    group = only_group(plant)
    plant.action()
    assert "Nothing to fix" in shown("producer", "suggest", group)
    assert answer("producer", "suggest") == []
    assert "No open dead letters" in shown("producer", "suggest")


VALUES = st.sampled_from(
    ["1,5", "12,50", "1,234", "1.234,5", " 4 ", "\u00a07", "n/a", "", "EUR 3,5", "$1,234.5", "x", 7]
)
TIMES = st.sampled_from(["15.01.2025", "04.05.2025", "01/15/2025", "04/05/2025", "1736942400", 1736942400000,
                         "2025-01-15", "15 Jan 2025", "20250115", "31.12.2999", "x"])  # fmt: skip
RECORDS = st.lists(
    st.tuples(VALUES, TIMES, st.sampled_from(["name", "Name", "title"])), min_size=1, max_size=8
)


@given(RECORDS)
@settings(
    max_examples=examples(4), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_a_suggestion_says_would_load_is_what_its_replay_loads(
    make_plant: Callable[[], Plant],
    answer: Command,
    type_command: Command,
    records: Sequence[tuple[Any, Any, str]],
) -> None:
    plant = make_plant()
    plant.run(
        ndjson(
            *({"key": f"k{n}", "value": v, "ts": ts, name: "n"} for n, (v, ts, name) in enumerate(records))
        )
    )
    for group in groups(plant)[:3]:
        for best in answer("producer", "suggest", group["id"])["suggestions"][:1]:
            before = len(plant.rows())
            type_command(plant, best["command"])
            plant.work()
            plant.load()
            assert len(plant.rows()) - before == best["would_load"]
            [after] = [each for each in plant.rows("letter_groups", "id") if each["id"] == group["id"]]
            assert after["resolved"] == best["would_accept"]
    assert plant.violations() == []

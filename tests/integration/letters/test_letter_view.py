"""All of one letter in one view: faults at raw fields, attempts, the chain, the target, and what a replay would do."""

from __future__ import annotations

import io
from typing import Any

import orjson
import pytest

from store import database
from store.cli.render import elements, one_letter
from store.dead_letters.edits import Edit
from store.reports.one_letter import view as views
from store.reports.one_letter.view import LetterView

from ..plant import Plant, ndjson, row

NESTED = """
[sources.usgs]
ts_unit = "ms"
[sources.usgs.fields]
key = "id"
ts = "properties.time"
name = 'properties."the place"'
value = "properties.mag"
"""
NOON = 1736942400000  # 2025-01-15T12:00:00Z


def feature(id: str = "a", mag: Any = "4,5", time: Any = NOON, **properties: Any) -> dict[str, Any]:
    return {
        "id": id,
        "properties": {"mag": mag, "time": time, "the place": "here", **properties},
        "type": [1],
    }


def view(plant: Plant, id: str | None = None) -> LetterView:
    """Of the only letter, or of this one."""
    with database.reading(plant.engine) as connection:
        return views.view(connection, id or plant.letters(None)[0].id)


def shown(found: LetterView, monkeypatch: pytest.MonkeyPatch) -> str:
    """As a terminal of 80 columns shows it."""
    with (
        monkeypatch.context() as patch
    ):  # not by capsys: the worker of a plant needs a file behind standard output
        patch.setenv("COLUMNS", "80")
        patch.setattr("sys.stdout", output := io.StringIO())
        elements.put(*one_letter.letter(found))
    return output.getvalue()


def faulty(found: LetterView) -> dict[str, list[str]]:
    """Raw field -> the contract's fields that have a fault there."""
    return {each.name: [fault.field for fault in each.faults] for each in found.fields if each.faults}


def test_a_fault_stands_beside_the_nested_raw_field_that_the_mapping_reads(plant: Plant) -> None:
    plant.configure(NESTED)
    plant.run(ndjson(feature(time="soon")), source="usgs")
    found = view(plant)
    assert faulty(found) == {"properties.mag": ["value"], "properties.time": ["ts"]}
    assert [each.value for each in found.faults] == ['"soon"', '"4,5"']
    assert found.faults_without_field == []
    assert {each.name: each.value for each in found.fields} == {
        "id": '"a"', "properties.mag": '"4,5"', "properties.time": '"soon"', "properties.the place": '"here"',
        "type": "[1]",
    }  # fmt: skip


def test_a_field_that_is_not_there_is_shown_where_it_should_be(plant: Plant) -> None:
    plant.configure(NESTED)
    record = feature(mag=1.5)
    del record["properties"]["the place"]
    plant.run(ndjson(record), source="usgs")
    found = view(plant)
    assert faulty(found) == {"properties.the place": ["name"]}
    assert [(each.name, each.value) for each in found.fields][-1] == ("properties.the place", None)


def test_the_mapping_is_that_of_the_rejection_and_not_a_later_one(plant: Plant) -> None:
    plant.configure(NESTED)
    plant.run(ndjson(feature()), source="usgs")
    plant.configure('[sources.usgs]\nfields.value = "other"\n')
    assert faulty(view(plant)) == {"properties.mag": ["value"]}


@pytest.mark.parametrize(
    ("config", "by"),
    [
        ('[sources.s]\nfields.value = "temp || warmth"\n', "the expression temp || warmth"),
        ('[sources.s]\nconstants.value = "warm"\n', "constants.value"),
        (
            '[sources.s]\nfields.name = "value"\n',
            "no field: the mapping reads value for others",
        ),
    ],
)
def test_what_no_raw_field_alone_makes_is_beside_none_and_says_what_makes_it(
    plant: Plant, config: str, by: str
) -> None:
    plant.configure(config)
    plant.run(ndjson(row(value="warm", temp="1,5")), source="s")
    found = view(plant)
    assert [(each.field, each.path, each.made_by) for each in found.faults_without_field] == [
        ("value", None, by)
    ]


def test_a_cell_of_csv_has_its_fault_under_the_name_of_its_column(plant: Plant) -> None:
    plant.configure('[sources.s]\nfields.value = "temp"\n')
    content = b"key;name;temp;ts\na;pump;1,5 C;2025-01-15\n"
    plant.run(content, name="a.csv", source="s", dialect={"delimiter": ";"})
    found = view(plant)
    assert (faulty(found), found.faults[0].value) == ({"temp": ["value"]}, '"1,5 C"')
    assert found.text == "a;pump;1,5 C;2025-01-15"


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"{nonsense", "the payload is not JSON"),
        (b"[1]", "the payload is not an object"),
        (b'{"key": "a", "key": "b"}', "a field stands twice"),
        (b"\xe9\xff", "bytes that do not decode"),
    ],
)
def test_a_payload_without_fields_says_why_and_its_faults_are_of_the_whole(
    plant: Plant,
    payload: bytes,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant.run(ndjson(row("g")) + payload + b"\n" + ndjson(row("h")))
    found = view(plant)
    assert (found.fields, len(found.faults_without_field)) == ([], 1)
    assert why in found.why_no_fields
    assert why in shown(found, monkeypatch)


def test_each_attempt_has_its_edit_its_errors_and_what_it_changed(plant: Plant) -> None:
    plant.configure(NESTED)
    plant.run(ndjson(feature()), source="usgs")
    id = plant.letters()[0].id
    plant.replay(Edit(set={"properties": {"mag": "x", "time": NOON, "new": 1}}))
    plant.work()
    plant.replay(Edit(set={"properties": {"mag": 4.5, "time": NOON, "the place": "here"}}))
    waiting = view(plant, id).attempts[-1]
    assert (waiting.outcome, waiting.changes, bool(waiting.why_no_changes)) == ("sending", [], True)
    plant.work()
    plant.load()
    first, second = view(plant, id).attempts
    assert (first.outcome, [each["field"] for each in first.errors]) == ("reject again", ["name", "value"])
    assert [(each.name, each.before, each.after) for each in first.changes] == [
        ("properties.mag", '"4,5"', '"x"'),
        ("properties.the place", '"here"', None),
        ("properties.new", None, "1"),
    ]
    assert (second.outcome, second.errors) == ("accept", [])
    assert [(each.name, each.after) for each in second.changes] == [("properties.mag", "4.5")]


@pytest.mark.parametrize("plant_backend", ["sqlite", "postgresql"])
def test_the_chain_leads_from_the_line_to_the_row_of_the_target(plant: Plant) -> None:
    plant.configure(NESTED)
    plant.run(ndjson(feature("z", 1.0), feature()), source="usgs")
    id = plant.letters()[0].id
    assert [(step.step, step.line) for step in view(plant, id).chain.steps] == [("reject", 2)]
    plant.replay(Edit(set={"properties": {"mag": 4.5, "time": NOON, "the place": "here"}}))
    plant.work()
    found = view(plant, id)
    assert [(step.step, step.detail) for step in found.chain.steps][1:] == [
        ("replay", "edited and sent back"), ("stage", "staged, not loaded yet"),
    ]  # fmt: skip
    plant.load()
    found = view(plant, id)
    load = found.chain.steps[-1]
    assert (load.step, load.detail, load.key, load.line, load.is_in_target) == (
        "load",
        "inserted",
        "a",
        2,
        True,
    )
    assert found.held is not None
    assert (found.held.id, found.held.run) == (load.id.replace("load", "stage"), load.run)
    assert found.chain.notes == []
    plant.run(ndjson(feature(mag=5, time=NOON + 1)), source="usgs")
    load = view(plant, id).chain.steps[-1]
    assert (load.detail, load.is_in_target) == ("inserted", False)


def test_the_record_that_closed_a_letter_by_its_arrival_is_in_the_chain(plant: Plant) -> None:
    plant.run(ndjson(row("a", value="warm", temp=1)))
    plant.configure('[sources.default]\nfields.value = "temp"\n')
    plant.run(ndjson(row("a", value="warm", temp=1)))
    steps = view(plant).chain.steps
    assert [(step.step, step.delivery) for step in steps] == [("reject", 1), ("stage", 2), ("load", 2)]


def test_a_payload_that_was_rejected_many_times_shows_the_first_and_the_last_entries(plant: Plant) -> None:
    plant.run(ndjson(*[row(value="1,5")] * 100))
    chain = view(plant).chain
    assert (len(chain.steps), chain.left_out) == (40, 60)
    assert [chain.steps[0].line, chain.steps[-1].line] == [1, 100]


@pytest.mark.parametrize(
    ("ts", "value", "as_it_is", "corrected"),
    [
        ("2025-01-15T08:00:01Z", "1,5", "rejected", "overwrite"),
        ("2025-01-15T08:00:00Z", "1,5", "rejected", "overwrite"),  # an edited replay is the latest delivery
        ("2025-01-15T07:59:59Z", "1,5", "rejected", "superseded"),
        ("soon", "1,5", "rejected", None),
    ],
)
def test_a_letter_says_what_it_would_be_in_the_target_once_it_is_corrected(
    plant: Plant, ts: str, value: str, as_it_is: str, corrected: str | None
) -> None:
    plant.run(ndjson(row("a", value=1.0), row("a", ts=ts, value=value)))
    found = view(plant)
    assert found.outlook is not None
    assert (found.outlook.as_it_is, found.outlook.corrected) == (as_it_is, corrected)
    assert [each["field"] for each in found.outlook.faults] == [each.field for each in found.faults]


@pytest.mark.parametrize("plant_backend", ["sqlite", "postgresql"])
@pytest.mark.parametrize(
    ("held", "becomes"),
    [
        ([], "insert"),
        ([row("a", value=7.0, ts="2025-01-15T07:00:00Z")], "overwrite"),
        ([row("a", value=7.0, ts="2025-01-15T09:00:00Z")], "superseded"),
        ([row("a", name="p", value=1.5)], "duplicate"),
        (
            [row("a", value=7.0)],
            "superseded",
        ),  # of the same time, by a later delivery: the letter keeps its own
    ],
)
def test_under_a_mended_mapping_a_replay_does_what_was_foretold(
    plant: Plant, held: list[dict[str, Any]], becomes: str
) -> None:
    plant.run(ndjson(row("a", name="p", value="warm", temp=1.5)), source="s")
    if held:
        plant.run(ndjson(*held), name="later.ndjson", source="s")
    plant.configure('[sources.s]\nfields.value = "temp"\n')
    found = view(plant)
    assert found.outlook is not None
    assert (found.outlook.as_it_is, found.outlook.key) == (becomes, "a")
    plant.replay()
    plant.work()
    plant.load()
    ended = view(plant).chain.steps[-1].detail
    assert {"insert": "inserted", "overwrite": "updated"}.get(becomes, becomes) == ended


def test_the_target_and_the_letter_stand_side_by_side(plant: Plant) -> None:
    plant.configure(NESTED)
    plant.run(ndjson(feature(mag=4.4)), source="usgs")
    plant.run(ndjson(feature(mag="4,5", time=NOON + 1000)), name="b.ndjson", source="usgs")
    found = view(plant)
    assert found.held is not None
    assert {each.field: (each.held, each.raw, each.own, each.differs) for each in found.held.values} == {
        "ts": ('"2025-01-15T12:00:00Z"', "properties.time", str(NOON + 1000), True),
        "name": ('"here"', "properties.the place", '"here"', False),
        "value": ("4.4", "properties.mag", '"4,5"', True),
        "type": ("[1]", "type", "[1]", False),
    }
    assert (found.held.file[-14:], found.held.line, found.held.delivery) == ("records.ndjson", 1, 1)


def test_numbers_and_times_differ_by_value_alone(plant: Plant) -> None:
    plant.run(ndjson(row("a", value=1.5, ts="2025-01-15T08:00:00Z", name="007")))
    plant.run(b'{"key":"a","value":1.50,"ts":"2025-01-15T09:00:00+01:00","name":7}\n', name="b.ndjson")
    found = view(plant)
    assert found.held is not None
    assert {each.field for each in found.held.values if each.differs} == {"name"}


def test_a_contract_that_cannot_be_loaded_leaves_only_the_outlook_open(plant: Plant) -> None:
    plant.run(ndjson(row(value="1,5")))
    plant.configure('[worker]\ncontract = "nowhere:Model"\n')
    found = view(plant)
    assert found.outlook is not None
    assert (found.outlook.as_it_is, "nowhere" in found.outlook.why) == ("unknown", True)
    assert faulty(found) == {"value": ["value"]}


def test_a_cut_payload_says_so_and_a_replay_of_it_is_refused(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.configure("[producer]\nmax_record_bytes = 10000\n")
    plant.run(ndjson(row(name="x" * 20_000)))
    found = view(plant)
    assert (found.is_cut, found.stored_bytes, found.letter.size > 20_000) == (True, 4096, True)
    text = shown(found, monkeypatch)
    assert "only its first 4,096 bytes are stored" in text
    assert found.outlook is not None
    assert found.outlook.as_it_is == "refused"


def test_hostile_payloads_are_inert_and_lines_fit_80_columns(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "\u001b[31m\u202e\u2066\u0085\r\n"
    plant.run(
        ndjson(
            row("a", value=evil, **{evil: {evil: evil}}), row("b", name="x " * 400, value={"a": "y" * 300})
        )
    )
    for letter in plant.letters():
        found = view(plant, letter.id)
        text = shown(found, monkeypatch)
        assert all(each.isprintable() for line in text.splitlines() for each in line)
        lines = [line for line in text.split("\n") if "`store lineage" not in line]  # a command is not broken
        assert max(map(len, lines)) <= 80
        assert orjson.loads(orjson.dumps(found.to_json()))["fields"][0]["path"] == "key"


def test_fields_beyond_a_bound_are_counted_and_a_faulty_one_is_always_shown(plant: Plant) -> None:
    many = {f"n{number}": number for number in range(views.MOST_FIELDS + 100)}
    plant.run(ndjson(many | row("a", value="1,5")))
    found = view(plant)
    assert (len(found.fields), found.fields_left_out) == (views.MOST_FIELDS + 1, 103)
    assert faulty(found) == {"value": ["value"]}


@pytest.mark.parametrize("plant_backend", ["sqlite", "postgresql"])
def test_a_letter_without_a_key_names_the_record_of_its_line_that_was_loaded_since(plant: Plant) -> None:
    whole = row("a", name="pump", value=1.5)
    without = {name: value for name, value in whole.items() if name != "key"}
    plant.run(ndjson(row("z"), without))
    assert view(plant).loaded_since is None
    plant.run(ndjson(row("z"), whole | {"name": "valve"}))  # that may be another record
    with database.transaction(plant.engine) as connection:
        connection.exec_driver_sql("UPDATE deliveries SET records = 2")
    assert view(plant).loaded_since is None
    plant.run(ndjson(row("z"), whole | {"ts": "2025-01-15T09:00:00Z", "n": 1}))
    plant.run(ndjson(row("z"), whole | {"key": "b"}))
    with database.transaction(plant.engine) as connection:
        connection.exec_driver_sql("UPDATE deliveries SET records = 2")
    found = view(plant).loaded_since
    assert found is not None
    assert (found["key"], found["line"], found["delivery"]) == ("b", 2, 4)

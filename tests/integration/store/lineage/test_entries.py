from __future__ import annotations

from store import database
from store.database.schema import event_id, staged_id
from store.lineage import trace
from store.tables import lineage
from store.tables.lineage import Entry
from tests.integration.store.conftest import Bad, Ledger, Record

FIVE = [Record(key, "2025-01-15") for key in "abcde"]


def of_key(ledger: Ledger, key: str, source: str | None = None) -> list[Entry]:
    with database.reading(ledger.engine) as connection:
        return trace.of_key(connection, key, source)


def of_line(ledger: Ledger, file: str, line: int) -> list[Entry]:
    with database.reading(ledger.engine) as connection:
        return trace.of_line(connection, file, line)


def by_step(ledger: Ledger) -> dict[str, int]:
    with database.reading(ledger.engine) as connection:
        return lineage.count_by_step(connection)


def replay(ledger: Ledger, letter_batch: int, position: int, record: Record) -> int:
    """What a worker writes where the replay of a dead letter is accepted."""
    number = ledger.receive([], kind="replay")
    parent = event_id(number, 0, "replay")
    (letter,) = ledger.rows("SELECT id FROM dead_letters")[0]
    with database.transaction(ledger.engine) as connection:
        row = (parent, "replay", "shop", None, letter, "sent back", number, 7,
               event_id(letter_batch, position, "reject"))  # fmt: skip
        lineage.add_events(connection, [row])
    ledger.replay(letter)
    return ledger.receive([record], parents=[parent], kind="replay", first_line=7)


def test_five_loaded_and_two_rejected_are_twelve_entries(ledger: Ledger) -> None:
    ledger.receive([*FIVE, Bad("{"), Bad("[")])
    assert by_step(ledger) == {"stage": 5, "load": 0, "reject": 2, "skip": 0, "replay": 0}
    ledger.load()
    assert by_step(ledger) == {"stage": 5, "load": 5, "reject": 2, "skip": 0, "replay": 0}
    assert ledger.rows("SELECT count(*) FROM lineage") == [(12,)]


def test_the_view_has_as_many_entries_of_each_step_as_are_counted(ledger: Ledger) -> None:
    ledger.receive([*FIVE, Bad("{")])
    ledger.load(2)
    ledger.receive([Record("z", "2025-01-16"), Bad("[")])
    counted = {step: number for step, number in by_step(ledger).items() if number}
    assert dict(ledger.rows("SELECT step, count(*) FROM lineage GROUP BY step")) == counted


def test_a_load_follows_the_stage_of_its_record(ledger: Ledger) -> None:
    number = ledger.receive(FIVE, id="b1", file="orders.json", first_line=11)
    (staged,) = of_key(ledger, "c")
    run = ledger.load()
    stage, load = of_key(ledger, "c")
    assert stage == staged
    assert (stage.step, stage.comes_from, stage.goes_to, stage.parent_id) == (
        "stage",
        "file",
        "staging",
        None,
    )
    assert (load.step, load.comes_from, load.goes_to, load.parent_id) == (
        "load",
        "staging",
        "target",
        stage.id,
    )
    assert (stage.file, stage.line, load.file, load.line) == ("orders.json", 13, "orders.json", 13)
    assert (stage.batch, stage.run, load.run, load.detail) == ("b1", None, run, "inserted")
    assert stage.detail == "ts 2025-01-15T00:00:00.000000Z"
    assert load.at >= stage.at
    assert ledger.rows("SELECT lineage_id FROM target WHERE key = 'c'") == [(staged_id(number, 2),)]


def test_a_superseded_record_and_a_duplicate_lead_nowhere_and_name_what_beat_them(ledger: Ledger) -> None:
    number = ledger.receive([Record("a", "2025-01-02"), Record("a", "2025-01-01"), Record("a", "2025-01-02")])
    ledger.load()
    won = f"stage-{staged_id(number, 2)}"
    loads = {entry.line: entry for entry in of_key(ledger, "a") if entry.step == "load"}
    assert {line: (load.goes_to, load.detail, load.beaten_by) for line, load in loads.items()} == {
        1: ("nowhere", "duplicate", won),
        2: ("nowhere", "superseded", won),
        3: ("target", "inserted", None),
    }


def test_a_load_whose_row_was_replaced_names_what_replaced_it(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-01")])
    ledger.load()
    number = ledger.receive([Record("a", "2025-01-02")])
    ledger.load()
    loads = [entry for entry in of_key(ledger, "a") if entry.step == "load"]
    assert [(load.detail, load.beaten_by) for load in loads] == [
        ("inserted", f"stage-{staged_id(number, 0)}"),
        ("updated", None),
    ]


def test_a_replayed_letter_is_a_chain_from_its_rejection_to_the_target(ledger: Ledger) -> None:
    number = ledger.receive([Bad("{", key=None)], first_line=7)
    replay(ledger, number, 0, Record("a", "2025-01-15"))
    ledger.load()
    chain = {entry.id: entry for entry in of_key(ledger, "a")}
    (end,) = [entry for entry in chain.values() if entry.step == "load"]
    steps = []
    at: Entry | None = end
    while at:
        steps.append(at.step)
        at = chain[at.parent_id] if at.parent_id else None
    assert steps == ["load", "stage", "replay", "reject"]
    assert {entry.step for entry in of_line(ledger, "a.json", 7)} == {"reject", "replay", "stage", "load"}


def test_a_key_of_two_sources_is_distinguished_by_its_source(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-01")])
    ledger.receive([Record("a", "2025-01-01")], source="usgs")
    ledger.load()
    assert len(of_key(ledger, "a")) == 4
    assert {entry.source for entry in of_key(ledger, "a", "usgs")} == {"usgs"}
    assert of_key(ledger, "a", "nobody") == []


def test_what_is_unknown_has_no_entries(ledger: Ledger) -> None:
    ledger.receive(FIVE)
    assert of_key(ledger, "zz") == []
    assert of_line(ledger, "a.json", 99) == []
    assert of_line(ledger, "b.json", 1) == []


def test_a_rejected_record_with_a_key_is_found_by_it(ledger: Ledger) -> None:
    ledger.receive([Bad('{"key": "k"}', "missing_timestamp", "k")])
    (entry,) = of_key(ledger, "k")
    assert (entry.step, entry.detail, entry.goes_to) == ("reject", "missing_timestamp", "dead_letters")

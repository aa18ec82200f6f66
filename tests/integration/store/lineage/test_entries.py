from __future__ import annotations

from store import database
from store.database.schema import event_id, staged_id
from store.lineage import trace
from store.tables import dead_letters, lineage
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
               event_id(letter_batch, position, "reject"), None)  # fmt: skip
        lineage.add_events(connection, [row])
        dead_letters.resolve(connection, [letter], "2025-01-15T12:00:00.000000Z")
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
    assert (stage.step, stage.from_place, stage.to_place, stage.parent_id) == (
        "stage",
        "file",
        "staging",
        None,
    )
    assert (load.step, load.from_place, load.to_place, load.parent_id) == (
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


def test_a_superseded_record_does_not_lead_to_the_target(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-02"), Record("a", "2025-01-01")])
    ledger.load()
    ends = {entry.line: entry.to_place for entry in of_key(ledger, "a") if entry.step == "load"}
    assert ends == {1: "target", 2: "superseded"}


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


def test_a_key_of_two_sources_has_a_history_for_each(ledger: Ledger) -> None:
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
    assert (entry.step, entry.detail, entry.to_place) == ("reject", "missing_timestamp", "dead_letters")

from __future__ import annotations

from collections.abc import Callable

import pytest

from store import database
from store.database.schema import event_id, staged_id
from store.errors import UsageError
from store.lineage import trace
from store.tables import lineage
from store.tables.lineage import Entry
from tests.integration.store.conftest import Bad, Ledger, Record


def walk(ledger: Ledger, walked: Callable[..., list[Entry]], *arguments: object) -> list[Entry]:
    with database.reading(ledger.engine) as connection:
        return walked(connection, *arguments)


def of_id(ledger: Ledger, id: str) -> list[Entry]:
    return walk(ledger, trace.of_id, id)


def of_line(ledger: Ledger, file: str, line: int) -> list[Entry]:
    return walk(ledger, trace.of_line, file, line)


def lines(entries: list[Entry]) -> list[tuple[str, str, int]]:
    return [(entry.step, entry.file, entry.line) for entry in entries]


def letter(ledger: Ledger) -> str:
    """The id of the only dead letter."""
    ((id,),) = ledger.rows("SELECT id FROM dead_letters")
    return str(id)


def send_back(ledger: Ledger, record: Record | Bad, file: str = "a.json", line: int = 7) -> int:
    """Replays the only dead letter as `record`; the number of the batch, as a worker writes it."""
    id = letter(ledger)
    ((after,),) = ledger.rows("SELECT event_id FROM dead_letters")
    ((last,),) = ledger.rows("SELECT max(seq) FROM batches")
    above = event_id(last + 1, 0, "replay")
    number = ledger.receive([record], parents=[above], kind="replay", file=file, first_line=line)
    assert number == last + 1
    with database.transaction(ledger.engine) as connection:
        row = (above, "replay", "shop", None, id, "edited and sent back", number, line, after)
        lineage.add_events(connection, [row])
    if isinstance(record, Record):
        ledger.replay(id)
    if isinstance(record, Bad):
        ledger.tamper("UPDATE lineage_events SET parent_id = :above WHERE id = :id",
                      above=above, id=event_id(number, 0, "reject"))  # fmt: skip
    return number


@pytest.mark.parametrize("loads", ["apart", "together"])
def test_a_duplicate_stands_with_what_it_repeats_and_leads_to_the_target(ledger: Ledger, loads: str) -> None:
    first = ledger.receive([Record("a", "2025-01-01")], file="first.json")
    if loads == "apart":
        ledger.load()
    second = ledger.receive([Record("a", "2025-01-01")], file="again.json", first_line=5)
    ledger.load()
    # Of two in one chunk the later one is inserted, and the earlier one repeats it.
    won, repeat = (first, second) if loads == "apart" else (second, first)
    for file, line in (("first.json", 1), ("again.json", 5)):
        found = of_line(ledger, file, line)
        assert sorted(lines(found)) == [
            ("load", "again.json", 5), ("load", "first.json", 1),
            ("stage", "again.json", 5), ("stage", "first.json", 1),
        ]  # fmt: skip
        known = {entry.id: entry for entry in found}
        load = known[f"load-{staged_id(repeat, 0)}"]
        assert (load.detail, load.goes_to, load.beaten_by) == (
            "duplicate",
            "nowhere",
            f"stage-{staged_id(won, 0)}",
        )
        assert load.parent_id == f"stage-{staged_id(repeat, 0)}"
        assert known[f"load-{staged_id(won, 0)}"].goes_to == "target"


def test_a_superseded_record_stands_with_what_beat_it(ledger: Ledger) -> None:
    number = ledger.receive([Record("a", "2025-01-02")], file="newer.json")
    ledger.load()
    ledger.receive([Record("a", "2025-01-01")], file="older.json")
    ledger.load()
    found = of_line(ledger, "older.json", 1)
    assert {entry.file for entry in found} == {"older.json", "newer.json"}
    (load,) = [entry for entry in found if entry.step == "load" and entry.file == "older.json"]
    assert (load.detail, load.beaten_by) == ("superseded", f"stage-{staged_id(number, 0)}")


def test_a_record_that_was_replaced_stands_with_what_replaced_it(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-01")], file="older.json")
    ledger.load()
    number = ledger.receive([Record("a", "2025-01-02")], file="newer.json")
    ledger.load()
    for file in ("older.json", "newer.json"):
        found = of_line(ledger, file, 1)
        assert {entry.file for entry in found} == {"older.json", "newer.json"}
        (load,) = [entry for entry in found if entry.step == "load" and entry.file == "older.json"]
        assert (load.detail, load.beaten_by) == ("inserted", f"stage-{staged_id(number, 0)}")


def test_every_entry_of_a_chain_leads_to_the_whole_chain(ledger: Ledger) -> None:
    ledger.receive([Bad("{")], first_line=7)
    send_back(ledger, Record("a", "2025-01-15"))
    ledger.load()
    chain = walk(ledger, trace.of_key, "a")
    assert [entry.step for entry in chain] == ["reject", "replay", "stage", "load"]
    for entry in chain:
        assert of_id(ledger, entry.id) == chain
    assert of_id(ledger, letter(ledger)[:6]) == chain


def test_a_letter_sent_back_under_another_key_is_found_by_both(ledger: Ledger) -> None:
    ledger.receive([Bad('{"key": "a"}', "missing_timestamp", "a")], first_line=7)
    send_back(ledger, Record("b", "2025-01-15"))
    ledger.load()
    steps = [entry.step for entry in walk(ledger, trace.of_key, "a")]
    assert steps == ["reject", "replay", "stage", "load"]
    assert walk(ledger, trace.of_key, "a") == walk(ledger, trace.of_key, "b")


def test_a_letter_rejected_twice_before_it_is_accepted_is_one_chain(ledger: Ledger) -> None:
    ledger.receive([Bad("{")], first_line=7)
    send_back(ledger, Bad("{"))
    send_back(ledger, Record("a", "2025-01-15"))
    ledger.load()
    steps = [entry.step for entry in of_line(ledger, "a.json", 7)]
    assert steps == ["reject", "replay", "reject", "replay", "stage", "load"]


def test_a_line_that_was_rejected_like_another_is_followed_through_the_letter_they_share(
    ledger: Ledger,
) -> None:
    ledger.receive([Bad("{")], file="a.json", first_line=7)
    ledger.receive([Bad("{")], file="b.json", first_line=9)
    send_back(ledger, Record("a", "2025-01-15"))
    ledger.load()
    for file, line in (("a.json", 7), ("b.json", 9)):
        found = of_line(ledger, file, line)
        assert {"reject", "replay", "stage", "load"} == {entry.step for entry in found}
        assert ("reject", file, line) in lines(found)


def test_a_stage_shows_its_duplicates_and_another_key_does_not(ledger: Ledger) -> None:
    number = ledger.receive([Record("a", "2025-01-01"), Record("b", "2025-01-01"), Record("a", "2025-01-01")])
    ledger.load()
    for position in (0, 2):
        found = of_id(ledger, f"stage-{staged_id(number, position)}")
        assert sorted((entry.step, entry.line) for entry in found) == [
            ("load", 1), ("load", 3), ("stage", 1), ("stage", 3),
        ]  # fmt: skip
    found = of_id(ledger, f"stage-{staged_id(number, 1)}")
    assert [(entry.step, entry.line) for entry in found] == [("stage", 2), ("load", 2)]


def test_several_records_of_one_line_are_all_found(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-01"), Record("b", "2025-01-01")])
    ledger.tamper("UPDATE staging SET line = 1")
    assert {entry.key for entry in of_line(ledger, "a.json", 1)} == {"a", "b"}


def test_the_same_line_of_two_files_is_distinguished(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-01")], file="a.json")
    ledger.receive([Record("b", "2025-01-01")], file="b.json")
    ledger.load()
    assert {entry.key for entry in of_line(ledger, "b.json", 1)} == {"b"}


def test_a_load_that_has_not_happened_is_not_found(ledger: Ledger) -> None:
    number = ledger.receive([Record("a", "2025-01-01")])
    assert of_id(ledger, f"load-{staged_id(number, 0)}") == []
    assert len(of_id(ledger, f"stage-{staged_id(number, 0)}")) == 1


@pytest.mark.parametrize("id", ["stage-99", "load-99", "event-99", "abcdef", "", "stage-4611686018427387903"])
def test_an_unknown_id_has_no_entries(ledger: Ledger, id: str) -> None:
    ledger.receive([Record("a", "2025-01-01"), Bad("{")])
    assert of_id(ledger, id) == []


@pytest.mark.parametrize("id", ["stage-", "stage-x", "event--1", "load-9223372036854775808", "stage-٣"])
def test_what_is_no_id_is_a_usage_error(ledger: Ledger, id: str) -> None:
    with pytest.raises(UsageError, match="is not the id of an entry"):
        of_id(ledger, id)


def test_the_beginning_of_two_letters_is_a_usage_error(ledger: Ledger) -> None:
    ledger.receive([Bad("{"), Bad("[")])
    ledger.tamper("UPDATE dead_letters SET id = 'aa' || line")
    with pytest.raises(UsageError, match="several"):
        of_id(ledger, "a")


def test_no_entry_stands_before_the_one_it_follows_though_the_clock_ran_backwards(ledger: Ledger) -> None:
    ledger.receive([Bad("{", key="b")], file="a.json", first_line=7)
    send_back(ledger, Record("b", "2025-01-01"))
    ledger.receive([Record("b", "2025-01-01")], file="again.json")
    ledger.load()
    ledger.tamper("UPDATE run_log SET started_at = '2001-01-01T00:00:00.000000Z', finished_at = NULL")
    ledger.tamper("UPDATE batches SET processed_at = '2002-01-01T00:00:00.000000Z' WHERE seq = 3")
    ledger.tamper("UPDATE batches SET processed_at = '2003-01-01T00:00:00.000000Z' WHERE kind = 'replay'")
    found = walk(ledger, trace.of_key, "b")
    assert sorted(entry.step for entry in found) == ["load", "load", "reject", "replay", "stage", "stage"]
    row = {entry.id: number for number, entry in enumerate(found)}
    parents = [(row[entry.parent_id], row[entry.id]) for entry in found if entry.parent_id]
    assert len(parents) == 4
    assert all(parent < child for parent, child in parents)


def test_entries_that_follow_each_other_in_a_circle_end_the_walk(ledger: Ledger) -> None:
    number = ledger.receive([Bad("{"), Bad("[")])
    first, second = (event_id(number, position, "reject") for position in (0, 1))
    for id, above in ((first, second), (second, first)):
        ledger.tamper("UPDATE lineage_events SET parent_id = :above WHERE id = :id", above=above, id=id)
    assert len(of_id(ledger, f"event-{first}")) == 2

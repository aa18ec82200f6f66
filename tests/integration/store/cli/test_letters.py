"""`store letters`: groups, filters that combine, the actions, and the alarm."""

from __future__ import annotations

import csv
import io
import shlex
from typing import Any

import orjson
import pytest

from store import hashing, timestamps
from tests.integration.store.conftest import Bad, Ledger, Record
from tests.integration.store.timing.timeline import Command

BEFORE, DAY = "2025-01-14T12:00:00.000000Z", "2025-01-15T12:00:00.000000Z"


@pytest.fixture
def letters(ledger: Ledger) -> Ledger:
    """Three letters of shop, one of usgs; shop's second file came a day later."""
    ledger.receive([Record("a", "2025-01-01"), Bad("1", "late"), Bad("2", "late")], file="a.json")
    ledger.receive([Bad("3", "stale")], file="b.json")
    ledger.receive([Bad("4", "late")], source="usgs", file="a.json")
    ledger.tamper("UPDATE dead_letters SET first_seen_at = :before, last_seen_at = :before", before=BEFORE)
    ledger.tamper("UPDATE dead_letters SET last_seen_at = :day WHERE payload = '3'", day=DAY)
    ledger.tamper("UPDATE batches SET processed_at = :before", before=BEFORE)
    ledger.tamper("UPDATE batches SET processed_at = :day WHERE file = 'b.json'", day=DAY)
    ledger.tamper("UPDATE dead_letters SET first_seen_at = :day WHERE file = 'b.json'", day=DAY)
    for column in ("first_seen_at", "last_seen_at"):
        changed = f"UPDATE letter_groups SET {column} = (SELECT {{}}(d.{column}) FROM dead_letters d WHERE group_id = letter_groups.id)"  # noqa: S608, E501
        ledger.tamper(changed.format("MIN" if column == "first_seen_at" else "MAX"))
    return ledger


def payloads(store: Command, *arguments: str) -> list[str]:
    return sorted(each["payload"] for each in store("letters", "list", *arguments, "--json").json["letters"])


def test_filters_of_letters_combine(letters: Ledger, store: Command) -> None:
    group = store("letters", "--source", "usgs", "--json").json["groups"][0]["id"]
    assert payloads(store) == ["1", "2", "3", "4"]
    assert payloads(store, "--source", "shop", "--reason", "late") == ["1", "2"]
    assert payloads(store, "--group", group[:8]) == ["4"]
    assert payloads(store, "--rule", "late", "--file", "a.json") == ["1", "2", "4"]
    assert payloads(store, "--rule", "late", "--rule", "stale", "--source", "shop") == ["1", "2", "3"]
    assert payloads(store, "--since", "2025-01-15") == ["3"]
    assert payloads(store, "--until", "2025-01-15", "--source", "shop") == ["1", "2"]
    assert payloads(store, "--field", "nothing") == payloads(store, "--shape", "d+") == []
    assert payloads(store, "--status", "parked") == []
    assert payloads(store, "--id", hashing.hexdigest(orjson.dumps(["shop", "2"]))[:9], "--rule", "late") == [
        "2"
    ]


def test_a_letter_is_of_each_delivery_that_it_was_rejected_in(letters: Ledger, store: Command) -> None:
    assert payloads(store, "--delivery", "1") == ["1", "2"]
    assert payloads(store, "--delivery", "3") == ["4"]
    letters.receive([Bad("1", "late"), Bad("5", "late")], file="b.json")
    assert payloads(store, "--delivery", "1") == ["1", "2"]
    assert payloads(store, "--delivery", "4", "--reason", "late") == ["1", "5"]


def test_pages_follow_one_another_and_the_last_line_is_the_command_for_the_next(
    letters: Ledger, store: Command
) -> None:
    command, found = "letters list --source shop --limit 2", []
    while command:
        page = store(*shlex.split(command), "--json").json
        found += [each["payload"] for each in page["letters"]]
        last = store(*shlex.split(command)).out.splitlines()[-1]
        command = last.partition("; the next: store ")[2]
        assert bool(command) == (page["next"] is not None) == (len(found) < 3)
        command += " --limit 1" * bool(command)
    assert sorted(found) == ["1", "2", "3"]


def groups(store: Command, *arguments: str) -> dict[str, int]:
    """Source and reason -> letters."""
    found = store("letters", *arguments, "--json").json["groups"]
    return {f"{each['source']} {each['reason']}": each["letters"] for each in found}


def test_filters_of_groups_count_the_letters_that_match(letters: Ledger, store: Command) -> None:
    assert groups(store) == {"shop late": 2, "shop stale": 1, "usgs late": 1}
    assert groups(store, "--file", "a.json") == {"shop late": 2, "usgs late": 1}
    assert groups(store, "--delivery", "2") == {"shop stale": 1}
    assert groups(store, "--since", "2025-01-15") == {"shop stale": 1}
    assert groups(store, "--rule", "late", "--source", "shop") == {"shop late": 2}
    assert groups(store, "--status", "parked") == {}
    one = store("letters", "list", "--source", "shop", "--reason", "late", "--json").json["letters"][0]
    store("letters", "park", "--id", one["id"], "--why", "later")
    assert groups(store, "--file", "a.json", "--status", "parked") == {"shop late": 1}
    assert groups(store, "--group", one["group_id"][:8], "--file", "b.json") == {}


@pytest.mark.parametrize("order", ["", " --newest"])
def test_pages_of_groups_follow_one_another_and_the_last_line_is_the_command_for_the_next(
    letters: Ledger, store: Command, order: str
) -> None:
    command, found, pages = f"letters --status all --limit 2{order}", [], 0
    while command:
        page = store(*shlex.split(command), "--json").json
        found += [each["id"] for each in page["groups"]]
        command = store(*shlex.split(command)).out.splitlines()[-1].partition("; the next: store ")[2]
        assert bool(command) == (page["next"] is not None)
        pages += 1
    whole = store("letters", "--status", "all", *order.split(), "--json").json
    assert ([each["id"] for each in whole["groups"]], whole["next"], pages) == (found, None, 2)


def test_a_text_is_searched_in_so_many_payloads_and_it_says_where_to_go_on(
    ledger: Ledger, store: Command
) -> None:
    ledger.receive([Bad(f"{number} EUR; it's" if number in (3, 7) else f"{number}") for number in range(10)])
    everything = [each["payload"] for each in store("letters", "list", "--json").json["letters"]]
    position = max(everything.index(each) for each in everything if "EUR" in each) + 1
    whole = store("letters", "list", "--contains", "EUR; it's", "--json")
    assert ([each["payload"][:1] for each in whole.json["letters"]], whole.json["next"], whole.err) == (
        [each[:1] for each in everything if "EUR" in each], None, ""
    )  # fmt: skip
    part = store("letters", "list", "--contains", "EUR", "--look-at", str(position - 1), "--json")
    assert (len(part.json["letters"]), part.json["looked_at"]) == (1, position - 1)
    assert f"looked at {position - 1} payloads, and there are more letters" in part.err
    rest = store("letters", "list", "--contains", "EUR", "--after", part.json["next"], "--json")
    assert ([each["payload"] for each in rest.json["letters"]], rest.err) == ([everything[position - 1]], "")
    assert payloads(store, "--contains", "GBP") == []


def test_a_list_as_csv_has_no_formulas(ledger: Ledger, store: Command) -> None:
    ledger.receive([Bad("=1+1"), Bad("-1"), Bad('a,"b"\n')])
    rows = list(csv.DictReader(io.StringIO(store("letters", "list", "--csv").out)))
    assert {row["payload"] for row in rows} == {"'=1+1", "-1", 'a,"b"\n'}
    assert {(row["reason"], row["errors"], row["file"]) for row in rows} == {
        ("malformed_json", "it is wrong", "a.json")
    }
    (group,) = csv.DictReader(io.StringIO(store("letters", "--csv").out))
    assert (group["letters"], group["open"], group["faults"]) == ("3", "3", "malformed_json")


def test_groups_have_shapes_that_filters_know(ledger: Ledger, store: Command) -> None:
    ledger.receive([Bad("1"), Bad("2")])
    faults = [
        {
            "reason": "invalid_value",
            "field": "value",
            "rule": "float_parsing",
            "message": "m",
            "shape": "d+,d+",
        }
    ]
    ledger.tamper("UPDATE letter_groups SET faults = :faults", faults=orjson.dumps(faults).decode())
    assert "value float_parsing d+,d+" in store("letters").out
    assert payloads(store, "--field", "value", "--rule", "float_parsing", "--shape", "d+,d+") == ["1", "2"]
    assert payloads(store, "--field", "value", "--shape", "d+.d+") == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["list", "--group", "zz"], "no group of dead letters has such an id"),
        (["list", "--group", ""], "several ids begin with"),
        (["list", "--since", "yesterday"], "not an ISO 8601 time"),
        (["discard", "--reason", "late", "--why", " "], "--why is blank"),
        (["discard", "--why", "x"], "choose letters with options"),
        (["discard", "--all", "--reason", "late", "--why", "x"], "choose letters with options"),
        (["park", "--id", "zz", "--why", "x"], "no dead letter has such an id"),
        (["list", "--after", "3"], "--after '3' is no cursor"),
        (["--after", "3"], "--after '3' is no cursor of this order"),
        (["--newest", "--after", f"3,{'0' * 32}"], "is no cursor of this order"),
        (["--id", "3"], "--id is of one letter"),
        (["--contains", "EUR"], "`store letters list --contains TEXT`"),
        (["--delivery", "9"], "there is no such delivery"),
        (["--source", "shop", "discard", "--all", "--why", "x"], "options of discard stand behind it"),
        (["--newest", "list"], "options of list stand behind it"),
        (["list", "--contains", ""], "--contains is blank"),
        (["list", "--json", "--csv"], "two formats of one output"),
        (["list", "--delivery", "9"], "there is no such delivery"),
        (["discard", "--source", "", "--why", "x"], "--source is blank"),
        (["undo", "9"], "there is no action 9"),
        (["alarm"], "give at least one of"),
        (["alarm", "--max-age", "soon"], "no length of time"),
        (["alarm", "--max-rate", "120%"], "no share of all records"),
    ],
)
def test_bad_input_is_refused_in_words(
    letters: Ledger, store: Command, arguments: list[str], says: str
) -> None:
    done = store("letters", *arguments)
    assert (done.code, payloads(store)) == (2, ["1", "2", "3", "4"])
    assert says in done.err


def test_a_discard_is_an_action_that_can_be_undone(letters: Ledger, store: Command) -> None:
    done = store("letters", "discard", "--rule", "late", "--file", "a.json", "--why", "tests", "--by", "ann")
    assert "3 letters are discarded (action 1); `store letters undo 1` undoes it." in done.out
    assert payloads(store) == ["3"]
    listed = store("letters", "actions", "--json").json
    assert [(each["verb"], each["why"], each["by"], each["outcomes"]) for each in listed] == [
        ("discard", "tests", "ann", {"done": 3})
    ]
    assert listed[0]["filter"] == {"rules": ["late"], "file": "a.json"}
    one = store("letters", "list", "--status", "discarded", "--json").json["letters"][0]["id"]
    assert "discard, open -> discarded, action 1 by ann: tests" in store("letters", "show", one).out
    assert "3 letters are as they were before" in store("letters", "undo", "1").out
    assert payloads(store) == ["1", "2", "3", "4"]
    assert "nothing was done" in store("letters", "undo", "1").out
    assert store("check").code == 0


ALARMS: dict[str, tuple[list[str], int, str]] = {
    "few": (["--max-open", "10"], 0, "OK dead letters: 4 open (at most 10)"),
    "nearly too many": (["--max-open", "5"], 1, "WARNING dead letters: 4 open"),
    "too many": (["--max-open", "3"], 2, "CRITICAL dead letters: 4 open (at most 3)"),
    "of a source": (["--max-open", "3", "--source", "usgs"], 0, "OK dead letters of source usgs: 1 open"),
    "too old": (["--max-age", "1d"], 2, "CRITICAL"),
    "too often": (["--max-rate", "50%"], 2, "80.0% rejected in 24 h (at most 50.0%)"),
    "not too often": (["--max-rate", "1"], 1, "80.0% rejected in 24 h (at most 100.0%)"),
    "none allowed": (["--max-open", "0", "--source", "nobody"], 0, "OK"),
}


@pytest.mark.parametrize(("arguments", "code", "says"), ALARMS.values(), ids=ALARMS)
def test_the_alarm_ends_as_monitoring_systems_expect(
    letters: Ledger, store: Command, arguments: list[str], code: int, says: str
) -> None:
    letters.tamper("UPDATE batches SET processed_at = :now", now=timestamps.now_text())
    done = store("letters", "alarm", *arguments)
    assert done.code == code
    assert says in done.out
    assert done.out.count("\n") == 1
    found: dict[str, Any] = store("letters", "alarm", *arguments, "--json").json
    assert found["level"] == code


def test_an_account_is_a_sum_and_its_exit_code_says_whether_it_holds(letters: Ledger, store: Command) -> None:
    listed = store("account")
    assert (listed.code, listed.out.count("yes")) == (0, 3)
    one = store("account", "--delivery", "1")
    assert one.code == 0
    assert "           3  records received" in one.out
    assert "           2    dead letters, open" in one.out
    assert "           1    staged, not loaded yet" in one.out
    assert "It adds up." in one.out
    letters.tamper("DELETE FROM staging")
    broken = store("account", "--delivery", "1")
    assert (broken.code, "It does NOT add up" in broken.out) == (1, True)
    assert store("account", "a.json", "--json").json[0]["file"] == "a.json"
    assert store("account", "a.json", "--delivery", "1").code == 2

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from store import database
from store.database.schema import SCHEMA_REVISION
from store.tables import dead_letters
from tests.integration.store.conftest import Bad, Ledger, Record
from tests.integration.store.timing.timeline import Command

EMPTY_DIGEST = "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"


def test_the_report_of_the_sample_is_exactly_this(sample: Ledger, store: Command) -> None:
    found = store("report", "--json").json
    counts = {"received": 7, "staged": 5, "rejected": 2, "skipped": 0}
    loaded = {"inserted": 5, "updated": 0, "duplicates": 0, "superseded": 0, "conflicts": 0}
    assert found == {
        "input_records": 7,
        **{name: number for name, number in counts.items() if name != "received"},
        "late": 0,
        "stale": 0,
        "ambiguous": 0,
        "shifted": 0,
        "fresh": 5,
        "loaded": 5,
        **loaded,
        "pending": 0,
        "target_rows": 5,
        "deleted_rows": 0,
        "dead_letters": 2,
        "replayed": 0,
        "lineage_entries": 12,
        "watermark": "2025-01-15T12:00:00Z",
        "watermarks": {"shop": "2025-01-15T12:00:00Z"},
        "reasons": {"malformed_json": 1, "missing_timestamp": 1},
        "by_source": {
            "shop": {
                **counts,
                **loaded,
                "late": 0,
                "stale": 0,
                "ambiguous": 0,
                "shifted": 0,
                "fresh": 5,
                "target_rows": 5,
                "dead_letters": 2,
                "watermark": "2025-01-15T12:00:00Z",
            }
        },
        "dedupe": {"hits": 0, "misses": 5, "hit_rate": 0.0},
    }


def test_the_report_shows_totals_reasons_sources_and_the_watermark(sample: Ledger, store: Command) -> None:
    output = store("report").out
    assert re.search(r"^input records +7$", output, re.M)
    assert re.search(r"^loaded +5  5 inserted, 0 updated, 0 duplicates, 0 superseded$", output, re.M)
    assert re.search(r"^missing_timestamp +1$", output, re.M)
    assert re.search(r"^shop +2025-01-15 12:00:00 UTC +7 +5 +2 +0 +0 +0 +5$", output, re.M)
    assert output.endswith("watermark: 2025-01-15 12:00:00 UTC\n")


def test_the_report_counts_what_waits_and_what_was_seen_before(sample: Ledger, store: Command) -> None:
    sample.receive([Record("a", "2025-01-14"), Record("new", "2025-01-14")])
    found = store("report", "--json").json
    assert (found["pending"], found["duplicates"]) == (2, 0)
    assert "`worker load`" in store("report").out
    sample.load()
    found = store("report", "--json").json
    assert (found["pending"], found["duplicates"]) == (0, 1)
    assert found["dedupe"] == {"hits": 1, "misses": 6, "hit_rate": 1 / 7}


def test_init_says_where_the_database_is(store: Command, tmp_path: Path) -> None:
    ended = store("init", "--json")
    assert ended.json == {
        "database": f"sqlite:///{tmp_path / 'sluice.db'}", "revision": SCHEMA_REVISION, "partitions": 1,
    }  # fmt: skip
    assert (tmp_path / "sluice.db").exists()


def test_digest_prints_the_digest_and_nothing_else(sample: Ledger, store: Command) -> None:
    ended = store("digest")
    assert ended == (0, sample.digest() + "\n", "")
    assert store("digest", "--json").json == {"digest": sample.digest()}


def test_the_digest_of_nothing_is_the_same_everywhere(store: Command) -> None:
    assert store("digest").out == EMPTY_DIGEST + "\n"


def test_batches_come_newest_first_and_no_more_than_asked(sample: Ledger, store: Command) -> None:
    sample.receive([], id="b2")
    assert [each["id"] for each in store("batches", "--json").json] == ["b2", "b1"]
    assert [each["id"] for each in store("batches", "--limit", "1", "--json").json] == ["b2"]
    assert re.search(r"^b1 +shop +a\.json:1-7 +7 +5 +2 +0 +0 +0 +\d{4}-", store("batches").out, re.M)


def test_runs_tell_what_each_did_and_why_it_failed(sample: Ledger, store: Command) -> None:
    sample.tamper("UPDATE run_log SET status = 'failed', error = 'the disk is full'")
    (found,) = store("runs", "--json").json
    assert (found["id"], found["status"], found["records_in"]) == (1, "failed", 5)
    assert found["outcomes"] == {"inserted": 5, "updated": 0, "duplicates": 0, "superseded": 0}
    assert (found["watermark_after"], found["error"]) == ("2025-01-15T12:00:00Z", "the disk is full")
    assert found["duration_seconds"] >= 0
    assert "run 1: the disk is full" in store("runs").out


def test_lineage_is_a_tree_from_the_line_to_the_target(sample: Ledger, store: Command) -> None:
    root, stage, load = store("lineage", "e").out.splitlines()
    assert root == "a.json:5  source shop"
    assert "stage of key e: file → staging, ts 2025-01-15 12:00:00 UTC (batch b1, " in stage
    assert "load: staging → target, inserted (run 1, " in load
    assert load.index("load") > stage.index("stage")


def test_lineage_as_json_is_a_chain_of_entries(sample: Ledger, store: Command) -> None:
    stage, load = store("lineage", "e", "--source", "shop", "--json").json
    assert (stage["step"], stage["from"], stage["to"]) == ("stage", "file", "staging")
    assert (load["step"], load["from"], load["to"]) == ("load", "staging", "target")
    assert load["parent_id"] == stage["id"]
    assert (load["file"], load["line"], load["batch"], load["run"]) == ("a.json", 5, "b1", 1)


def test_lineage_of_a_line_tells_what_became_of_it(sample: Ledger, store: Command) -> None:
    assert (
        "reject: file → dead_letters, malformed_json"
        in store("lineage", "--file", "a.json", "--line", "6").out
    )


def test_versions_of_a_key_are_a_tree_for_each_line(sample: Ledger, store: Command) -> None:
    sample.receive([Record("e", "2025-01-16")], file="b.json")
    roots = [line for line in store("lineage", "e").out.splitlines() if "json:" in line]
    assert roots == ["a.json:5  source shop", "b.json:1  source shop"]


@pytest.mark.parametrize(
    "arguments",
    [("zz",), ("zz", "--json"), ("e", "--source", "usgs"), ("--file", "a.json", "--line", "99")],
    ids=" ".join,
)
def test_lineage_of_what_is_unknown_ends_with_1(
    sample: Ledger, store: Command, arguments: Sequence[str]
) -> None:
    ended = store("lineage", *arguments)
    assert (ended.code, ended.out) == (1, "")
    assert re.fullmatch(r"error: .* is unknown\. .*\n", ended.err)


def test_lineage_by_step_adds_up(sample: Ledger, store: Command) -> None:
    assert store("lineage", "--by-step", "--json").json == {
        "stage": 5, "load": 5, "reject": 2, "skip": 0, "replay": 0
    }  # fmt: skip
    assert re.search(r"^all +12$", store("lineage", "--by-step").out, re.M)


def test_dead_letters_are_chosen_by_reason_source_and_status(sample: Ledger, store: Command) -> None:
    def payloads(*arguments: str) -> list[str]:
        return [
            each["payload"] for each in store("dead-letters", "list", *arguments, "--json").json["letters"]
        ]

    nonsense, no_time = "{ nonsense", '{"key": "g"}'
    assert set(payloads()) == {nonsense, no_time}
    assert payloads("--reason", "missing_timestamp") == [no_time]
    assert len(payloads("--reason", "missing_timestamp", "--reason", "malformed_json")) == 2
    assert payloads("--source", "usgs") == []
    assert len(payloads("--limit", "1")) == 1
    with database.reading(sample.engine) as connection:
        (letter,) = dead_letters.select_letters(connection, reasons=["malformed_json"])
    sample.replay(letter.id)
    assert (payloads(), payloads("--status", "resolved")) == ([no_time], [nonsense])
    assert len(payloads("--status", "all")) == 2
    assert "malformed_json (resolved)" in store("dead-letters", "list", "--status", "all").out


def test_dead_letters_that_are_not_shown_are_counted(sample: Ledger, store: Command) -> None:
    sample.receive([Bad(f"{{ {number}") for number in range(30)])
    assert "20 of 32 shown; the next: store letters list --after 20" in store("dead-letters", "list").out
    assert "shown" not in store("dead-letters", "list", "--limit", "32").out
    assert len(store("dead-letters", "list", "--json").json["letters"]) == 32


def test_one_dead_letter_is_shown_in_full_by_the_first_digits_of_its_id(
    sample: Ledger, store: Command
) -> None:
    letter = store("dead-letters", "list", "--reason", "missing_timestamp", "--json").json["letters"][0]
    output = store("letters", "show", letter["id"][:8]).out
    assert letter["id"] in output
    assert '\n{"key": "g"}\n' in output
    assert "store lineage --file a.json --line 7" in output
    found = store("letters", "show", letter["id"], "--json").json
    assert letter.items() <= found.items()
    assert (found["history"], found["target"], found["key"]) == ([], None, "g")


def test_a_dead_letter_that_is_unknown_or_ambiguous_is_refused(sample: Ledger, store: Command) -> None:
    unknown, ambiguous = store("letters", "show", "zz"), store("letters", "show", "")
    assert (unknown.code, ambiguous.code) == (1, 2)
    assert "begins with 'zz'" in unknown.err


def test_the_watermark_is_shown_with_its_age_and_last_move(sample: Ledger, store: Command) -> None:
    found = store("watermark", "--json").json
    assert found["watermark"] == "2025-01-15T12:00:00Z"
    (source,) = found["sources"]
    assert (source["source"], source["watermark"], source["run"]) == ("shop", "2025-01-15T12:00:00Z", 1)
    assert (source["record_key"], source["problem"]) == ("e", None)
    assert source["age_seconds"] > 0
    assert re.search(
        r"^shop +2025-01-15 12:00:00 UTC +\d+ d.* run 1 +e +valid$", store("watermark").out, re.M
    )


def test_a_corrupt_watermark_is_shown_and_repaired(sample: Ledger, store: Command) -> None:
    sample.tamper("UPDATE watermarks SET value = '2099-01-01T00:00:00.000000Z'")
    shown = store("watermark")
    assert (shown.code, "CORRUPT" in shown.out, "store watermark repair" in shown.out) == (0, True, True)
    assert (
        store("watermark", "repair").out == "shop: was 2099-01-01 00:00:00 UTC, is 2025-01-15 12:00:00 UTC\n"
    )
    assert "valid" in store("watermark").out
    assert store("watermark", "repair", "--json").json == {"repaired": []}


def test_a_watermark_within_the_workers_skew_is_left_alone(
    ledger: Ledger, store: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.receive([Record("a", "2999-01-01")])
    ledger.load()
    monkeypatch.setenv("SLUICE_MAX_FUTURE_SKEW", "500000d")
    assert store("watermark", "repair", "--json").json == {"repaired": []}
    monkeypatch.delenv("SLUICE_MAX_FUTURE_SKEW")
    Path("sluice.toml").write_text('[worker]\nmax_future_skew = "500000d"\ncontract = "mine:Model"\n')
    assert store("watermark", "repair", "--json").json == {"repaired": []}


def test_check_names_both_laws_and_the_batch_that_breaks_one(sample: Ledger, store: Command) -> None:
    holding = store("check")
    assert holding.code == 0
    assert holding.out.count("ok  ") == 4
    sample.tamper("UPDATE batches SET received = 9")
    broken, as_json = store("check"), store("check", "--json")
    assert (broken.code, as_json.code) == (1, 1)
    assert "VIOLATED  received = staged + " in broken.out
    assert "batch 1 (b1): received 9, but 7 have an outcome" in broken.out
    assert as_json.json["holds"] is False
    assert [law["holds"] for law in as_json.json["laws"]] == [False, True, True, True, True]

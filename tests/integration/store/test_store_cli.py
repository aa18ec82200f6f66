from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from store import database
from store.cli import app
from store.database import install
from store.database.schema import SCHEMA_REVISION
from store.settings import StoreSettings
from store.tables import dead_letters
from tests.integration.store.conftest import Bad, Ledger, Record

ROOT = Path(__file__).parents[3]
EMPTY_DIGEST = "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
LOOKS = [
    ("report",),
    ("batches",),
    ("runs",),
    ("lineage", "--by-step"),
    ("lineage", "a"),
    ("lineage", "--file", "a.json", "--line", "6"),
    ("lineage", "--id", "stage-1048576"),
    ("explain", "a"),
    ("runs", "--detail"),
    ("check", "--lineage"),
    ("dead-letters",),
    ("watermark",),
    ("watermark", "repair"),
    ("watermark", "history"),
    ("freshness",),
    ("lateness",),
    ("reconcile",),
    ("check",),
    ("digest",),
    ("init",),
]
# What a command that has nothing to show tells its user to do next.
NEXT_STEPS = {
    ("report",): "producer enqueue FILE",
    ("batches",): "producer enqueue FILE",
    ("dead-letters",): "producer enqueue FILE",
    ("lineage", "--by-step"): "producer enqueue FILE",
    ("runs",): "worker up --burst",
    ("watermark",): "worker up --burst",
    ("freshness",): "worker up --burst",
    ("lateness",): "worker up --burst",
}


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Store = Callable[..., Ended]


@pytest.fixture
def store(
    own_environment: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Store:
    """Runs the command in this process, as its entry point does."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["store", *arguments])
        capsys.readouterr()
        try:
            app.main()
            code: Any = 0
        except SystemExit as ended:
            code = ended.code
        return Ended(code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def sample(ledger: Ledger) -> Ledger:
    """Seven records: five valid, two invalid, all loaded; the latest of 2025-01-15 12:00."""
    records = [Record(key, "2025-01-14") for key in "abcd"]
    latest = Record("e", "2025-01-15T12:00:00.000000Z")
    ledger.receive(
        [*records, latest, Bad("{ nonsense"), Bad('{"key": "g"}', "missing_timestamp", "g")], id="b1"
    )
    ledger.load()
    return ledger


def process(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """The command as a process of its own."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from store.cli.app import main; main()"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], **pipes)


# --- the receipt ---------------------------------------------------------------------------------------


def test_the_report_of_the_sample_is_exactly_this(sample: Ledger, store: Store) -> None:
    found = store("report", "--json").json
    counts = {"received": 7, "staged": 5, "duplicates": 0, "superseded": 0, "rejected": 2, "skipped": 0}
    assert found == {
        "input_records": 7,
        **{name: number for name, number in counts.items() if name != "received"},
        "late": 0,
        "stale": 0,
        "fresh": 5,
        "loaded": 5,
        "inserted": 5,
        "updated": 0,
        "superseded_at_load": 0,
        "pending": 0,
        "target_rows": 5,
        "dead_letters": 2,
        "replayed": 0,
        "lineage_entries": 12,
        "watermark": "2025-01-15T12:00:00Z",
        "watermarks": {"shop": "2025-01-15T12:00:00Z"},
        "reasons": {"malformed_json": 1, "missing_timestamp": 1},
        "by_source": {
            "shop": {
                **counts,
                "late": 0,
                "stale": 0,
                "fresh": 5,
                "target_rows": 5,
                "dead_letters": 2,
                "watermark": "2025-01-15T12:00:00Z",
            }
        },
        "dedupe": {"hits": 0, "misses": 5, "hit_rate": 0.0},
    }


def test_the_report_shows_totals_reasons_sources_and_the_watermark(sample: Ledger, store: Store) -> None:
    said = store("report").out
    assert re.search(r"^input records +7$", said, re.M)
    assert re.search(r"^loaded +5  5 inserted, 0 updated, 0 superseded$", said, re.M)
    assert re.search(r"^missing_timestamp +1$", said, re.M)
    assert re.search(r"^shop +2025-01-15 12:00:00 UTC +7 +5 +0 +0 +2 +0 +5$", said, re.M)
    assert said.endswith("watermark: 2025-01-15 12:00:00 UTC\n")


def test_the_report_counts_what_waits_and_what_was_seen_before(sample: Ledger, store: Store) -> None:
    sample.receive([Record("a", "2025-01-14"), Record("new", "2025-01-14")])
    found = store("report", "--json").json
    assert (found["pending"], found["duplicates"]) == (1, 1)
    assert found["dedupe"] == {"hits": 1, "misses": 6, "hit_rate": 1 / 7}
    assert "`worker load`" in store("report").out


# --- what every command has in common ------------------------------------------------------------------


@pytest.mark.parametrize("arguments", LOOKS, ids=" ".join)
def test_every_command_speaks_json_and_people(sample: Ledger, store: Store, arguments: Sequence[str]) -> None:
    plain, as_json = store(*arguments), store(*arguments, "--json")
    assert (plain.code, as_json.code, plain.err, as_json.err) == (0, 0, "", "")
    assert plain.out.endswith("\n")
    assert as_json.json


@pytest.mark.parametrize("arguments", LOOKS, ids=" ".join)
def test_every_timestamp_in_json_is_iso_8601(sample: Ledger, store: Store, arguments: Sequence[str]) -> None:
    said = re.sub(r'"detail": .*', "", store(*arguments, "--json").out)
    for value in re.findall(r'"(\d{4}-\d\d-\d\d[^"]*)"', said):
        assert ISO.fullmatch(value), value
        assert not value.endswith(("0Z", ".Z")) or "." not in value


@pytest.mark.parametrize(
    "arguments", [look for look in LOOKS if look[-1] not in ("a", "6", "stage-1048576")], ids=" ".join
)
def test_every_command_copes_with_an_empty_store_and_says_what_to_do_next(
    store: Store, arguments: Sequence[str]
) -> None:
    plain, as_json = store(*arguments), store(*arguments, "--json")
    assert (plain.code, as_json.code, plain.err, as_json.err) == (0, 0, "", "")
    assert plain.out.strip()
    assert NEXT_STEPS.get(tuple(arguments), "") in plain.out
    assert as_json.json is not None


def test_every_next_step_is_tested() -> None:
    assert set(NEXT_STEPS) <= set(LOOKS)


@pytest.mark.parametrize(
    "arguments",
    [
        ("nosuch",),
        ("report", "--nosuch"),
        ("runs", "--limit", "0"),
        ("runs", "--limit", "many"),
        ("dead-letters", "--status", "lost"),
        ("dead-letters", "--id", "ab", "--source", "shop"),
        ("lineage",),
        ("lineage", "a", "--by-step"),
        ("lineage", "--file", "a.json"),
        ("lineage", "--line", "3"),
        ("lineage", "--source", "shop", "--by-step"),
        ("watermark", "nosuch"),
    ],
    ids=" ".join,
)
def test_a_slip_ends_with_2_and_says_so_on_standard_error(store: Store, arguments: Sequence[str]) -> None:
    ended = store(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err


# --- each command --------------------------------------------------------------------------------------


def test_init_says_where_the_database_is(store: Store, tmp_path: Path) -> None:
    ended = store("init", "--json")
    assert ended.json == {"database": f"sqlite:///{tmp_path / 'sluice.db'}", "revision": SCHEMA_REVISION}
    assert (tmp_path / "sluice.db").exists()


def test_digest_prints_the_digest_and_nothing_else(sample: Ledger, store: Store) -> None:
    ended = store("digest")
    assert ended == Ended(0, sample.digest() + "\n", "")
    assert store("digest", "--json").json == {"digest": sample.digest()}


def test_the_digest_of_nothing_is_the_same_everywhere(store: Store) -> None:
    assert store("digest").out == EMPTY_DIGEST + "\n"


def test_batches_come_newest_first_and_no_more_than_asked(sample: Ledger, store: Store) -> None:
    sample.receive([], id="b2")
    assert [each["batch"] for each in store("batches", "--json").json] == ["b2", "b1"]
    assert [each["batch"] for each in store("batches", "--limit", "1", "--json").json] == ["b2"]
    assert re.search(r"^b1 +shop +a\.json:1-7 +7 +5 +0 +0 +2 +0 +\d{4}-", store("batches").out, re.M)


def test_runs_tell_what_each_did_and_why_it_failed(sample: Ledger, store: Store) -> None:
    sample.tamper("UPDATE run_log SET status = 'failed', error = 'the disk is full'")
    (found,) = store("runs", "--json").json
    assert (found["run"], found["status"], found["rows"], found["inserted"]) == (1, "failed", 5, 5)
    assert (found["watermark_after"], found["error"]) == ("2025-01-15T12:00:00Z", "the disk is full")
    assert found["duration_seconds"] >= 0
    assert "run 1: the disk is full" in store("runs").out


def test_lineage_is_a_tree_from_the_line_to_the_target(sample: Ledger, store: Store) -> None:
    root, stage, load = store("lineage", "e").out.splitlines()
    assert root == "a.json:5  source shop"
    assert "stage of key e: file → staging, ts 2025-01-15 12:00:00 UTC (batch b1, " in stage
    assert "load: staging → target, inserted (run 1, " in load
    assert load.index("load") > stage.index("stage")


def test_lineage_as_json_is_a_chain_of_entries(sample: Ledger, store: Store) -> None:
    stage, load = store("lineage", "e", "--source", "shop", "--json").json
    assert (stage["step"], stage["from"], stage["to"]) == ("stage", "file", "staging")
    assert (load["step"], load["from"], load["to"]) == ("load", "staging", "target")
    assert load["parent_id"] == stage["id"]
    assert (load["file"], load["line"], load["batch"], load["run"]) == ("a.json", 5, "b1", 1)


def test_lineage_of_a_line_tells_what_became_of_it(sample: Ledger, store: Store) -> None:
    assert (
        "reject: file → dead_letters, malformed_json"
        in store("lineage", "--file", "a.json", "--line", "6").out
    )


def test_versions_of_a_key_are_a_tree_for_each_line(sample: Ledger, store: Store) -> None:
    sample.receive([Record("e", "2025-01-16")], file="b.json")
    roots = [line for line in store("lineage", "e").out.splitlines() if "json:" in line]
    assert roots == ["a.json:5  source shop", "b.json:1  source shop"]


@pytest.mark.parametrize(
    "arguments",
    [("zz",), ("zz", "--json"), ("e", "--source", "usgs"), ("--file", "a.json", "--line", "99")],
    ids=" ".join,
)
def test_lineage_of_what_is_unknown_ends_with_1(
    sample: Ledger, store: Store, arguments: Sequence[str]
) -> None:
    ended = store("lineage", *arguments)
    assert (ended.code, ended.out) == (1, "")
    assert re.fullmatch(r"error: Nothing is known of .*\n", ended.err)


def test_lineage_by_step_adds_up(sample: Ledger, store: Store) -> None:
    assert store("lineage", "--by-step", "--json").json == {
        "stage": 5, "load": 5, "reject": 2, "skip": 0, "replay": 0
    }  # fmt: skip
    assert re.search(r"^all +12$", store("lineage", "--by-step").out, re.M)


def test_dead_letters_are_chosen_by_reason_source_and_status(sample: Ledger, store: Store) -> None:
    def payloads(*arguments: str) -> list[str]:
        return [each["payload"] for each in store("dead-letters", *arguments, "--json").json]

    nonsense, no_time = "{ nonsense", '{"key": "g"}'
    assert set(payloads()) == {nonsense, no_time}
    assert payloads("--reason", "missing_timestamp") == [no_time]
    assert len(payloads("--reason", "missing_timestamp", "--reason", "malformed_json")) == 2
    assert payloads("--source", "usgs") == []
    assert len(payloads("--limit", "1")) == 1
    with database.transaction(sample.engine) as connection:
        (letter,) = dead_letters.select_letters(connection, reasons=["malformed_json"])
        dead_letters.resolve(connection, [letter.id], "2025-01-15T12:00:00.000000Z")
    assert (payloads(), payloads("--status", "resolved")) == ([no_time], [nonsense])
    assert len(payloads("--status", "all")) == 2
    assert "malformed_json (resolved)" in store("dead-letters", "--status", "all").out


def test_dead_letters_that_are_not_shown_are_counted(sample: Ledger, store: Store) -> None:
    sample.receive([Bad(f"{{ {number}") for number in range(30)])
    assert "20 of 32 shown: --limit 32 shows all." in store("dead-letters").out
    assert "shown" not in store("dead-letters", "--limit", "32").out
    assert len(store("dead-letters", "--json").json) == 32


def test_one_dead_letter_is_shown_in_full_by_the_first_digits_of_its_id(sample: Ledger, store: Store) -> None:
    letter = store("dead-letters", "--reason", "missing_timestamp", "--json").json[0]
    said = store("dead-letters", "--id", letter["id"][:8]).out
    assert letter["id"] in said
    assert '\n{"key": "g"}\n' in said
    assert "store lineage --file a.json --line 7" in said
    assert store("dead-letters", "--id", letter["id"], "--json").json == letter


def test_a_dead_letter_that_is_unknown_or_ambiguous_is_refused(sample: Ledger, store: Store) -> None:
    unknown, ambiguous = store("dead-letters", "--id", "zz"), store("dead-letters", "--id", "")
    assert (unknown.code, ambiguous.code) == (1, 2)
    assert "begins with 'zz'" in unknown.err


def test_the_watermark_is_shown_with_its_age_and_last_move(sample: Ledger, store: Store) -> None:
    found = store("watermark", "--json").json
    assert found["watermark"] == "2025-01-15T12:00:00Z"
    (source,) = found["sources"]
    assert (source["source"], source["watermark"], source["run"]) == ("shop", "2025-01-15T12:00:00Z", 1)
    assert (source["record_key"], source["problem"]) == ("e", None)
    assert source["age_seconds"] > 0
    assert re.search(
        r"^shop +2025-01-15 12:00:00 UTC +\d+ d.* run 1 +e +holds$", store("watermark").out, re.M
    )


def test_a_corrupt_watermark_is_shown_and_repaired(sample: Ledger, store: Store) -> None:
    sample.tamper("UPDATE watermarks SET value = '2099-01-01T00:00:00.000000Z'")
    shown = store("watermark")
    assert (shown.code, "CORRUPT" in shown.out, "store watermark repair" in shown.out) == (0, True, True)
    assert (
        store("watermark", "repair").out == "shop: was 2099-01-01 00:00:00 UTC, is 2025-01-15 12:00:00 UTC\n"
    )
    assert "holds" in store("watermark").out
    assert store("watermark", "repair", "--json").json == {"repaired": []}


def test_a_watermark_within_the_workers_skew_is_left_alone(
    ledger: Ledger, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.receive([Record("a", "2999-01-01")])
    ledger.load()
    monkeypatch.setenv("SLUICE_MAX_FUTURE_SKEW", "500000d")
    assert store("watermark", "repair", "--json").json == {"repaired": []}
    monkeypatch.delenv("SLUICE_MAX_FUTURE_SKEW")
    Path("sluice.toml").write_text('[worker]\nmax_future_skew = "500000d"\ncontract = "mine:Model"\n')
    assert store("watermark", "repair", "--json").json == {"repaired": []}


def test_check_names_both_laws_and_the_batch_that_breaks_one(sample: Ledger, store: Store) -> None:
    holding = store("check")
    assert holding.code == 0
    assert holding.out.count("ok  ") == 2
    sample.tamper("UPDATE batches SET received = 9")
    broken, as_json = store("check"), store("check", "--json")
    assert (broken.code, as_json.code) == (1, 1)
    assert "VIOLATED  received = staged + " in broken.out
    assert "batch 1 (b1): received 9, but 7 have an outcome" in broken.out
    assert as_json.json["holds"] is False
    assert [law["holds"] for law in as_json.json["laws"]] == [False, True, True]


# --- hostile text --------------------------------------------------------------------------------------

HOSTILE = "\x1b[2J\x1b]0;owned\x07[red]markup[/red] :boom: \x9b31m\r\n\u202eabc\t\x7f"


@pytest.fixture
def hostile(ledger: Ledger) -> Ledger:
    """Every text that comes from outside tries to take over the terminal."""
    letter = Bad(HOSTILE, reason=f"invalid_{HOSTILE}", key=HOSTILE)
    ledger.receive([Record(HOSTILE, "2025-01-01"), letter], source=HOSTILE, file=HOSTILE, id=HOSTILE)
    ledger.load()
    ledger.tamper("UPDATE run_log SET status = 'failed', error = :error", error=HOSTILE)
    ledger.tamper("UPDATE watermarks SET value = :value", value=HOSTILE)
    ledger.tamper("UPDATE batches SET received = 9")
    return ledger


@pytest.mark.parametrize(
    "arguments",
    [
        ("report",),
        ("batches",),
        ("runs",),
        ("lineage", HOSTILE),
        ("lineage", "--file", HOSTILE, "--line", "2"),
        ("lineage", HOSTILE, "--source", "x" + HOSTILE),
        ("dead-letters",),
        ("dead-letters", "--id", "LETTER"),
        ("watermark",),
        ("watermark", "repair"),
        ("watermark", "history"),
        ("watermark", "set", HOSTILE, "2025-01-02", "--why", HOSTILE),
        ("freshness",),
        ("lateness",),
        ("lateness", "x" + HOSTILE),
        ("check",),
    ],
    ids=lambda arguments: " ".join(arguments[:1]),
)
@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["table", "json"])
def test_text_from_outside_cannot_take_over_the_terminal(
    hostile: Ledger, store: Store, arguments: Sequence[str], as_json: Sequence[str]
) -> None:
    ((letter,),) = hostile.rows("SELECT id FROM dead_letters")
    ended = store(*(letter if each == "LETTER" else each for each in arguments), *as_json)
    said = ended.out + ended.err
    assert not [character for character in said if character != "\n" and ord(character) in range(32)]
    assert not re.search("[\x7f-\x9f]", said)
    if not as_json:
        assert "\u202e" not in said
        assert "💥" not in said
    if arguments[0] != "check":
        assert "\\x1b" in said or "\\u001b" in said


def test_a_payload_of_megabytes_is_shortened_in_the_table(ledger: Ledger, store: Store) -> None:
    ledger.receive([Bad("x" * 2_000_000)])
    table = store("dead-letters").out
    assert "…" in table
    assert len(table) < 2000
    letter = store("dead-letters", "--json").json[0]
    assert len(letter["payload"]) == 2_000_000
    assert len(store("dead-letters", "--id", letter["id"]).out) < 6000


def test_a_payload_that_is_no_text_is_shown_byte_for_byte(ledger: Ledger, store: Store) -> None:
    ledger.receive([Bad("AP/+", "undecodable")])
    ledger.tamper("UPDATE dead_letters SET encoding = 'base64'")
    assert r"\x00\xff\xfe" in store("dead-letters").out


# --- when the database cannot be had -------------------------------------------------------------------


@pytest.mark.parametrize("arguments", LOOKS, ids=" ".join)
def test_an_unusable_database_is_one_line_and_2(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: Sequence[str]
) -> None:
    (tmp_path / "notes.txt").write_text("Buy milk. " * 200)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'notes.txt'}")
    ended = store(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert re.fullmatch(r"error: sqlite:///.*notes\.txt is not a database of Sluice's.*\n", ended.err)


def test_a_password_is_never_shown(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("oracle+cx_oracle://user:s3cret@host/db", "no-such://user:s3cret@host/db"):
        monkeypatch.setenv("DATABASE_URL", value)
        ended = store("report")
        assert ended.code == 2
        assert "s3cret" not in ended.err


def test_a_bad_configuration_is_one_line_naming_the_key(store: Store) -> None:
    Path("sluice.toml").write_text("[store]\nbusy_timeout_seconds = -1\n")
    ended = store("report")
    assert (ended.code, ended.out) == (2, "")
    assert "[store] busy_timeout_seconds = -1" in ended.err
    assert ended.err.count("\n") == 1


# --- as a process --------------------------------------------------------------------------------------


@pytest.fixture
def own_process(own_environment: None, tmp_path: Path) -> None:
    engine = install.prepare(StoreSettings.load())
    engine.dispose()


def test_a_reader_that_goes_away_is_no_error(own_process: None) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with process("report", "--json", stdout=writer) as command:
        os.close(writer)
        _, said = command.communicate(timeout=300)
    assert said == b""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_is_not_utf_8_is_no_error(sample: Ledger, encoding: str) -> None:
    for arguments in (("lineage", "e"), ("report",), ("dead-letters", "--json")):
        with process(*arguments, env={**os.environ, "PYTHONIOENCODING": encoding}) as command:
            said, error = command.communicate(timeout=300)
        assert (command.returncode, error) == (0, b"")
        assert said


def test_help_does_not_load_the_database_libraries(own_process: None) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['store', '--help']\n"
        "from store.cli.app import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    print([name for name in ('sqlalchemy', 'pydantic') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"


def test_an_interrupted_command_ends_with_130(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("store.reports.answers.report", interrupted)
    ended = store("report")
    assert (ended.code, ended.out, ended.err) == (130, "", "")

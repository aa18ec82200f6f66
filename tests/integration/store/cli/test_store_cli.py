from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.integration.store.conftest import Ledger
from tests.integration.store.timing.timeline import Command

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
    ("conflicts",),
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
    ("conflicts",): "producer enqueue FILE",
    ("lineage", "--by-step"): "producer enqueue FILE",
    ("runs",): "worker up --burst",
    ("watermark",): "worker up --burst",
    ("freshness",): "worker up --burst",
    ("lateness",): "worker up --burst",
}


# The sample has no conflicts: `store conflicts` has its own test of the same.
@pytest.mark.parametrize("arguments", [look for look in LOOKS if look != ("conflicts",)], ids=" ".join)
def test_every_command_speaks_json_with_times_of_iso_8601_and_people(
    sample: Ledger, store: Command, arguments: Sequence[str]
) -> None:
    plain, as_json = store(*arguments), store(*arguments, "--json")
    assert (plain.code, as_json.code, plain.err, as_json.err) == (0, 0, "", "")
    assert plain.out.endswith("\n")
    assert as_json.json
    output = re.sub(r'"detail": .*', "", as_json.out)
    for value in re.findall(r'"(\d{4}-\d\d-\d\d[^"]*)"', output):
        assert ISO.fullmatch(value), value
        assert not value.endswith(("0Z", ".Z")) or "." not in value


@pytest.mark.parametrize(
    "arguments", [look for look in LOOKS if look[-1] not in ("a", "6", "stage-1048576")], ids=" ".join
)
def test_every_command_copes_with_an_empty_store_and_says_what_to_do_next(
    store: Command, arguments: Sequence[str]
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
        ("conflicts", "--limit", "0"),
        ("conflicts", "--run", "0"),
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
def test_a_usage_error_ends_with_2_and_is_on_standard_error(store: Command, arguments: Sequence[str]) -> None:
    ended = store(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err


@pytest.mark.parametrize("arguments", LOOKS, ids=" ".join)
def test_an_unusable_database_is_one_line_and_2(
    store: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: Sequence[str]
) -> None:
    (tmp_path / "notes.txt").write_text("Buy milk. " * 200)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'notes.txt'}")
    ended = store(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert re.fullmatch(r"error: sqlite:///.*notes\.txt is not a database of Sluice's.*\n", ended.err)


def test_a_password_is_never_shown(store: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("oracle+cx_oracle://user:s3cret@host/db", "no-such://user:s3cret@host/db"):
        monkeypatch.setenv("DATABASE_URL", value)
        ended = store("report")
        assert ended.code == 2
        assert "s3cret" not in ended.err


def test_a_bad_configuration_is_one_line_naming_the_key(store: Command) -> None:
    Path("sluice.toml").write_text("[store]\nbusy_timeout_seconds = -1\n")
    ended = store("report")
    assert (ended.code, ended.out) == (2, "")
    assert "[store] busy_timeout_seconds = -1" in ended.err
    assert ended.err.count("\n") == 1

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from store import database
from store.database import install
from store.dead_letters import actions
from store.dead_letters.actions import Order
from store.settings import StoreSettings
from tests.integration.store.conftest import Bad, Ledger, Record
from tests.integration.store.timing.timeline import Command

ROOT = Path(__file__).parents[4]


def process(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """The command as a process of its own."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from store.cli.app import main; main()"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], **pipes)


# --- hostile text --------------------------------------------------------------------------------------

HOSTILE = "\x1b[2J\x1b]0;owned\x07[red]markup[/red] :boom: \x9b31m\r\n\u202eabc\t\x7f"


@pytest.fixture
def hostile(ledger: Ledger) -> Ledger:
    """Every text that comes from outside tries to take over the terminal."""
    letter = Bad(HOSTILE, reason=f"invalid_{HOSTILE}", key=HOSTILE)
    ledger.receive([Record(HOSTILE, "2025-01-01"), letter], source=HOSTILE, file=HOSTILE, id=HOSTILE)
    ledger.load()
    with database.transaction(ledger.engine) as connection:
        for verb in ("park", "unpark"):
            actions.begin(connection, Order(verb, {}, HOSTILE, HOSTILE), [])
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
        ("letters",),
        ("letters", "list"),
        ("letters", "show", "LETTER"),
        ("letters", "actions"),
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
    hostile: Ledger, store: Command, arguments: Sequence[str], as_json: Sequence[str]
) -> None:
    ((letter,),) = hostile.rows("SELECT id FROM dead_letters")
    ended = store(*(letter if each == "LETTER" else each for each in arguments), *as_json)
    output = ended.out + ended.err
    assert not [character for character in output if character != "\n" and ord(character) in range(32)]
    assert not re.search("[\x7f-\x9f]", output)
    if not as_json:
        assert "\u202e" not in output
        assert "💥" not in output
    if arguments[0] != "check":
        assert "\\x1b" in output or "\\u001b" in output


def test_a_payload_of_megabytes_is_shortened_in_the_table(ledger: Ledger, store: Command) -> None:
    ledger.receive([Bad("x" * 2_000_000)])
    table = store("letters", "list").out
    assert "…" in table
    assert len(table) < 2000
    letter = store("letters", "list", "--json").json["letters"][0]
    assert len(letter["payload"]) == 2_000_000
    assert len(store("letters", "show", letter["id"]).out) < 6000


def test_a_payload_that_is_no_text_is_shown_byte_for_byte(ledger: Ledger, store: Command) -> None:
    ledger.receive([Bad("AP/+", "undecodable")])
    ledger.tamper("UPDATE dead_letters SET encoding = 'base64'")
    assert r"\x00\xff\xfe" in store("letters", "list").out


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
        _, errors = command.communicate(timeout=300)
    assert errors == b""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_is_not_utf_8_is_no_error(sample: Ledger, encoding: str) -> None:
    for arguments in (("lineage", "e"), ("report",), ("letters", "list", "--json")):
        with process(*arguments, env={**os.environ, "PYTHONIOENCODING": encoding}) as command:
            output, error = command.communicate(timeout=300)
        assert (command.returncode, error) == (0, b"")
        assert output


def test_help_does_not_load_the_database_libraries(own_process: None) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['store', '--help']\n"
        "from store.cli.app import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    print([name for name in ('sqlalchemy', 'pydantic') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "[]"


def test_an_interrupted_command_ends_with_130(store: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("store.reports.answers.report", interrupted)
    ended = store("report")
    assert (ended.code, ended.out, ended.err) == (130, "", "")

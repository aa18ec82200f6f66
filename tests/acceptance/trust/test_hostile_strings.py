"""Names and values that would be commands elsewhere: here they are text, all the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import Any

import pytest

from ..commands import OWN_TERMINALS
from ..sandbox import Sandbox, sandbox

HOSTILE = [
    "'); DROP TABLE target; --",
    '"; DELETE FROM staging; --',
    "x' OR '1'='1",
    "$(touch touched)`touch touched`; touch touched | touch touched",
    "line\n2025-01-15 12:00:00 sluice.jobs batch forged: received 9\r\n",
    "\x1b[2J\x1b[31mred\x1b]0;title\x07\x1b]8;;http://evil/\x07link\x1bP+q\x1b\\",
    "\x9b31m\x9d0;title\x9c\x85\u2028\u2029",
    "\u202egnp.exe\u2066\u200b\ufeff",
    "[bold red]markup[/] [link=http://evil]x[/link] [/] :smile:",
    "=cmd|' /C calc'!A0",
    "+1+cmd", "-1+1", "@SUM(1)", "\t=1", "%s %d %(key)s {0} {key}",
    "../../../etc/passwd",
    "\x08\x08\x7f\x01",
    "😀é" * 40,
]  # fmt: skip
FILE_NAME = "$(touch touched) '; DROP TABLE target; -- \x1b[31m\n\x07[bold]=1.ndjson"


def lines() -> str:
    """A good record and a bad one of each, with the text as key, as a field's name, as value."""
    good = [
        {"key": text, "name": text, "value": n, "ts": "2025-01-15T08:00:00Z", text: text}
        for n, text in enumerate(HOSTILE)
    ]
    bad = [{"key": text, "name": text, "value": text, text: {text: [text]}} for text in HOSTILE]
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in [*good, *bad])


@pytest.fixture(scope="module")
def filled() -> Iterator[Sandbox]:
    """All of it sent, judged and loaded, with every batch logged."""
    with sandbox(**OWN_TERMINALS) as box:
        path = box.folder / FILE_NAME
        path.write_text(lines())
        box.enqueue(FILE_NAME, "--source", "shop")
        box.ok("worker", "up", "--burst", "--verbose")
        yield box


def hostile_bytes(text: str) -> set[str]:
    """What a terminal would obey, or a log would break at."""
    return {character for character in text if character != "\n" and not character.isprintable()}


QUESTIONS = [
    ("store", "report"),
    ("store", "letters", "list"),
    ("store", "lineage", HOSTILE[5]),
    ("store", "lineage", HOSTILE[0]),
    ("store", "watermark"),
    ("store", "check"),
    ("producer", "replay", "--dry-run"),
    ("producer", "enqueue", FILE_NAME, "--source", "shop"),
    ("producer", "enqueue", "\x1b[31mnowhere\n.json"),
    ("producer", "enqueue", "\x1b[31mnowhere.\x9b"),
    ("producer", "enqueue", FILE_NAME, "--source", "\x1b[31m"),
    ("producer", "replay", "--id", "\x1b[31m\n"),
    ("producer", "replay", "--set", "\x1b[31m\n"),
    ("store", "lineage", "\x1b[31mnobody\n"),
]


@pytest.mark.parametrize("words", QUESTIONS, ids=lambda words: ascii(" ".join(words))[:60])
def test_no_escape_code_of_a_stranger_reaches_the_terminal(filled: Sandbox, words: tuple[str, ...]) -> None:
    done = filled.run_here(*words)

    assert "Traceback" not in done.err
    assert hostile_bytes(done.out + done.err) == set()


def test_every_record_arrives_as_it_was_sent(filled: Sandbox) -> None:
    rows = filled.select("SELECT key, name, extra FROM target ORDER BY value")
    assert [(key, name, json.loads(extra)) for key, name, extra in rows] == [
        (text, text, {text: text}) for text in HOSTILE
    ]
    filled.check()


def test_every_payload_of_a_dead_letter_is_the_line_that_was_sent(filled: Sandbox) -> None:
    sent = (filled.folder / FILE_NAME).read_text().split("\n")[len(HOSTILE) : -1]
    assert [payload for (payload,) in filled.select("SELECT payload FROM dead_letters ORDER BY line")] == sent


def test_json_output_holds_the_very_text(filled: Sandbox) -> None:
    found = filled.ok_here("store", "letters", "list", "--json", "--limit", "100")
    text = json.dumps(found.json, ensure_ascii=False)
    assert all(
        json.dumps(json.dumps(each, ensure_ascii=False), ensure_ascii=False)[3:-3] in text for each in HOSTILE
    )
    assert hostile_bytes(found.out) - set("\u2028\u2029\u202e\u2066\u200b\ufeff") == set()


def test_nothing_is_run_and_no_log_line_is_forged(filled: Sandbox) -> None:
    assert not (filled.folder / "touched").exists()
    output = filled.all_output()
    assert "forged" not in "".join(
        line for line in output.splitlines() if line.startswith("2025-01-15 12:00:00")
    )
    assert hostile_bytes("".join(filled.output[:4])) == set()


CONTRACT = """
from pydantic import Field, create_model
from worker.contract import Record

NAMES = {names!r}
Odd = create_model("Odd", __base__=Record, **{{name: (str, ...) for name in NAMES}})
"""
NAMES = [
    'a"; DROP TABLE target; --',
    "b'); DROP TABLE target; --",
    "c [bold] %s :x ?",
    "d\n\x1b[31m",
    "select",
    "é😀",
]


def test_a_contracts_field_may_have_any_name(box: Sandbox) -> None:
    box.file("contract.py", CONTRACT.format(names=NAMES))
    box.env["SLUICE_CONTRACT"] = "contract:Odd"
    good: dict[str, Any] = {"key": "a", "ts": "2025-01-15T08:00:00Z"} | {name: name for name in NAMES}
    bad = {"key": "b", "ts": "2025-01-15T08:00:00Z"}
    box.enqueue(box.file("r.ndjson", f"{json.dumps(good)}\n{json.dumps(bad)}\n"))

    box.ok("worker", "up", "--burst")

    with closing(connect(box.home / "sluice.db")) as connection:
        found = connection.execute("SELECT * FROM target")
        row = dict(zip([each[0] for each in found.description], found.fetchone(), strict=True))
    assert {name: row[name] for name in NAMES} == {name: name for name in NAMES}
    assert hostile_bytes(box.ok_here("store", "letters", "list").out) == set()
    assert box.count("dead_letters") == 1
    box.check()


def test_a_table_of_hostile_cells_is_text_too(box: Sandbox) -> None:
    cells = [text for text in HOSTILE if '"' not in text and "\r" not in text]
    table = "key,name,value,ts\n" + "".join(f'k{n},"{text}",{n},2025-01-15\n' for n, text in enumerate(cells))
    path = Path(box.folder, "table.csv")
    path.write_bytes(table.encode())
    box.enqueue(str(path))

    box.ok("worker", "up", "--burst")

    assert [name for (name,) in box.select("SELECT name FROM target ORDER BY value")] == cells

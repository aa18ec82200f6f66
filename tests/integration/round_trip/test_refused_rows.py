"""Files and rows that `producer replay --from` does not take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from producer.cli import fixed
from store import database
from store.database import generation

from ..plant import Plant, ndjson, row
from ..replaying import Replay, statuses
from .desk import Desk


def test_letters_without_fields_say_so_and_cannot_be_changed(desk: Desk) -> None:
    desk.plant.run(b'[1]\n{"key": \n\xff\xfe\n{"key": "a", "ts": "2025-01-15", "name": "n", "value": "x"}\n')
    rows = desk.export()
    notes = [each["letter.note"] for each in rows]
    assert sorted(notes) == [
        "",
        "no fields: the payload is bytes that do not decode",
        "no fields: the payload is not JSON",
        "no fields: the payload is not an object",
    ]
    assert desk.proof()["from"]["unchanged"] == 4
    desk.save([each | {"value": "1"} for each in rows])
    assert sorted(desk.refusals().values()) == [
        f"{note.removeprefix('no fields: ')}, so no field of it can be changed" for note in sorted(notes)[1:]
    ]


def test_rows_that_do_not_fit_are_refused_by_their_line_and_nothing_is_sent(desk: Desk) -> None:
    plant = desk.plant
    plant.run(ndjson(*(row(key, value="x", account="1234567890123456") for key in "abcdefg")))
    rows = desk.export()
    a, b, c, d, e, f, g = (each | {"value": "1"} for each in rows)
    discarded = plant.action(ids=[e["letter.id"]])
    assert discarded is not None
    f["letter.hash"] = a["letter.hash"][::-1]
    g["account"] = "1.23457E+15"
    unknown = a | {"letter.id": "0" * 32}
    desk.save([a, b, b, unknown, c | {"letter.id": ""}, d, e, f, g])
    refused = desk.refusals()
    assert refused == {
        3: "the letter stands on line 4 too",
        4: "the letter stands on line 3 too",
        5: "this store has no such letter",
        6: "it has no letter.id",
        8: "the letter is replaying by now, not open",
        9: "letter.hash is not that of its payload: were the columns sorted apart?",
        10: "account: the spreadsheet has rounded 1234567890123456 to 1.23457E+15",
    }
    done = desk.send("--dry-run")
    assert done.exit_code == 1
    assert "2 of 2 would be accepted" in done.stdout
    done = desk.send()
    assert (done.exit_code, plant.broker.waiting()) == (1, 0)
    assert "rows of" in str(done.exception)
    assert all(f"line {line}" in done.stderr for line in refused)
    assert desk.send("--skip-refused").exit_code == 0
    desk.plant.send_messages(list(discarded.messages()))
    desk.work()
    assert desk.target() == {"a": 1.0, "d": 1.0}


def test_a_letter_that_moves_on_while_the_file_is_read_stops_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.plant.run(ndjson(row("a", value="x"), row("b", value="x")))
    rows = desk.export()
    desk.save([each | {"value": "1"} for each in rows])

    def meanwhile(_: Any) -> None:
        assert desk.plant.action(ids=[rows[0]["letter.id"]]) is not None

    monkeypatch.setattr(fixed, "_show", meanwhile)
    done = desk.send()
    assert "1 of the letters moved on while the file was read" in str(done.exception)
    assert statuses(desk.plant) == {"a": "replaying", "b": "open"}
    assert len(desk.plant.rows("actions", "seq")) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"key,value\na,1\n", "has no column letter.id"),
        (b'{"key": "a"}\n', "has no letter.id"),
        (b"[1]\n", "has no column letter.id"),
        (b"PK\x03\x04xxxx", "is a workbook"),
        (b"letter.id,letter.hash,letter.store\n\xe4,b,c\n", "is not UTF-8 text: save it as CSV UTF-8"),
    ],
)
def test_a_file_that_is_no_export_is_refused(desk: Desk, content: bytes, says: str) -> None:
    desk.path.write_bytes(content)
    done = desk.send()
    assert done.exit_code != 0
    assert says in str(done.exception)


def test_an_export_of_another_store_is_refused_plainly(
    make_plant: Callable[[], Plant], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = ndjson(row("a", value="x"))
    first = make_plant()
    first.run(content)
    desk = Desk(first, Replay(first, monkeypatch))
    desk.save([each | {"value": "1"} for each in desk.export()])
    second = make_plant()
    if second.engine.dialect.name == "sqlite":  # both are copies of one empty file
        with database.transaction(second.engine) as connection:
            generation.begin(connection.connection.driver_connection)
    second.run(content)
    assert first.letters()[0].id == second.letters()[0].id
    done = Replay(second, monkeypatch)("--from", str(desk.path))
    assert "line 2 is of another store" in str(done.exception)
    assert second.broker.waiting() == 0


def test_an_unknown_column_is_refused_with_the_nearest_name(desk: Desk) -> None:
    desk.plant.run(ndjson(row("a", value="x"), row("b", value="x", other=1)))
    rows = desk.export()
    assert list(rows[0])[-1] == "other"
    desk.save([each | {"valeu": "1"} for each in rows])
    assert "did you mean value? A new field is named raw.valeu" in str(desk.send().exception)
    desk.save([each | {"value": "1", "other": "2", "raw.extra field": "3", "unused": ""} for each in rows])
    assert desk.send().exit_code == 0
    desk.work()
    assert [orjson.loads(each["extra"]) for each in desk.plant.rows()] == [
        {"other": "2", "extra field": "3"},
        {"other": 2, "extra field": "3"},
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "value=1"], "give no filter and no edit"),
        (["--reason", "late"], "give no filter and no edit"),
        (["--resume", "1"], "give nothing else"),
    ],
)
def test_a_file_goes_alone(desk: Desk, arguments: list[str], says: str) -> None:
    assert says in str(desk.send(*arguments).exception)


def test_refused_rows_can_only_be_skipped_of_a_file(replay: Replay) -> None:
    assert "give --from too" in str(replay("--skip-refused").exception)


def test_an_export_cut_short_loses_no_field(desk: Desk, tmp_path: Path) -> None:
    desk.plant.run(ndjson(row("a", value="x"), row("b", value="x")))
    desk.export()
    whole = desk.path.read_bytes()
    desk.path.write_bytes(whole[: whole.rindex(b",")])  # without its last cell
    assert desk.refusals() == {3: "the row ends before the column 'ts'"}

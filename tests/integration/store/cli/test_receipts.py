from __future__ import annotations

from typing import Any

import orjson

from store import database
from store.cli.render import receipts as receipt_tables
from store.reports import receipts
from store.tables import enqueues
from store.tables.enqueues import Enqueue
from tests.integration.store.conftest import Bad, Ledger, Record


def latest(ledger: Ledger, limit: int = 20) -> dict[str, list[dict[str, Any]]]:
    with database.reading(ledger.engine) as connection:
        return receipts.recent(connection, limit)


def an_enqueue(file: str = "a.json") -> Enqueue:
    return Enqueue("file", "shop", file, "json", 10, 1000, 3, 2, 1, 2.5, 0.5, "2025-01-15T12:00:00.000000Z")


def enqueue(ledger: Ledger, *sent: Enqueue) -> list[int]:
    with database.transaction(ledger.engine) as connection:
        return [enqueues.record(connection, each) for each in sent]


def test_a_batch_tells_what_came_in_and_what_went_on(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-01"), Record("a", "2025-01-01"), Bad("{")], id="b1")
    ledger.tamper("UPDATE batches SET reasons = :reasons, seconds = :seconds, late = 2",
                  reasons='{"malformed_json": 1}', seconds='{"dedupe": 0.25, "lock": 0.5}')  # fmt: skip
    (batch,) = latest(ledger)["batches"]
    assert (batch["id"], batch["records_in"], batch["records_out"], batch["late"]) == ("b1", 3, 1, 2)
    assert batch["dedupe"] == {"hits": 1, "misses": 1, "hit_rate": 0.5}
    assert batch["rejects"] == {"malformed_json": 1}
    assert (batch["stages_run"], batch["stage_seconds"], batch["seconds"]) == (
        ["dedupe"], {"dedupe": 0.25, "lock": 0.5}, 0.75
    )  # fmt: skip


def test_a_run_tells_its_outcomes_and_how_the_watermark_moved(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-02"), Record("a", "2025-01-01")])
    ledger.load()
    ledger.tamper("UPDATE run_log SET stage_seconds = '{\"merge\": 0.5}'")
    (run,) = latest(ledger)["runs"]
    assert (run["records_in"], run["records_out"], run["watermark_after"]) == (2, 1, "2025-01-02T00:00:00Z")
    assert run["outcomes"] == {"inserted": 1, "updated": 0, "superseded": 1}
    assert (run["stages_run"], run["stage_seconds"]) == (["merge"], {"merge": 0.5})


def test_an_enqueue_has_a_receipt(ledger: Ledger) -> None:
    assert enqueue(ledger, an_enqueue("a.json"), an_enqueue("b.json")) == [1, 2]
    newest, oldest = latest(ledger)["enqueues"]
    assert (newest["file"], oldest["file"], newest["finished_at"]) == (
        "b.json",
        "a.json",
        "2025-01-15T12:00:00Z",
    )
    assert newest["stage_seconds"] == {"send": 2.0, "wait": 0.5}
    assert newest["outcomes"] == {"batches": 3, "sent_batches": 2, "known_batches": 1}


def test_every_kind_of_receipt_has_the_same_keys(ledger: Ledger) -> None:
    enqueue(ledger, an_enqueue())
    ledger.receive([Record("a", "2025-01-01")])
    ledger.load()
    shapes = {tuple(receipt) for each in latest(ledger).values() for receipt in each}
    assert len(shapes) == 1
    orjson.dumps(latest(ledger))


def test_only_as_many_as_asked_for_are_shown_of_each_kind(ledger: Ledger) -> None:
    for _ in range(3):
        ledger.receive([Record("a", "2025-01-01")])
    assert [len(each) for each in latest(ledger, 2).values()] == [0, 2, 0]


def test_receipts_are_lines_for_people_with_nothing_harmful(ledger: Ledger) -> None:
    enqueue(ledger, an_enqueue("\x1b[31m.json"))
    ledger.receive([Record("a", "2025-01-01"), Bad("{")])
    ledger.load()
    ledger.tamper("UPDATE run_log SET error = :error", error="\x1b[2Jboom")
    text = "\n".join(receipt_tables.receipts(latest(ledger)))
    assert "\x1b" not in text
    assert "2 records in, 1 out (1 staged, 0 duplicates, 0 superseded, 1 rejected, 0 skipped)" in text
    assert "watermark: none → 2025-01-01 00:00:00 UTC" in text
    assert "error: \\x1b[2Jboom" in text


def test_nothing_sent_says_how_to_begin(ledger: Ledger) -> None:
    assert receipt_tables.receipts(latest(ledger)) == [receipt_tables.EMPTY]

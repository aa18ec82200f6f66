from __future__ import annotations

from typing import Any

import orjson

from store import database
from store.cli.render import receipts as receipt_tables
from store.reports import receipts
from store.tables import deliveries
from store.tables.deliveries import Receipt
from tests.integration.store.conftest import Bad, Ledger, Record, a_delivery

SENT = Receipt("json", 10, 1000, 3, 2, 1, 2.5, 0.5)


def latest(ledger: Ledger, limit: int = 20) -> dict[str, list[dict[str, Any]]]:
    with database.reading(ledger.engine) as connection:
        return receipts.recent(connection, limit)


def deliver(ledger: Ledger, *files: str) -> list[int]:
    """Deliveries of these files, sent to their ends."""
    numbers = []
    with database.transaction(ledger.engine) as connection:
        for file in files:
            numbers.append(deliveries.begin(connection, a_delivery(file, file=file)))
            deliveries.finish(connection, file, SENT)
    return numbers


def test_a_batch_tells_what_came_in_and_what_went_on(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-01"), Record("a", "2025-01-01"), Bad("{")], id="b1")
    ledger.load()
    ledger.tamper("UPDATE batches SET reasons = :reasons, seconds = :seconds, late = 2",
                  reasons='{"malformed_json": 1}', seconds='{"validate": 0.25, "lock": 0.5}')  # fmt: skip
    (batch,) = latest(ledger)["batches"]
    assert (batch["id"], batch["records_in"], batch["records_out"], batch["late"]) == ("b1", 3, 2, 2)
    assert batch["outcomes"] == {
        "staged": 2, "rejected": 1, "skipped": 0, "inserted": 1, "updated": 0, "duplicates": 1, "superseded": 0,
    }  # fmt: skip
    assert (batch["dedupe"], batch["conflicts"]) == (None, 0)
    assert batch["rejects"] == {"malformed_json": 1}
    assert (batch["stages_run"], batch["stage_seconds"], batch["seconds"]) == (
        ["validate"], {"validate": 0.25, "lock": 0.5}, 0.75
    )  # fmt: skip


def test_a_run_tells_its_outcomes_and_how_the_watermark_moved(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-02"), Record("a", "2025-01-01"), Record("a", "2025-01-02")])
    ledger.load()
    ledger.tamper("UPDATE run_log SET stage_seconds = '{\"merge\": 0.5}'")
    (run,) = latest(ledger)["runs"]
    assert (run["records_in"], run["records_out"], run["watermark_after"]) == (3, 1, "2025-01-02T00:00:00Z")
    assert run["outcomes"] == {"inserted": 1, "updated": 0, "duplicates": 1, "superseded": 1}
    assert run["dedupe"] == {"hits": 1, "misses": 2, "hit_rate": 1 / 3}
    assert (run["stages_run"], run["stage_seconds"]) == (["merge"], {"merge": 0.5})


def test_a_run_counts_the_conflicts_of_each_source(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-01", "draft")])
    ledger.load()
    ledger.receive([Record("a", "2025-01-01", "final")])
    ledger.load()
    assert [run["conflicts"] for run in latest(ledger)["runs"]] == [{"shop": 1}, {}]


def test_a_delivery_has_a_receipt(ledger: Ledger) -> None:
    assert deliver(ledger, "a.json", "b.json") == [1, 2]
    newest, oldest = latest(ledger)["deliveries"]
    assert (newest["id"], newest["file"], oldest["file"]) == (2, "b.json", "a.json")
    assert (newest["status"], newest["records_in"]) == ("succeeded", 10)
    assert newest["stage_seconds"] == {"send": 2.0, "wait": 0.5}
    assert newest["outcomes"] == {"batches": 3, "sent_batches": 2, "known_batches": 1}


def test_a_delivery_that_was_not_sent_to_its_end_is_unfinished(ledger: Ledger) -> None:
    with database.transaction(ledger.engine) as connection:
        deliveries.begin(connection, a_delivery())
    (delivery,) = latest(ledger)["deliveries"]
    assert (delivery["status"], delivery["finished_at"], delivery["records_in"]) == ("unfinished", None, 0)


def test_every_kind_of_receipt_has_the_same_keys(ledger: Ledger) -> None:
    deliver(ledger, "a.json")
    ledger.receive([Record("a", "2025-01-01")])
    ledger.load()
    shapes = {tuple(receipt) for each in latest(ledger).values() for receipt in each}
    assert len(shapes) == 1
    orjson.dumps(latest(ledger))


def test_only_as_many_as_asked_for_are_shown_of_each_kind(ledger: Ledger) -> None:
    for _ in range(3):
        ledger.receive([Record("a", "2025-01-01")])
    assert [len(each) for each in latest(ledger, 2).values()] == [0, 2, 2]


def test_receipts_are_lines_for_people_with_nothing_harmful(ledger: Ledger) -> None:
    deliver(ledger, "\x1b[31m.json")
    ledger.receive([Record("a", "2025-01-01"), Bad("{")])
    ledger.load()
    ledger.tamper("UPDATE run_log SET error = :error", error="\x1b[2Jboom")
    text = "\n".join(receipt_tables.receipts(latest(ledger)))
    assert "\x1b" not in text
    assert (
        "2 records in, 1 out (1 staged, 1 rejected, 0 skipped, 1 inserted, 0 updated, 0 duplicates, 0 superseded)"
        in text
    )
    assert "watermark: none → 2025-01-01 00:00:00 UTC" in text
    assert "error: \\x1b[2Jboom" in text


def test_nothing_sent_says_how_to_begin(ledger: Ledger) -> None:
    assert receipt_tables.receipts(latest(ledger)) == [receipt_tables.EMPTY]

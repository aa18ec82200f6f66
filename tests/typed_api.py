"""The Python API as a typed program uses it: mypy --strict checks this, and nothing runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, assert_type

from producer import Edit, Outcome, Proof, ReplayReceipt, SendReceipt, asend, prove, replay, send
from store import open_store
from worker import Fault, Verdict, judge


async def use(records: AsyncIterator[dict[str, Any]]) -> None:
    receipt = send([{"key": "a"}, "{}", b"{}"], name="orders", source="shop", wait=True)
    assert_type(receipt, SendReceipt)
    assert_type(receipt.outcome, Outcome | None)
    assert_type(await asend(records, name="orders"), SendReceipt)
    verdict = judge({"key": "a"}, source="shop")
    assert_type(verdict, Verdict)
    assert_type(verdict.faults, tuple[Fault, ...])
    with open_store() as s:
        for row in s.target("shop"):
            assert_type(row, dict[str, Any])
        assert_type(s.letters(field="value", status=None).groups(), list[dict[str, Any]])
        assert_type(s.target().csv("orders.csv"), int)
    assert_type(Edit(cast={"value": "decimal-comma"}).drop, tuple[str, ...])
    proof = prove(field="value", source="shop", edit=Edit(set={"value": 1.5}), first=10)
    assert_type(proof, Proof)
    assert_type(replay(proof, why="corrected", wait=True), ReplayReceipt)

"""A contract that gains a column."""

from worker.contract import Record


class First(Record):
    amount: int
    note: str = ""


class Second(First):
    currency: str | None = None

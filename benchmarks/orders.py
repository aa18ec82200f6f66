"""A contract as people write them, for the commands to import: `contract = "orders:Order"`."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum

from pydantic import Field, field_validator, model_validator

from worker.contract import Record


class Status(StrEnum):
    """The state of an order."""

    OPEN = "open"
    PAID = "paid"
    SHIPPED = "shipped"


class Order(Record):
    """Exact amounts, an enumeration, a date, constraints, and a validator."""

    amount: Decimal = Field(ge=0, max_digits=12, decimal_places=2)
    currency: str = Field(min_length=3, max_length=3)
    status: Status
    day: date
    count: int = Field(ge=1)
    note: str | None = None

    @field_validator("currency")
    @classmethod
    def upper(cls, value: str) -> str:
        return value.upper()


class CheckedOrder(Order):
    """An order whose fields are checked against each other."""

    @model_validator(mode="after")
    def paid_in_full(self) -> CheckedOrder:
        if self.status is Status.SHIPPED and self.amount < 0:
            raise ValueError("an order without an amount is not shipped")
        return self

"""The producer's settings: the size of batches, and how many may wait for the workers."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from store.database.schema import MAX_BATCH_RECORDS
from store.settings import RoomSettings


class ProducerSettings(RoomSettings):
    """The settings of reading and sending files."""

    section: ClassVar[str] = "producer"

    batch_records: int = Field(
        default=20_000, ge=1, le=MAX_BATCH_RECORDS, description="records in a batch, at most"
    )
    batch_bytes: int = Field(default=4 << 20, ge=1024, description="bytes of records in a batch, at most")
    max_record_bytes: int = Field(
        default=1 << 20, ge=16, le=64 << 20, description="a longer record is rejected"
    )
    max_pending_batches: int = Field(
        default=100, ge=1, description="the producer waits while more are queued"
    )
    url_timeout_seconds: float = Field(
        default=30.0, gt=0, description="a server that sends nothing for so long has failed"
    )
    url_max_bytes: int = Field(
        default=4 << 30, ge=1, description="a longer answer of a server is not read further"
    )

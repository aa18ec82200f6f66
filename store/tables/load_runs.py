"""`run_log`: the loader's runs. Counts grow in the transactions of the chunks, so they are always true.

running --> succeeded | failed, and interrupted where the next run finds it unfinished
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, func, select

from store import database, timestamps
from store.database.schema import run_log
from store.tables import leases

OUTCOMES = ("inserted", "updated", "duplicates", "superseded")  # columns


def start(connection: Connection, holder: str, watermark: str | None) -> int:
    """Opens a run and returns its number; what a dead loader left running is now interrupted.

    Dead is whose lease has run out; `holder` itself has one run at a time.
    """
    at = timestamps.now_text()
    others = [each for each in leases.loaders(connection) if each != holder]
    connection.execute(
        run_log.update()
        .where(run_log.c.status == "running", run_log.c.holder.not_in(others))
        .values(
            status="interrupted",
            finished_at=func.coalesce(run_log.c.finished_at, at),  # else when its last chunk was done
            error="the loader died; its finished chunks stand",
        )
    )
    values = {
        "status": "running", "holder": holder, "started_at": at, "watermark_before": watermark,
        "chunks": 0, "seconds": 0.0, **dict.fromkeys(OUTCOMES, 0),
    }  # fmt: skip
    number = connection.execute(run_log.insert().values(values).returning(run_log.c.seq)).scalar_one()
    return int(number)


def add_chunk(
    connection: Connection,
    seq: int,
    outcomes: Mapping[str, int],
    watermark: str | None,
    seconds: float,
    stage_seconds: Mapping[str, float] | None = None,
    conflicts: Mapping[str, int] | None = None,
) -> None:
    """Adds one merged chunk to a run, in the chunk's transaction.

    `stage_seconds` and `conflicts` (source -> count) are those of the run so far.
    """
    connection.execute(
        run_log.update()
        .where(run_log.c.seq == seq)
        .values(
            chunks=run_log.c.chunks + 1,
            seconds=run_log.c.seconds + seconds,
            watermark_after=watermark,
            stage_seconds=orjson.dumps(dict(stage_seconds or {})).decode(),
            conflicts=orjson.dumps(dict(conflicts or {})).decode(),
            finished_at=timestamps.now_text(),
            **{name: run_log.c[name] + number for name, number in outcomes.items()},
        )
    )


def finish(connection: Connection, seq: int, error: str | None = None) -> None:
    """Closes a run: succeeded, or failed with its error."""
    status = "failed" if error else "succeeded"
    connection.execute(
        run_log.update()
        .where(run_log.c.seq == seq)
        .values(status=status, error=error, finished_at=timestamps.now_text())
    )


def recent(connection: Connection, limit: int, before: int | None = None) -> list[dict[str, Any]]:
    """The latest runs, or those before one, newest first."""
    statement = select(run_log).order_by(run_log.c.seq.desc()).limit(limit)
    if before is not None:
        statement = statement.where(run_log.c.seq < before)
    return [database.as_dict(row) for row in connection.execute(statement).mappings()]


def totals(connection: Connection) -> dict[str, int]:
    """The count of each outcome over all runs."""
    sums = [func.coalesce(func.sum(run_log.c[name]), 0) for name in OUTCOMES]
    row = connection.execute(select(*sums)).one()
    return {name: int(number) for name, number in zip(OUTCOMES, row, strict=True)}

"""dlt, the `merge` write disposition, into SQLite through its sqlalchemy destination.

https://dlthub.com/docs/dlt-ecosystem/destinations/sqlalchemy: of the merge strategies it has delete-insert and
scd2 there, and no upsert. Delete-insert keeps the newest of a load by the hint `dedup_sort`; what a load finds
in the table it replaces whatever its time, which makes no difference where the table is empty.

https://dlthub.com/docs/reference/performance: whole pages are yielded, buffers are large, files are rotated so
that two processes can normalize, intermediate files are not compressed. Columns are declared, so no type is
inferred. Two forms of page: lists of dicts, which dlt normalizes row by row, and Arrow tables, which pass
through as Parquet (https://dlthub.com/docs/dlt-ecosystem/verified-sources/arrow-pandas).

python -m contestants.dlt_pipeline FILE FOLDER lists
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from contestants.race import Finish, Race
from contestants.task_queue import HERE

PAGE = 10_000
SETTINGS = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "DATA_WRITER__BUFFER_MAX_ITEMS": "50000",
    "DATA_WRITER__FILE_MAX_ITEMS": "100000",
    "DATA_WRITER__DISABLE_COMPRESSION": "true",
    "NORMALIZE__WORKERS": "2",
    "LOAD__WORKERS": "2",
    "LOAD__DELETE_COMPLETED_JOBS": "true",
}


def run_lists(race: Race) -> Finish:
    return _run(race, "lists")


def run_arrow(race: Race) -> Finish:
    return _run(race, "arrow")


def _run(race: Race, pages: str) -> Finish:
    env = os.environ | SETTINGS | {"DLT_DATA_DIR": str(race.folder), "PYTHONPATH": str(HERE)}
    command = ["-m", "contestants.dlt_pipeline", str(race.file), str(race.folder), pages]
    said = subprocess.run(
        [sys.executable, *command],
        env=env,
        cwd=race.folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=race.limit_seconds,
    ).stdout
    with (race.folder / "dead_letters.ndjson").open() as dead_letters:
        rejected = sum(1 for _ in dead_letters)
    return Finish(float(said.split()[-1]), race.folder / "target.db", rejected)


def main(file: Path, folder: Path, pages: str) -> None:
    """Prints the seconds from the first line read to the end of the load; imports are not counted."""
    import dlt
    import pyarrow
    from sqlalchemy import create_engine, event

    from worker.contract import Event

    schema = pyarrow.schema(
        [
            ("key", pyarrow.string()),
            ("name", pyarrow.string()),
            ("value", pyarrow.float64()),
            ("ts", pyarrow.timestamp("us", tz="UTC")),
        ]
    )

    @dlt.resource(
        name="target",
        primary_key="key",
        write_disposition={"disposition": "merge", "strategy": "delete-insert"},
        columns={
            "key": {"data_type": "text"},
            "name": {"data_type": "text"},
            "value": {"data_type": "double"},
            "ts": {"data_type": "timestamp", "dedup_sort": "desc"},
        },
    )
    def events() -> Iterator[Any]:
        with file.open() as lines, (folder / "dead_letters.ndjson").open("a") as dead_letters:
            while page := list(islice(lines, PAGE)):
                rows = []
                for line in page:
                    try:
                        record = Event.model_validate_json(line)
                    except ValueError:
                        dead_letters.write(line)
                    else:
                        rows.append(
                            {"key": record.key, "name": record.name, "value": record.value, "ts": record.ts}
                        )
                yield rows if pages == "lists" else pyarrow.Table.from_pylist(rows, schema=schema)

    engine = create_engine(f"sqlite:///{folder / 'target.db'}", connect_args={"timeout": 60})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    destination = dlt.destinations.sqlalchemy(engine)
    pipeline = dlt.pipeline("peers", destination=destination, dataset_name="main")
    started = time.perf_counter()
    pipeline.run(events())
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])

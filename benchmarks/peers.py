"""The same file into the same table, by Sluice and by the ways people do it today.

python benchmarks/peers.py                             # 20,000 records a task queue, 200,000 for the others
python benchmarks/peers.py --bulk-records 1000000 --json results.json
python benchmarks/peers.py --only sluice celery

Every contestant validates each line with the contract `Event`, keeps what fails, and upserts the rest into
SQLite: WAL, and the newest `ts` of a key wins. Each is set up as its documentation recommends for throughput;
where, is said in its module under benchmarks/contestants. Task queues get a record a task, a private Redis
each (append-only file, an fsync each second) and two processes. Workers are running before the clock starts,
Sluice's too; the start-up of its producer is counted.

Each table is compared with the bare loop's. The exit code is 1 where a record was lost or doubled.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from contestants import checking, redis_server, task_queue
from contestants.race import Finish, Race, TooLate
from generate import records
from loop import bare_loop
from machine import describe, in_words

from worker.contract import Event

FORKING_SHARE = 4  # forks are so slow that a quarter of the records tells as much
LOG_LINES = 20


@dataclass(frozen=True)
class Contestant:
    name: str
    what: str
    run: str  # module:function, imported when its turn comes
    one_record_a_task: bool = False
    share: int = 1  # it gets one record in so many


CONTESTANTS = (
    Contestant("sluice", "Sluice", "sluice_commands:run"),
    Contestant("loop", "bare loop, transactions of 5,000", "bare_loop:run"),
    Contestant("dlt", "dlt merge, pages of dicts", "dlt_pipeline:run_lists"),
    Contestant("dlt-arrow", "dlt merge, Arrow tables", "dlt_pipeline:run_arrow"),
    Contestant("celery", "Celery, prefork", "celery_tasks:run", True),
    Contestant("dramatiq", "Dramatiq", "dramatiq_actors:run", True),
    Contestant("rq", "RQ, SimpleWorker", "rq_jobs:run_in_process", True),
    Contestant("rq-fork", "RQ, Worker that forks", "rq_jobs:run_forking", True, FORKING_SHARE),
)


@dataclass(frozen=True)
class Course:
    """A file of so many records, and the table that the bare loop made of it."""

    file: Path
    records: int
    reference: Path
    rows: int
    rejected: int


@dataclass(frozen=True)
class Result:
    name: str
    what: str
    records: int
    seconds: float | None
    records_per_second: float | None
    complaints: list[str]


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    options = arguments()
    chosen = [each for each in CONTESTANTS if not options.only or each.name in options.only]
    machine = machine_description()
    print(in_words(machine))
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        folder = Path(name)
        bulk = lay_out(folder, options.bulk_records)
        small = lay_out(folder, options.records)
        print(heading(bulk, small))
        for contestant in chosen:
            for course in courses_of(contestant, chosen, bulk, small, folder):
                result = measure(contestant, course, folder, options.limit_seconds)
                results.append(result)
                print(line_of(result, results, bulk, small), flush=True)
    if options.json:
        options.json.write_text(json.dumps(report(machine, results, bulk, small), indent=2) + "\n")
    if any(result.complaints for result in results):
        sys.exit(1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=20_000, help="for a record a task")
    parser.add_argument("--bulk-records", type=int, default=200_000, help="for Sluice, the loop and dlt")
    parser.add_argument("--only", nargs="+", choices=[each.name for each in CONTESTANTS], metavar="NAME")
    parser.add_argument("--limit-seconds", type=float, default=1800, help="a contestant's time to finish")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    return parser.parse_args()


def lay_out(folder: Path, count: int) -> Course:
    file, reference = folder / f"{count}.ndjson", folder / f"{count}.db"
    if not file.exists():
        with file.open("w") as out:
            out.writelines(records(count))
        bare_loop(file, reference)
    connection = sqlite3.connect(reference)
    [rows] = connection.execute("SELECT count(*) FROM target").fetchone()
    connection.close()
    with file.open() as lines:
        rejected = sum(1 for line in lines if not is_valid(line))
    return Course(file, count, reference, rows, rejected)


def is_valid(line: str) -> bool:
    try:
        Event.model_validate_json(line)
    except ValueError:
        return False
    return True


def courses_of(
    contestant: Contestant, chosen: list[Contestant], bulk: Course, small: Course, folder: Path
) -> list[Course]:
    """Sluice runs both where somebody else runs the small one: few records are mostly start-up."""
    if contestant.share > 1:
        return [lay_out(folder, small.records // contestant.share)]
    if contestant.one_record_a_task:
        return [small]
    beside_queues = contestant.name == "sluice" and any(each.one_record_a_task for each in chosen)
    return [bulk, small] if beside_queues and small != bulk else [bulk]


def measure(contestant: Contestant, course: Course, folder: Path, limit_seconds: float) -> Result:
    own = folder / f"{contestant.name}-{course.records}"
    own.mkdir(mode=0o700)
    said: list[str] = []
    finish: Finish | None = None
    try:
        with redis_of(contestant, own) as redis_url:
            race = Race(
                course.file, course.records, course.rows, course.rejected, own, redis_url, limit_seconds
            )
            finish = function_of(contestant)(race)
        said = checking.complaints(race, course.reference, finish)
    except (TooLate, subprocess.SubprocessError) as error:
        said = [f"did not finish: {error}", *last_words(own)]
    seconds = finish.seconds if finish else None
    return Result(
        contestant.name,
        contestant.what,
        course.records,
        seconds,
        course.records / seconds if seconds else None,
        said,
    )


@contextmanager
def redis_of(contestant: Contestant, own: Path) -> Iterator[str]:
    """A task queue's own Redis, which its module reads from the environment when it is imported."""
    if not contestant.one_record_a_task:
        yield ""
        return
    with redis_server.redis_server(own) as url:
        os.environ[task_queue.REDIS] = url
        yield url


def function_of(contestant: Contestant) -> Callable[[Race], Finish]:
    module, _, name = contestant.run.partition(":")
    function: Callable[[Race], Finish] = getattr(importlib.import_module(f"contestants.{module}"), name)
    return function


def last_words(own: Path) -> list[str]:
    log = own / "workers.log"
    return log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []


def heading(bulk: Course, small: Course) -> str:
    sluice = "".join(f"{f'Sluice, {course.records:,}':>20}" for course in dict.fromkeys((bulk, small)))
    return f"{'':34}{'records':>10}{'seconds':>10}{'records/s':>12}{sluice}"


def line_of(result: Result, results: list[Result], bulk: Course, small: Course) -> str:
    """One row: how long, how fast, how many times as fast Sluice is with many records and with few."""
    line = f"{result.what:34}{result.records:>10,}"
    if result.seconds and result.records_per_second:
        line += f"{result.seconds:>10.2f}{result.records_per_second:>12,.0f}"
    for course in dict.fromkeys((bulk, small)):
        ratio = times_as_fast(result, results, course)
        line += f"{as_ratio(ratio) if ratio else '':>20}"
    return "\n".join([line.rstrip(), *(f"    {complaint}" for complaint in result.complaints)])


def as_ratio(ratio: float) -> str:
    return f"{ratio:,.0f} times as fast" if ratio >= 10 else f"{ratio:.2f} times as fast"


def times_as_fast(result: Result, results: list[Result], course: Course) -> float | None:
    """Sluice's records/s over the result's own; with few records only beside what had no more than those."""
    if result.name == "sluice" or not result.records_per_second or result.records > course.records:
        return None
    for other in results:
        if other.name == "sluice" and other.records == course.records and other.records_per_second:
            return other.records_per_second / result.records_per_second
    return None


def machine_description() -> dict[str, str]:
    return describe() | {"redis-server": redis_server.version()}


def report(machine: dict[str, str], results: list[Result], bulk: Course, small: Course) -> dict[str, object]:
    def ratios(result: Result) -> dict[str, float | None]:
        return {f"{course.records}": times_as_fast(result, results, course) for course in (bulk, small)}

    versions = {each.metadata["Name"]: each.version for each in metadata.distributions()}
    return {
        "machine": machine,
        "versions": dict(sorted(versions.items(), key=lambda item: item[0].lower())),
        "results": [asdict(result) | {"sluice_times_as_fast": ratios(result)} for result in results],
    }


if __name__ == "__main__":
    main()

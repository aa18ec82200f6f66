"""Every figure of docs/performance.md, beside its target: the real commands over the real, private Redis.

python benchmarks/bench.py                               # all parts but the next two, 1,000,000 records: 15 minutes
python benchmarks/bench.py shapes delays                 # some of them
python benchmarks/bench.py shapes --shapes csv mapped    # some of the shapes
python benchmarks/bench.py --records 100000              # sooner
python benchmarks/bench.py large                         # 10,000,000 records: minutes, and 3 GB of disk
python benchmarks/bench.py postgresql                    # SQLite and PostgreSQL, each stage alone: 3 minutes
python benchmarks/bench.py loaders                       # several loaders over partitions of PostgreSQL: 3 minutes
python benchmarks/bench.py --json figures.json           # adds the figures to that file

Machines differ and are shared: the loop one would write for the same shape of records runs beside it, in turns,
and the ratio to it is what counts. Processor time, of all processes together, is what a busy machine changes least.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import generate
import latency
import pipeline
import processor as processor_time
from contestants import checking
from databases import stages as stages_alone
from databases.server import Server
from loop import LOOPS, Cost, bare_loop
from machine import describe, in_words
from shapes import MEASURED

MEMORY_MB, PRODUCER_MEMORY_MB = 200, 100
BY_ITS_LOOP = {"plain": 2.0, "csv": 1.5, "mapped": 1.5, "own contract": 1.5}
PLAIN_PROCESSOR_US = 14


@dataclass
class Bench:
    """One session of measuring."""

    folder: Path
    records: int
    workers: int
    shapes: list[str]
    turns: int | None  # how often a thing is measured, the best counts; None: as each part has it
    figures: dict[str, Any]

    def say(self, what: str, value: float, unit: str, target: str = "", met: bool | None = None) -> None:
        """Prints a figure beside its target, and keeps it."""
        verdict = "" if met is None else "met" if met else "MISSED"
        print(f"{what:58} {value:>12,.2f} {unit:10} {target:>22} {verdict}", flush=True)
        self.figures[what] = {"value": round(value, 3), "unit": unit, "target": target, "met": met}

    def file(self, count: int, shape: str = "plain", **how: float) -> Path:
        named = ["records", str(count), shape.replace(" ", "-"), *map(str, how.values())]
        path = Path(self.folder, "-".join(named) + MEASURED[shape].suffix)
        return path if path.exists() else generate.write(path, count, shape=MEASURED[shape], **how)

    def loop(self, count: int, shape: str = "plain") -> Cost:
        """What the bare loop takes; its table stays until the next loop."""
        for path in self.folder.glob("loop.db*"):
            path.unlink()
        return bare_loop(self.file(count, shape), self.loop_database, shape)

    @property
    def loop_database(self) -> Path:
        return self.folder / "loop.db"


def shapes(bench: Bench) -> None:
    """File to target, for each shape of records beside its own loop, in turns; where the time goes; memory and disk."""
    for name in bench.shapes:
        loops, runs = [], []
        for _ in range(bench.turns or 2):
            loops.append(bench.loop(bench.records, name))
            runs.append(run_of_shape(bench, name))
        report_shape(bench, name, Cost(*map(min, zip(*loops, strict=True))), runs)
        if name == "plain":
            report_resources(bench, runs)


def run_of_shape(bench: Bench, name: str) -> pipeline.Run:
    """Sluice on a shape; its table is compared with that of the loop."""
    with pipeline.Site(MEASURED[name].config()) as site:
        run = pipeline.run(bench.file(bench.records, name), bench.workers, site)
        wrong = checking.differences(site.database, bench.loop_database, LOOPS[name].columns)
    if any(wrong.values()):
        raise SystemExit(f"{name}: the table is not the loop's: {wrong}")
    return run


def report_shape(bench: Bench, name: str, loop: Cost, runs: list[pipeline.Run]) -> None:
    best = min(runs, key=lambda run: run.seconds)
    least = min(runs, key=lambda run: run.processor_us)
    loop_us = loop.cpu_seconds / bench.records * 1e6
    ratio, target = loop.seconds / best.seconds, BY_ITS_LOOP[name]
    bench.say(f"{name}: its loop, {bench.records:,} records", bench.records / loop.seconds, "records/s")
    bench.say(f"{name}: file to target", best.rate, "records/s")
    bench.say(f"{name}: file to target, by its loop", ratio, "x", f">= {target}", ratio >= target)
    bench.say(f"{name}: processor time of its loop", loop_us, "us/record")
    limit = PLAIN_PROCESSOR_US if name == "plain" else None
    bench.say(f"{name}: processor time of all processes", least.processor_us, "us/record",
              f"<= {limit}" if limit else "", least.processor_us <= limit if limit else None)  # fmt: skip
    waits = best.stages["worker: lock"]
    bench.say(f"{name}: workers wait for the write lock", waits, "us/record")
    print(f"    processor time: {in_line(least.processor)}")
    print(f"    time, waits included: {in_line(best.stages)}")
    bench.figures.setdefault("processor time", {})[name] = least.processor
    bench.figures.setdefault("stages", {})[name] = best.stages


def in_line(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {each:.2f}" for name, each in sorted(figures.items()))


def report_resources(bench: Bench, runs: list[pipeline.Run]) -> None:
    memory = max(max(run.peak_mb.values()) for run in runs)
    bench.say("largest process of worker up", memory, "MB", f"<= {MEMORY_MB}", memory <= MEMORY_MB)
    disk = max(run.disk_bytes for run in runs) / bench.file(bench.records).stat().st_size
    bench.say("disk, by the input's bytes", disk, "x", "<= 2.5", disk <= 2.5)


def processor(bench: Bench) -> None:
    """The processor time of a record, by that of the bare loop."""
    count = min(bench.records, 20_000)
    ratio = processor_time.ratio(bench.file(count), bench.turns or 3)
    bench.say(f"processor time of {count:,} records, by the bare loop", ratio, "x", "<= 6.5", ratio <= 6.5)


def producer(bench: Bench) -> None:
    """`producer enqueue` alone, start-up included."""
    file = bench.file(bench.records)
    seconds, peak = pipeline.producer_alone(file)
    bench.say("producer enqueue, NDJSON", bench.records / seconds, "records/s", ">= 400,000",
              bench.records / seconds >= 400_000)  # fmt: skip
    bench.say(f"its peak memory at {bench.records:,} records", peak, "MB", f"<= {PRODUCER_MEMORY_MB}",
              peak <= PRODUCER_MEMORY_MB)  # fmt: skip
    seconds, _ = pipeline.producer_alone(bench.file(bench.records, "csv"))
    bench.say("producer enqueue, CSV", bench.records / seconds, "records/s", ">= 150,000",
              bench.records / seconds >= 150_000)  # fmt: skip
    share = pipeline.redis_share(file)
    bench.say("Redis memory for queued records, by their bytes", share, "x", "<= 0.3", share <= 0.3)


def hard(bench: Bench) -> None:
    """All records invalid, all records known."""
    count = max(bench.records // 5, 1000)
    good = pipeline.run(bench.file(count), bench.workers)
    bad = pipeline.run(bench.file(count, invalid=1.0), bench.workers)
    beside(bench, "all records invalid", bad, "all valid", good, 0.5)
    file = bench.file(bench.records)
    with pipeline.Site() as site:
        first = pipeline.run(file, bench.workers, site)
        site.env["SLUICE_BATCH_RECORDS"] = "19997"
        again = pipeline.run(file, bench.workers, site)
    beside(bench, "the same file again in other cuts", again, "the first time", first, 1.0)


def beside(bench: Bench, what: str, run: pipeline.Run, than: str, other: pipeline.Run, target: float) -> None:
    """How fast one run is by the speed of another, and the processor time of both."""
    ratio = run.rate / other.rate
    bench.say(f"{what}, by the speed of {than}", ratio, "x", f">= {target}", ratio >= target)
    for name, each in ((what, run), (than, other)):
        bench.say(f"  processor time of {name}", each.processor_us, "us/record")
        print(f"    processor time: {in_line(each.processor)}")


def delays(bench: Bench) -> None:
    """One record on an idle system."""
    times = max(4, min(100, bench.records // 100))
    found = latency.measure(times, load_on_idle="true")
    for place, limits in (("staging", (25, 100)), ("target", (150, None))):
        for value, name, limit in zip(found[place], ("p50", "p99"), limits, strict=True):
            target = f"<= {limit}" if limit else ""
            bench.say(f"one record, to its row in {place}, {name}", value, "ms", target,
                      value <= limit if limit else None)  # fmt: skip
    every = 1
    found = latency.measure(max(2, times // 5), load_on_idle="false", load_every_seconds=every)
    limit = every * 1000 + 100
    bench.say("the same to target, loaded every second, p50", found["target"][0], "ms", f"<= {limit}",
              found["target"][0] <= limit)  # fmt: skip


def durability(bench: Bench) -> None:
    """What stricter settings cost, beside the defaults (SQLite FULL, Redis everysec); in turns, the best of each."""
    count = max(bench.records // 5, 1000)
    file = bench.file(count)
    settings = {
        "as shipped": ("FULL", "everysec"),
        "SQLite NORMAL": ("NORMAL", "everysec"),
        "SQLite EXTRA": ("EXTRA", "everysec"),
        "SQLite EXTRA and Redis appendfsync always": ("EXTRA", "always"),
    }
    rates = dict.fromkeys(settings, 0.0)
    for _ in range(bench.turns or 3):
        for name, (synchronous, appendfsync) in settings.items():
            with pipeline.Site(synchronous=synchronous) as site:
                site.run("producer", "enqueue", "/dev/null", "--format", "ndjson")
                site.redis().config_set("appendfsync", appendfsync)
                rates[name] = max(rates[name], pipeline.run(file, bench.workers, site).rate)
    shipped = rates.pop("as shipped")
    bench.say(f"as shipped, {count:,} records", shipped, "records/s")
    for name, rate in rates.items():
        bench.say(f"{name}, by the speed as shipped", rate / shipped, "x")


def growth(bench: Bench) -> None:
    """Seconds against records, from 10,000."""
    sizes = [size for size in (10_000, 100_000, 1_000_000) if size <= bench.records]
    series = bench.figures.setdefault("growth", {})
    for size in sizes:
        series[str(size)] = {
            "sluice": pipeline.run(bench.file(size), bench.workers).seconds, "loop": bench.loop(size).seconds
        }  # fmt: skip
        print(f"  {size:>10,} records: {series[str(size)]}")


def large(bench: Bench) -> None:
    """Ten times as many."""
    many = bench.records * 10
    one = pipeline.run(bench.file(bench.records), bench.workers)
    ten = pipeline.run(bench.file(many), bench.workers)
    ratio = ten.seconds / one.seconds
    bench.say(f"{many:,} records, by the time for a tenth", ratio, "x", "<= 11", ratio <= 11)
    peak = max(ten.peak_mb.values())
    bench.say(f"largest process of worker up at {many:,}", peak, "MB", f"<= {MEMORY_MB}", peak <= MEMORY_MB)
    _, used = pipeline.producer_alone(bench.file(many))
    bench.say(f"the producer's peak memory at {many:,}", used, "MB", f"<= {PRODUCER_MEMORY_MB}",
              used <= PRODUCER_MEMORY_MB)  # fmt: skip
    bench.figures.setdefault("growth", {})[str(many)] = {
        "sluice": ten.seconds,
        "loop": bench.loop(many).seconds,
    }


def postgresql(bench: Bench) -> None:
    """Plain records on SQLite and on PostgreSQL of this machine: each stage alone, then all of it, in turns."""
    names = ("SQLite", "PostgreSQL", "PostgreSQL in 2 partitions")
    found: dict[str, list[stages_alone.Found]] = {name: [] for name in names}
    file = bench.file(bench.records)
    with Server() as server:
        for turn in range(bench.turns or 1):
            for name, runs in found.items():
                url, partitions = None, 2 if "partitions" in name else 1
                if name != "SQLite":
                    url = server.database(f"turn{turn}in{partitions}")
                    server.database(f"turn{turn}in{partitions}b")
                runs.append(stages_alone.measure(file, bench.workers, url, server.process, partitions))
    if len({each.digest for runs in found.values() for each in runs}) != 1:
        raise SystemExit("the databases do not hold the same records")
    stages_alone.report(bench.say, found, bench.records)


def loaders(bench: Bench) -> None:
    """Plain records that are staged on PostgreSQL, loaded by one or more loaders over one or more partitions."""
    file = bench.file(bench.records)
    with Server() as server:
        for partitions, number in stages_alone.IN_PARTITIONS:
            url = server.database(f"in{partitions}by{number}")
            spent = stages_alone.loaders(file, bench.workers, url, server.process, partitions, number)
            what = f"{partitions} partitions, {number} loaders"
            bench.say(f"{what}: loaded", bench.records / spent.clock, "records/s")
            bench.say(
                f"{what}: processor time of the server", spent.server / bench.records * 1e6, "us/record"
            )


PARTS: dict[str, Callable[[Bench], None]] = {
    part.__name__: part
    for part in (shapes, processor, producer, hard, delays, durability, growth, large, postgresql, loaders)
}
BY_NAME_ALONE = ("large", "postgresql", "loaders")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts",
        nargs="*",
        help=f"of {', '.join(PARTS)}; all but {' and '.join(BY_NAME_ALONE)} if none is named",
    )
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--turns", type=int, help="measure each so often; the best counts")
    parser.add_argument("--shapes", nargs="+", choices=MEASURED, default=list(MEASURED), metavar="SHAPE",
                        help=f"of the part `shapes`: {', '.join(MEASURED)}")  # fmt: skip
    parser.add_argument(
        "--json", type=Path, help="keeps the figures in this file, beside those already there"
    )
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    figures = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    figures["machine"] = describe()
    print(in_words(figures["machine"]))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.records, options.workers, options.shapes, options.turns, figures)
        for name in options.parts or [name for name in PARTS if name not in BY_NAME_ALONE]:
            print(f"== {name}: {PARTS[name].__doc__}")
            PARTS[name](bench)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()

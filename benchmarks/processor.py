"""The processor time of a record, by that of the bare loop: jobs and loader in one process, without a queue.

A ratio of processor times depends little on the machine, and little on what else runs on it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from loop import bare_loop
from pipeline import Site


def ratio(file: Path, turns: int) -> float:
    """The least processor time of the pipeline, by the least of the loop, over so many turns each."""
    loops, pipelines = [], []
    for turn in range(turns):
        with Site() as site, environment(site):
            site.run("producer", "enqueue", os.devnull, "--format", "ndjson")  # starts the private Redis
            loops.append(bare_loop(file, site.home / f"loop-{turn}.db").cpu_seconds)
            pipelines.append(pipeline_seconds(file))
            site.run("store", "check")  # no figure without the laws
    return min(pipelines) / min(loops)


def pipeline_seconds(file: Path) -> float:
    """Of processing and loading the file's batches in this process."""
    from producer.feed import Feed
    from producer.settings import ProducerSettings
    from worker import jobs, loader
    from worker.contract import load_contract
    from worker.workplace import close_workplace, workplace

    here = workplace()
    feed = Feed("default", here.worker.source("default"), load_contract(here.worker), ProducerSettings.load())
    with feed.open(str(file)) as opened:
        wires = [message.to_wire() for message in feed.messages(opened, feed.delivery(opened))]

    def process_and_load() -> None:
        for wire in wires:
            jobs.process_batch(wire)
        with here.database() as engine:
            while loader.load(engine, here.worker).number is not None:
                pass

    try:
        return processor_seconds(process_and_load)
    finally:
        close_workplace()


def processor_seconds(do: Callable[[], object]) -> float:
    started = time.process_time()
    do()
    return time.process_time() - started


@contextmanager
def environment(site: Site) -> Iterator[None]:
    """The site's environment in this process."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(site.env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)

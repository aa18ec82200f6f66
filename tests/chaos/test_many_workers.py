"""A few turns of `make chaos-postgresql`: two cuts of the same files to four workers, and a server that is killed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgresql as servers

from . import many_workers


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    """One of their own: it is killed."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-pg-"))
    servers.start(folder, settings=many_workers.LASTING)
    yield folder
    servers.stop(folder)


@pytest.mark.parametrize(
    ("times", "seed", "kill", "partitions", "loaders"),
    [(2, 1, False, 1, 1), (1, 3, True, 1, 1), (1, 4, True, 3, 2)],
    ids=["two cuts", "killed", "in partitions"],
)
def test_the_digest_the_counts_and_the_letters_are_those_of_one_worker_on_sqlite(
    server: Path,
    times: int,
    seed: int,
    kill: bool,
    partitions: int,
    loaders: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended = many_workers.campaign(
        server, times, number=100, kill=kill, seed=seed, partitions=partitions, loaders=loaders
    )
    shown = capsys.readouterr().out
    assert ended == 0, shown
    assert f"{times} of {times} as on SQLite" in shown

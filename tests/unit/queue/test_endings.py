"""A worker whose every job ends the same way at once is told from a job that does."""

from __future__ import annotations

import signal

import pytest

from worker.queue.process.endings import AT_ONCE_SECONDS, DEATH, ENDINGS, Endings, WorkerStuck, death

RAISED = "KeyError at worker/jobs.py:1"
DIED = DEATH + "by SIGSEGV"


def note(endings: Endings, *jobs: str, way: str = RAISED, seconds: float = 0.1) -> None:
    for job in jobs:
        endings.note(job, way, seconds)


def ids(number: int, prefix: str = "job") -> list[str]:
    return [f"{prefix}-{each}" for each in range(number)]


@pytest.mark.parametrize("way", [RAISED, DIED])
def test_so_many_jobs_in_a_row_that_end_alike_say_how_they_did(way: str) -> None:
    endings = Endings()
    note(endings, *ids(ENDINGS - 1), way=way)
    with pytest.raises(WorkerStuck) as raised:
        note(endings, "last", way=way)
    assert way in str(raised.value)
    assert raised.value.exit_code not in (0, 1, 2, 130)


@pytest.mark.parametrize(
    "between", [{"way": ""}, {"way": "ValueError at x:2"}, {"seconds": AT_ONCE_SECONDS + 1}]
)
def test_a_job_that_ends_otherwise_begins_the_count_anew(between: dict[str, object]) -> None:
    endings = Endings()
    for round in range(4):
        note(endings, *ids(ENDINGS - 1, f"round-{round}"))
        note(endings, "another", **between)  # type: ignore[arg-type]


def test_one_job_that_raises_at_every_attempt_says_nothing_against_its_worker() -> None:
    note(Endings(), *["the same"] * (3 * ENDINGS))


def test_one_job_that_ends_its_process_at_every_attempt_does() -> None:
    with pytest.raises(WorkerStuck):
        note(Endings(), *["the same"] * ENDINGS, way=DIED)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (9, "by SIGKILL"),
        (3 << 8, "with exit code 3"),
        (int(signal.SIGSEGV) | 0x80, "by SIGSEGV"),
        (None, "not known"),
    ],
)
def test_a_death_is_described_in_words(status: int | None, words: str) -> None:
    assert death(status).endswith(words)

"""What is checked at the end: the laws, the digest, the Redis dead letter queue, and every single record."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field

from tests.acceptance.sandbox import Sandbox, sandbox

from .records import Content, Expected

REFERENCE_SECONDS = 600.0


@dataclass
class Verdict:
    """Records lost, doubled and invented; and every promise that was broken, as a sentence."""

    lost: int = 0
    doubled: int = 0
    invented: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not (self.lost or self.doubled or self.invented or self.broken)


def judge(site: Sandbox, expected: Expected, calm: str) -> Verdict:
    """Checks a site where all has been processed and loaded; `calm` is the digest of an undisturbed run."""
    verdict = Verdict()
    _compare_records(site, expected, verdict)
    check = site.run_here("store", "check")  # the third of its laws is the Redis DLQ
    if check.code:
        verdict.broken.append(f"store check: {check.out}{check.err}")
    if "unchecked" in check.out.lower() or "wait to be published" in check.out:
        verdict.broken.append(f"store check left something out: {check.out}")
    if (disturbed := site.digest()) != calm:
        verdict.broken.append(f"the digest is {disturbed}, and of an undisturbed run {calm}")
    return verdict


def _compare_records(site: Sandbox, expected: Expected, verdict: Verdict) -> None:
    held: dict[str, Content] = {}
    with closing(sqlite3.connect(f"file:{site.home / 'sluice.db'}?mode=ro", uri=True)) as connection:
        for key, ts, name, value in connection.execute("SELECT key, ts, name, value FROM target"):
            held[key] = (ts.removesuffix("Z"), name, value)
        received = connection.execute("SELECT coalesce(sum(received), 0) FROM batches").fetchone()[0]
        letters = {
            row[0] for row in connection.execute("SELECT payload FROM dead_letters WHERE status = 'open'")
        }
    missing = [key for key, content in expected.target.items() if held.get(key) != content]
    verdict.lost = max(expected.records - received, len(missing) + len(expected.letters - letters))
    verdict.doubled = max(0, received - expected.records)
    strange = [key for key, content in held.items() if (key, content) not in expected.sent]
    verdict.invented = len(strange) + len(letters - expected.letters)
    for name, keys in (("not as expected", missing), ("never sent", strange)):
        if keys:
            shown = [(key, held.get(key), expected.target.get(key)) for key in keys[:3]]
            verdict.broken.append(f"{len(keys)} target rows are {name}: {shown}")


def undisturbed(paths: list[str], site: Sandbox) -> str:
    """The digest of the same files, sent and processed where nothing is killed."""
    with sandbox(SLUICE_CONTRACT=site.env["SLUICE_CONTRACT"]) as calm:
        calm.file("contract.py", (site.folder / "contract.py").read_text())
        calm.enqueue("--max-pending-batches", "10000", *paths)
        burst = calm.start("worker", "up", "--burst").end(REFERENCE_SECONDS)
        assert burst.code == 0, burst.err
        return calm.digest()

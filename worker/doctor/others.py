"""What others have left or are doing: live workers, failed and quarantined jobs, leases of the dead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import rq

from store.terminal import counted
from worker.doctor.findings import Finding, failed, ok, warning
from worker.queue.names import LOADER_QUEUE, RECORDS_QUEUE
from worker.queue.quarantine import SET_ASIDE_KEY
from worker.queue.upkeep.notes import Note, our_version

SHOWN = 3


def workers(live: Sequence[Note]) -> Finding:
    """Whether somebody works, and with our versions."""
    check = "workers"
    strangers = [each for each in live if each.sluice is None and each.is_complete]
    if strangers:
        return failed(
            check,
            f"no worker of this Sluice: {_named(strangers)}; RQ's own fails our jobs",
            "end them; start workers with RQ_WORKER_CLASS=worker.rq_worker.SluiceWorker, or `worker up`",
        )
    if forgotten := [each for each in live if not each.is_complete]:
        return warning(
            check,
            f"Redis has forgotten what {_named(forgotten)} {'is' if len(forgotten) == 1 else 'are'}, as after a "
            "failover",
            "ask again in a few seconds: a worker of ours describes itself again; RQ's own stays unknown, end it",
        )
    ours = (our_version(), rq.__version__)
    different = [each for each in live if (each.sluice, each.rq) != ours]
    numbers = {name: sum(each.queue == name for each in live) for name in (RECORDS_QUEUE, LOADER_QUEUE)}
    described = ", ".join(f"{number} of {name}" for name, number in numbers.items())
    if different:
        theirs = ", ".join(sorted({f"Sluice {each.sluice} with RQ {each.rq}" for each in different}))
        return warning(
            check,
            f"{described}; {_named(different)} {'has' if len(different) == 1 else 'have'} {theirs}, here is "
            f"Sluice {ours[0]} with RQ {ours[1]}",
            "use one version throughout, once all hosts are upgraded",
        )
    missing = [name for name, number in numbers.items() if not number]
    if missing:
        return warning(
            check,
            f"{described}: nobody takes jobs of {' or '.join(missing)}",
            "`worker up`, or `rq worker` and `rq worker loader`",
        )
    return ok(check, f"{described}; all with Sluice {ours[0]}")


def contracts(live: Sequence[Note], ours: Mapping[str, str]) -> Finding:
    """Whether all live workers have this host's contract and mappings."""
    check = "contract of workers"
    other = {
        each.name: names for each in live if each.sluice is not None and (names := _different(each, ours))
    }
    if other:
        sources = sorted({name or "(any other source)" for names in other.values() for name in names})
        few = ", ".join(list(other)[:SHOWN]) + (
            f" and {len(other) - SHOWN} more" if len(other) > SHOWN else ""
        )
        return failed(
            check,
            f"{few} {'has' if len(other) == 1 else 'have'} another contract or mapping than this host, for "
            f"{', '.join(sources[:SHOWN])}{'…' if len(sources) > SHOWN else ''}",
            "give all hosts the same sluice.toml and modules, and restart them; a worker whose files are right "
            "already reads them with the next batch",
        )
    known = len([each for each in live if each.sluice is not None])
    if not known:
        return ok(check, "no worker lives to differ")
    return ok(check, f"{counted(known, 'worker')} with this host's, for {counted(len(ours) - 1, 'source')}")


def _different(worker: Note, ours: Mapping[str, str]) -> list[str]:
    """The sources whose records this worker would judge otherwise; one without an entry is as any other."""

    def of(fingerprints: Mapping[str, str], source: str) -> str | None:
        return fingerprints.get(source, fingerprints.get(""))

    names = sorted({*ours, *worker.fingerprints})
    return [name for name in names if of(worker.fingerprints, name) != of(ours, name)]


def failed_jobs(batches: int, loads: int) -> Finding:
    """Jobs that had all of their attempts."""
    check = "failed jobs"
    if batches or loads:
        return warning(
            check,
            f"{counted(batches, 'batch', 'batches')} and {counted(loads, 'load')} failed for good",
            "see the worker's log; then `rq requeue --all --queue records`, or send the files again",
        )
    return ok(check, "none")


def quarantined(number: int) -> Finding:
    """What was on the queue and was no job."""
    check = "quarantine"
    if number:
        return warning(
            check,
            f"{counted(number, 'entry', 'entries')} of this Redis {'was' if number == 1 else 'were'} no job of ours",
            f"see who else writes there: LRANGE {SET_ASIDE_KEY} 0 -1, and the worker's log",
        )
    return ok(check, "empty")


def leases(dead: Sequence[str]) -> Finding:
    """Locks whose holder died."""
    check = "leases"
    if dead:
        return warning(
            check,
            f"of processes that are dead: {'; '.join(dead[:SHOWN])}",
            "nothing: the next loader of this host takes it over; another host waits for its end",
        )
    return ok(check, "none of a dead process of this host")


def _named(live: Sequence[Note]) -> str:
    few = ", ".join(f"{each.name} on {each.host or 'an unknown host'}" for each in live[:SHOWN])
    return few + (f" and {len(live) - SHOWN} more" if len(live) > SHOWN else "")

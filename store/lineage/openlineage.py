"""The loader's runs as OpenLineage events: START, and COMPLETE, FAIL or ABORT, with datasets and row counts.

What `store check` found last is a run too: FAIL where a law is broken.

`openlineage-python`, the extra `openlineage`, makes and checks the events. The id of a run is made from its
number and start, so a collector that receives a run twice stores it once.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import Connection, func, inspect, select

from store import database, timestamps
from store.database.schema import SHIFT, batches, record_lineage, run_log
from store.errors import ConfigError, SluiceError, UsageError
from store.tables import law_checks
from store.terminal import counted

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, OutputDataset, RunEvent

JOB, CHECK = "sluice.load", "sluice.check"
FILES = "file"  # the namespace of files; their names are those that were sent
ENDS = {"succeeded": "COMPLETE", "failed": "FAIL", "interrupted": "ABORT"}
API_KEY = "OPENLINEAGE_API_KEY"  # the name that the client of OpenLineage uses
TIMEOUT_SECONDS = 10.0


def events(connection: Connection, namespace: str, *, first: int = 1, last: int | None = None) -> list[str]:
    """The events of these runs as JSON, oldest first. Raises ConfigError without the extra, SluiceError."""
    try:
        from openlineage.client.serde import Serde
    except ImportError as error:
        raise ConfigError(
            "OpenLineage events need the extra `openlineage`: pip install 'sluice[openlineage]'"
        ) from error
    wanted = run_log.c.seq.between(first, last) if last else run_log.c.seq >= first
    runs = connection.execute(select(run_log).where(wanted).order_by(run_log.c.seq)).mappings().all()
    if last and not runs:
        raise SluiceError(f"there is no run {last}: `store runs` lists them")
    read = _rows_read(connection, first, last)
    target = _target(connection)
    found = [
        event for run in runs for event in _events(dict(run), namespace, read.get(run["seq"], {}), target)
    ]
    if last is None:  # a check is of all runs
        found += _checks(law_checks.stored(connection), namespace, target)
    return [Serde.to_json(event) for event in found]


def _rows_read(connection: Connection, first: int, last: int | None) -> dict[int, dict[str, int]]:
    """run -> file -> number of rows that the run loaded of the file."""
    loads = record_lineage
    batch = loads.c.id.op(">>")(SHIFT)
    wanted = loads.c.run_seq.between(first, last) if last else loads.c.run_seq >= first
    counted = (
        select(loads.c.run_seq, batch.label("seq"), func.count().label("rows"))
        .where(wanted)
        .group_by(loads.c.run_seq, batch)
        .subquery()
    )
    rows = select(counted.c.run_seq, batches.c.file, func.sum(counted.c.rows)).join(
        batches, batches.c.seq == counted.c.seq
    )
    found: dict[int, dict[str, int]] = defaultdict(dict)
    for run, file, number in connection.execute(rows.group_by(counted.c.run_seq, batches.c.file)):
        found[run][file] = int(number)
    return found


def _target(connection: Connection) -> tuple[str, str, dict[str, str]]:
    """(namespace, name, column -> type) of the target; the namespace has no user or password."""
    columns = {str(each["name"]): str(each["type"]) for each in inspect(connection).get_columns("target")}
    return *database.backend_of(connection).dataset(connection, "target"), columns


def _events(
    run: dict[str, Any], namespace: str, read: dict[str, int], target: tuple[str, str, dict[str, str]]
) -> list[RunEvent]:
    start = _event("START", run["started_at"], run, namespace, _inputs(read, False), [_output(target, None)])
    if run["status"] not in ENDS:
        return [start]
    written = run["inserted"] + run["updated"]
    ended = (ENDS[run["status"]], run["finished_at"] or run["started_at"])
    return [start, _event(*ended, run, namespace, _inputs(read, True), [_output(target, written)])]


def _checks(
    stored: dict[str, tuple[int, str]], namespace: str, target: tuple[str, str, dict[str, str]]
) -> list[RunEvent]:
    """The last check: it failed where the last result of any law is that it is broken."""
    if not stored:
        return []
    from openlineage.client.event_v2 import InputDataset

    at = max(at for _, at in stored.values())
    broken = {law: number for law, (number, _) in sorted(stored.items()) if number}
    error = "; ".join(f"{counted(number, 'violation')} of: {law}" for law, number in broken.items())
    run = {"seq": CHECK, "started_at": at, "error": error}
    looked_at = [InputDataset(namespace=target[0], name=target[1])]
    kinds = ("START", "FAIL" if broken else "COMPLETE")
    return [_event(kind, at, run, namespace, looked_at, [], (CHECK, "CHECK")) for kind in kinds]


def _event(
    kind: str,
    at: str,
    run: dict[str, Any],
    namespace: str,
    inputs: list[InputDataset],
    outputs: list[OutputDataset],
    of: tuple[str, str] = (JOB, "LOAD"),  # the job and its type
) -> RunEvent:
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
    from openlineage.client.facet_v2 import error_message_run, job_type_job

    by = _producer()
    facets: dict[str, Any] = {}
    if run["error"] and kind in ("FAIL", "ABORT"):
        message = error_message_run.ErrorMessageRunFacet(
            message=run["error"], programmingLanguage="PYTHON", producer=by
        )
        facets["errorMessage"] = message
    kind_of_job = job_type_job.JobTypeJobFacet(
        processingType="BATCH", integration="SLUICE", jobType=of[1], producer=by
    )
    id = uuid5(NAMESPACE_URL, f"sluice:{namespace}:{run['seq']}:{run['started_at']}")
    return RunEvent(
        eventType=RunState(kind),
        eventTime=timestamps.to_iso(at),
        run=Run(runId=str(id), facets=facets),
        job=Job(namespace=namespace, name=of[0], facets={"jobType": kind_of_job}),
        inputs=inputs,
        outputs=outputs,
        producer=by,
    )


def _inputs(read: dict[str, int], counted: bool) -> list[InputDataset]:
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import input_statistics_input_dataset as statistics

    return [
        InputDataset(
            namespace=FILES,
            name=file,
            inputFacets={
                "inputStatistics": statistics.InputStatisticsInputDatasetFacet(
                    rowCount=rows, producer=_producer()
                )
            }
            if counted
            else {},
        )
        for file, rows in sorted(read.items())
    ]


def _output(target: tuple[str, str, dict[str, str]], rows: int | None) -> OutputDataset:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics
    from openlineage.client.facet_v2 import schema_dataset

    namespace, name, columns = target
    fields = [schema_dataset.SchemaDatasetFacetFields(name=each, type=kind) for each, kind in columns.items()]
    facets: dict[str, Any] = {
        "schema": schema_dataset.SchemaDatasetFacet(fields=fields, producer=_producer())
    }
    if rows is None:
        return OutputDataset(namespace=namespace, name=name, facets=facets)
    written = statistics.OutputStatisticsOutputDatasetFacet(rowCount=rows, producer=_producer())
    return OutputDataset(
        namespace=namespace, name=name, facets=facets, outputFacets={"outputStatistics": written}
    )


def _producer() -> str:
    return f"urn:sluice:{version('sluice')}"


# --- output -------------------------------------------------------------------------------------------


def write(events: list[str], file: Path) -> None:
    """Writes the events to a file, one a line, and replaces its content. Raises UsageError."""
    try:
        file.write_text("".join(f"{event}\n" for event in events), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--file {str(file)!r} cannot be written: {error.strerror}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: the POST would become a GET, and another server would get the key."""

    def redirect_request(self, *_: Any) -> None:
        return None


def send(events: list[str], url: str) -> None:
    """Sends each event by HTTP POST. Raises UsageError for a bad URL, SluiceError where the server refuses one."""
    parts = _split(url)
    where = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
    opener = urllib.request.build_opener(_NoRedirect())
    for number, event in enumerate(events):
        request = urllib.request.Request(url, event.encode(), _headers(), method="POST")  # noqa: S310 - checked
        sent = f"{number} of {len(events)} events sent; the same runs may be sent again"
        try:
            with opener.open(request, timeout=TIMEOUT_SECONDS):
                pass
        except urllib.error.HTTPError as error:
            error.close()
            raise SluiceError(f"{where} answered {error.code}: {sent}") from None
        except (OSError, ValueError) as error:  # a refusal, a timeout, a bad answer
            reason = getattr(error, "reason", error)
            raise SluiceError(f"{where} cannot be reached ({type(reason).__name__}): {sent}") from None


def _split(url: str) -> SplitResult:
    advice = "--url should be like http://localhost:5000/api/v1/lineage"
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise UsageError(advice)
    if parts.username or parts.password:
        raise UsageError(f"{advice}, without a password: put the key into {API_KEY}")
    return parts


def _headers() -> dict[str, str]:
    key = os.environ.get(API_KEY)
    return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

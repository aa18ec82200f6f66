"""`worker doctor`: a table of checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from store.cli.command import Json, examples
from store.terminal import Exit

if TYPE_CHECKING:
    from rich.table import Table

EXAMPLES = examples("worker doctor", "worker doctor --json", "worker doctor --least-free-mb 1024")
STYLES = {"ok": "", "warning": "yellow", "failed": "red"}
LONGEST = 600


def doctor(
    least_free_mb: Annotated[
        int, typer.Option(help="Free disk below this has failed; below eight times it is a warning.", min=0)
    ] = 256,
    as_json: Json = False,
) -> None:
    """Check what the work stands on.

    Versions, rights, settings, clocks and speed of both servers; disk and files of this host; all live workers.

    Nothing is changed: keys and transactions of the checks are removed and rolled back. A private Redis is started if
    none is configured and none runs. The exit code is 1 if a check has failed; warnings are 0.
    """
    from dataclasses import asdict

    from store.cli.command import show
    from store.settings import StoreSettings
    from worker.doctor.examination import examine, opened
    from worker.doctor.findings import Limits, worst
    from worker.settings import WorkerSettings

    limits = Limits(free_failed=least_free_mb << 20, free_warning=least_free_mb << 23)
    with opened(StoreSettings.load(), WorkerSettings.load(), limits) as site:
        findings = examine(site)
    verdict = worst(findings)
    show({"verdict": verdict, "checks": [asdict(each) for each in findings]}, as_json, doctor_table)
    if verdict == "failed":
        raise typer.Exit(Exit.FAILED)


def doctor_table(found: dict[str, Any]) -> list[Any]:
    """The checks for people, each with its next step below what was found."""
    counts = {
        name: sum(each["verdict"] == name for each in found["checks"]) for name in ("ok", "warning", "failed")
    }
    summed = f"{counts['ok']} ok, {counts['warning']} with a warning, {counts['failed']} failed"
    return [_table(found["checks"]), "", summed]


def _table(checks: list[dict[str, str]]) -> Table:
    from rich.text import Text  # slow to import, and not needed for --json

    from store.cli.render.elements import frame
    from store.text import shortened

    made = frame("Doctor")
    made.add_column("check", no_wrap=True)
    made.add_column("verdict", no_wrap=True)
    made.add_column("found, and the next step", overflow="fold")
    for each in checks:
        text = Text(shortened(each["found"], LONGEST))
        if each["next"]:
            text.append(f"\n-> {shortened(each['next'], LONGEST)}")
        made.add_row(each["check"], Text(each["verdict"], STYLES[each["verdict"]]), text)
    return made

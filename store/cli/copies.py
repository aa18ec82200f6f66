"""`store backup` and `store restore`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from store.cli.command import Json, examples, show
from store.text import encodable, printable, shown_path

if TYPE_CHECKING:
    from store.database.copies import Copied

BACKUP_EXAMPLES = examples("store backup /backups/monday.db", "store backup --force latest.db --json")
RESTORE_EXAMPLES = examples("store restore /backups/monday.db", "store check")
SEND_AGAIN = (
    "What was processed after the backup is not in it: send those files again, in their first order; "
    "`producer enqueue` sends what is missing."
)

File = Annotated[Path, typer.Argument(help="The file of the copy.", show_default=False)]


def backup(
    file: File,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: Json = False,
) -> None:
    """Copy the database to a file, while others use it. The copy is private, of one moment, and verified."""
    from store import database
    from store.database import copies
    from store.settings import StoreSettings

    url = database.existing(StoreSettings.load()).url
    made = copies.back_up(copies.file_of(url), file, force=force, progress=_progress)
    show(_answer(made), as_json, lambda found: [_sentence(found, "is a copy")])


def restore(file: File, as_json: Json = False) -> None:
    """Put a copy in the place of the database. The replaced one is left beside it; nobody may use it meanwhile."""
    from store import database
    from store.database import copies
    from store.reports import answers
    from store.settings import StoreSettings

    path = copies.file_of(database.open_engine(StoreSettings.load()).url)
    made = copies.restore(file, path, progress=_progress)
    laws = [law(True) for law in answers.registered_checks()]
    found = _answer(made) | {
        "replaced": made.replaced and shown_path(encodable(str(made.replaced))),
        "queue": [
            {"law": law.says, "holds": law.holds, "unchecked": law.unchecked, "violations": law.violations}
            for law in laws
        ],
    }
    show(found, as_json, _restored)


def _answer(made: Copied) -> dict[str, Any]:
    from store import timestamps

    last = made.last_batch_at
    return asdict(made) | {
        "file": shown_path(encodable(str(made.file))),
        "replaced": None,
        "last_batch_at": last and timestamps.to_iso(last),
    }


def _sentence(found: dict[str, Any], what: str) -> str:
    until = f", the last of {found['last_batch_at']}" if found["last_batch_at"] else ""
    return printable(
        f"{found['file']} {what}: {found['batches']:,} batches{until}; {found['bytes']:,} bytes, "
        f"generation {found['generation']}."
    )


def _restored(found: dict[str, Any]) -> list[str]:
    lines = [_sentence(found, "is restored")]
    if found["replaced"]:
        lines.append(printable(f"The database that was there is {found['replaced']}."))
    for law in found["queue"]:
        if law["unchecked"]:
            lines.append(
                printable(f"Not done: {law['unchecked']}. Run `store check --repair` when Redis runs.")
            )
        elif law["holds"]:
            lines.append(f"Checked: {law['law']}.")
        lines += [printable(each) for each in law["violations"]]
    return [*lines, SEND_AGAIN]


def _progress(done: int, pages: int) -> None:
    if sys.stderr.isatty():
        share = 100 * done // max(pages, 1)
        print(
            f"\r{share:3} % of {pages:,} pages",
            end="\n" if done >= pages else "",
            file=sys.stderr,
            flush=True,
        )

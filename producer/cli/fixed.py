"""`producer replay --from FILE`: letters back to the queue as a file gives them, or what that would do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from sqlalchemy import ColumnElement, Connection

from producer.cli import replay as replaying
from producer.cli import replay_report as report
from producer.cli.command import Resources
from producer.cli.replay import Options
from producer.replays import permits
from producer.replays.edits import command
from store import database
from store.database.letters import dead_letters as letters_table
from store.dead_letters import proofs
from store.dead_letters.filters import Filter
from store.dead_letters.payloads import FROM, OwnPayloads
from store.dead_letters.proofs import Letters
from store.dead_letters.transfer.fixes import Fixes, read_fixes
from store.errors import UsageError
from store.terminal import Exit, counted, print_json, warn
from store.text import printable


@dataclass(frozen=True)
class Named(Filter):
    """The letters that a file changes."""

    changes: Fixes | None = None

    def to_json(self) -> dict[str, Any]:
        """For an action: where they come from."""
        return {FROM: self.changes.file} if self.changes else {}

    def conditions(self, connection: Connection) -> list[ColumnElement[bool]]:
        """In SQL."""
        ids = list(self.changes.payloads) if self.changes else []
        return [database.member_of(connection, letters_table.c.id, ids)]


def replay_file(file: Path, options: Options, *, skip_refused: bool) -> None:
    """Sends the letters that a file changes back to the queue, or shows what would become of them."""
    with Resources.open() as resources:
        with database.reading(resources.engine) as connection:
            found = read_fixes(connection, file)
        is_whole = not skip_refused and options.first is None
        edit = OwnPayloads.given(found.payloads, is_whole=is_whole)
        options = replace(options, which=Named(changes=found), edit=edit)
        if not options.as_json:
            _show(found)
        is_refused = bool(found.refusals) and not skip_refused
        _list_refused(found)
        if options.dry_run:
            _dry_run(found, options, resources)
            if is_refused:
                raise typer.Exit(Exit.FAILED)
        elif is_refused:
            raise UsageError(
                f"refused rows of {found.file}: {len(found.refusals):,}; so nothing was sent: correct them, take them "
                "out of the file, or give --skip-refused to send the others"
            )
        elif found.payloads:
            replaying.send_letters(options, resources)
        elif options.as_json:
            print_json({"action": None, "letters": 0, "from": found.to_json()})
        else:
            print("no row changes a letter: nothing to replay")


def _dry_run(found: Fixes, options: Options, resources: Resources) -> None:
    written = Letters(resources.engine)
    proof = replaying.prove(options, resources, written)
    stored = permits.permit(proof, options.asked, written)
    if proof.letters:
        with database.transaction(resources.engine) as connection:
            proofs.store(connection, stored)
    if options.as_json:
        shown = {"dry_run": True, "digest": stored.digest, **proof.to_json(), "from": found.to_json()}
        print_json(shown)
    elif found.payloads:
        again = command({FROM: found.file}, options.edit, options.first, "--proof", stored.digest[:12])
        report.show_dry_run(proof, stored.digest, again, as_json=False)
    else:
        print("no row changes a letter: nothing would be replayed")


def _show(found: Fixes) -> None:
    """What the file changes, by column; the first cell of each shows how."""
    how = f" ({found.how})" if found.how else ""
    changed, refused = len(found.payloads), len(found.refusals)
    print(
        printable(
            f"{found.file}: {counted(found.rows, 'row')}{how}: {changed:,} changed, {found.unchanged:,} unchanged, "
            f"{refused:,} refused"
        )
    )
    for each in found.columns.values():
        hints = "".join(f"; {number:,} times {hint}" for hint, number in each.hints.items())
        print(printable(f"{each.cells:>10,}  {each.name}: {each.before} -> {each.after}{hints}"))


def _list_refused(found: Fixes) -> None:
    for each in found.refusals:
        letter = f", letter {each.id[:12]}" if each.id else ""
        warn(f"{found.file}: line {each.line:,}{letter}: {each.why}")

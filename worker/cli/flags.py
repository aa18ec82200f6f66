"""`worker flags`: switch stages on and off, or let them run on a share of the records."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from store.cli.command import Json, changing, examples, group, reading
from store.errors import ConfigError
from store.text import printable

app = group(
    "flags",
    "Which stages run, and on what share of the records.",
    examples("worker flags list", "worker flags set dedupe=off --why 'a trial'"),
)


@app.command("list", epilog=examples("worker flags list", "worker flags list --json"))
def list_flags(as_json: Json = False) -> None:
    """Show each stage's share of the records. Also what sets it, and the latest changes."""
    from store.cli.command import show
    from store.tables import flags
    from worker.settings import WorkerSettings

    configured = WorkerSettings.load().stages.shares()
    with reading() as connection:
        by_hand, changes = flags.overrides(connection), flags.history(connection, 10)
    rows = {
        name: {"share": by_hand.get(name, share), "set_by_hand": name in by_hand, "configured": share}
        for name, share in configured.items()
    }
    show({"flags": rows, "changes": changes}, as_json, flag_table)


def flag_table(found: dict[str, Any]) -> list[Any]:
    """The flags for people: a table, and a line for each change."""
    from store import timestamps
    from store.cli.render.elements import second, table

    rows = [
        (name, in_words(row["share"]), "worker flags set" if row["set_by_hand"] else "configuration")
        for name, row in found["flags"].items()
    ]
    changes = [
        f"{second(timestamps.to_iso(str(change['at'])))}  {change['name']}: {in_words(change['previous'])} to "
        f"{in_words(change['share'])}, by {change['by']}: {change['why']}"
        for change in found["changes"]
    ]
    made = table("Stages", {"stage": "fixed", "share": "text", "from": "text"}, rows)
    return [made, "", *map(printable, changes)] if changes else [made]


def in_words(share: float | None) -> str:
    """A share for people."""
    if share is None:
        return "configured"
    return {0.0: "off", 1.0: "on"}.get(share, f"{share:g} of the records")


@app.command(
    "set",
    epilog=examples(
        "worker flags set dedupe=off",
        "worker flags set validate=0.1 --why 'a trial'",
        "worker flags set dedupe=configured",
    ),
)
def set_flags(
    changes: Annotated[
        list[str], typer.Argument(help="STAGE=on, off, a share from 0 to 1, or `configured`.")
    ],
    why: Annotated[str, typer.Option(help="The reason, stored with the change.")] = "",
) -> None:
    """Change shares from the next batch on. Who, when and why are stored."""
    from store.load.watermark_moves import who
    from store.tables import flags

    shares = [parse(change) for change in changes]
    with changing() as connection:
        for name, share in shares:
            flags.change(connection, name, share, why or "no reason given", who())
    for name, share in shares:
        print(f"{name}: {in_words(share)}, from the next batch on")


def parse(change: str) -> tuple[str, float | None]:
    """`dedupe=off` as (stage, share). Raises ConfigError."""
    from pydantic import ValidationError

    from worker.settings import StageSettings

    name, separator, value = change.partition("=")
    known = StageSettings().shares()
    if not separator or name not in known:
        raise ConfigError(f"{change!r} should be STAGE=VALUE; the stages are {', '.join(known)}")
    if value == "configured":
        return name, None
    try:
        return name, StageSettings.model_validate({name: value}).shares()[name]
    except ValidationError as error:
        raise ConfigError(
            f"{change!r}: the value must be on, off, configured, or a share from 0 to 1"
        ) from error

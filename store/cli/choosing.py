"""The options that choose letters. `@choosing()` adds them to a command, which gets them as one Filter, `which`."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Collection
from enum import StrEnum
from functools import wraps
from inspect import Parameter
from typing import Annotated, Any

import typer

from store.dead_letters.filters import Filter
from store.errors import UsageError

Command = Callable[..., None]


class Status(StrEnum):
    """Which dead letters."""

    OPEN = "open"
    REPLAYING = "replaying"
    PARKED = "parked"
    RESOLVED = "resolved"
    DISCARDED = "discarded"
    ALL = "all"

    @property
    def state(self) -> str | None:
        """None for all."""
        return None if self is Status.ALL else self.value


def _texts(name: str, metavar: str, help: str) -> Any:
    return Annotated[list[str] | None, typer.Option(name, metavar=metavar, help=help)]


def _text(name: str, metavar: str, help: str) -> Any:
    return Annotated[str | None, typer.Option(name, metavar=metavar, help=help)]


Which = Annotated[Status, typer.Option("--status", help="Letters in this state, or all.")]
All = Annotated[bool, typer.Option("--all", help="Every letter; without it, choose some.")]
# A field of `Filter` -> its option. They combine; those with several values match any of them.
OPTIONS: dict[str, Any] = {
    "ids": _texts("--id", "ID", "Only this letter: its id, or the first digits of it; may be repeated."),
    "groups": _texts(
        "--group", "ID", "Only of this group: its id, or the first digits of it; see `store letters`."
    ),
    "reasons": _texts("--reason", "TEXT", "Only with this reason; may be repeated."),
    "fields": _texts("--field", "NAME", "Only with a fault at this field; may be repeated."),
    "rules": _texts("--rule", "TEXT", "Only with a fault of this rule."),
    "shapes": _texts("--shape", "TEXT", "Only with a value of this shape."),
    "source": _text("--source", "TEXT", "Only of this source."),
    "file": _text("--file", "TEXT", "Only of this file, as the list shows it."),
    "delivery": Annotated[
        int | None,
        typer.Option(metavar="N", help="Only of records rejected in this delivery: see `store account`."),
    ],
    "since": _text("--since", "TS", "Only seen at this time or later; ISO 8601."),
    "until": _text("--until", "TS", "Only seen before this time."),
    "superseded": Annotated[
        bool | None,
        typer.Option(
            "--superseded", help="Only those whose key, or line of the same file, was loaded since."
        ),
    ],
}


def choosing(
    *, status: Status | None = None, some: bool = False, without: Collection[str] = ()
) -> Callable[[Command], Command]:
    """Puts the options in the position of the command's parameter `which`.

    `status` is the default of `--status`; None: the command has no such option. With `some`, letters must be
    chosen: by options or by `--all`, never by none. `without` names options that the command has for something else.
    """
    added: dict[str, tuple[Any, Any]] = {
        name: (option, None) for name, option in OPTIONS.items() if name not in without
    }
    if status:
        added["status"] = (Which, status)
    if some:
        added["every"] = (All, False)

    def decorate(command: Command) -> Command:
        @wraps(command)
        def chosen(**given: Any) -> None:
            command(which=_filter({name: given.pop(name) for name in added}), **given)

        parameters = []
        for own in inspect.signature(command, eval_str=True).parameters.values():
            if own.name != "which":
                parameters.append(own.replace(kind=Parameter.KEYWORD_ONLY))
                continue
            parameters += [
                Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=option)
                for name, (option, default) in added.items()
            ]
        # What typer reads the options from.
        chosen.__annotations__ = {each.name: each.annotation for each in parameters}
        chosen.__dict__["__signature__"] = inspect.Signature(parameters)
        return chosen

    return decorate


def arguments(which: Filter) -> str:
    """The options that choose these letters, as they are typed; a blank before each."""
    found = []
    for name in OPTIONS:
        value = getattr(which, name)
        if isinstance(value, bool):
            found += [f"--{name}"] if value else []
            continue
        option = f"--{name.removesuffix('s') if isinstance(value, list | tuple) else name}"
        for each in value if isinstance(value, list | tuple) else [value]:
            found += [] if each is None else [option, shlex.quote(str(each))]
    if which.status != Status.OPEN:
        found += ["--status", which.status or Status.ALL.value]
    return "".join(f" {each}" for each in found)


def _filter(given: dict[str, Any]) -> Filter:
    """What the options choose. Raises UsageError where nothing chooses, or `--all` stands beside what does.

    A blank value is refused: it is a variable of a script that is not set, and would choose all letters.
    """
    for name in ("source", "file", "since", "until"):
        if given.get(name) is not None and not given[name].strip():
            raise UsageError(f"--{name} is blank: leave it out to choose letters by other options")
    every, status = given.pop("every", None), given.pop("status", None)
    lists = {name: tuple(value or ()) for name, value in given.items() if isinstance(value, list | tuple)}
    which = Filter(**{name: value for name, value in (given | lists).items() if value is not None})
    if every is not None and which.is_empty != every:
        raise UsageError(
            "choose letters with options such as --group, --id, --reason or --source; --all alone takes every letter"
        )
    return which if status is None else Filter(**{**vars(which), "status": status.state})

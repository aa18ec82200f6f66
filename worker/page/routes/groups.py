"""Groups of letters: what, since when, samples; the command that would fix them, and the forms that act."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from sqlalchemy import Connection
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from store.dead_letters import groups as counted
from store.dead_letters import paging
from store.dead_letters.edits import CASTS
from store.dead_letters.filters import Filter
from store.dead_letters.matching import group_id
from store.dead_letters.paging import Ask, Cursor
from store.dead_letters.transfer import as_test
from store.dead_letters.transfer import export as exporting
from store.errors import UsageError
from store.reports import counts
from store.reports import letters as answers
from worker.page import commands
from worker.page.answering import acting, field, given, page, problem, reading, see, site_of
from worker.page.commands import option
from worker.page.masking import Masks
from worker.page.routes.letters import STATUSES, letter_row
from worker.page.site import Site

MOST_GROUPS = 200
SAMPLES = 10
MOST_EXPORTED = 100_000
AT_ONCE_SECONDS = 5.0
VERBS = {"park": "parked", "discard": "discarded", "unpark": "open again"}


def group_row(masks: Masks, group: dict[str, Any]) -> dict[str, Any]:
    """A group as the page shows it."""
    mask = masks.source(group["source"])
    return {**group, "faults": [mask.fault(each) for each in group["faults"]]}


@reading
def listed(request: Request, connection: Connection) -> Response:
    """The largest groups in a state, or of a source."""
    status, source = given(request, "status") or "open", given(request, "source")
    if status not in STATUSES:
        raise UsageError(f"status = {status!r} is none: it is one of {', '.join(STATUSES)}")
    which = Filter(source=source, status=None if status == "all" else status)
    found = answers.grouped(connection, which, MOST_GROUPS)
    site = site_of(request)
    rows = [group_row(site.masks, each) for each in found["groups"]]
    return page(
        request,
        "groups.html",
        groups=rows,
        more=found["next"] is not None,
        most=MOST_GROUPS,
        in_state=status,
        source=source,
        seen=counts.letters(connection),
        states=STATUSES,
        suggestions=site.suggestions,
    )


@reading
def shown(request: Request, connection: Connection) -> Response:
    """One group."""
    site, id = site_of(request), group_id(connection, request.path_params["id"])
    found = counted.select_groups(connection, status=None, ids=[id])
    if not found:
        raise UsageError(f"group {id[:12]} has no letters any more: they were pruned")
    [group] = found
    status = given(request, "status") or "open"
    which = Filter(groups=[id], status=None if status == "all" else status)
    after = given(request, "after")
    read = next(paging.pages(connection, which, Ask(SAMPLES, Cursor.of(after) if after else None)))
    letters = [letter_row(site.masks, each) for each in answers.letters_json(connection, read.letters)]
    name = id[:12]
    return page(
        request,
        "group.html",
        group=group_row(site.masks, group),
        name=name,
        letters=letters,
        next=str(read.next) if read.next else None,
        in_state=status,
        states=STATUSES,
        suggestion=site.suggestions.get(id),
        casts=list(CASTS),
        fields=sorted({each["field"] for each in group["faults"] if each.get("field")}),
        typed=commands.shown(["producer", "suggest", name]),
    )


# --- downloads ---


@reading
def exported(request: Request, connection: Connection) -> Response:
    """The open letters of a group as a file for a spreadsheet."""
    id = group_id(connection, request.path_params["id"])
    if why := _not_exported(site_of(request), connection, id):
        return problem(request, 409, "Not exported", why)
    file = tempfile.TemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115 - closed when it is sent
    exporting.write_csv(connection, Filter(groups=[id], status="open").conditions(connection), file)
    return _attached(file, f"letters-{id[:12]}.csv", "text/csv; charset=utf-8")


@reading
def as_pytest(request: Request, connection: Connection) -> Response:
    """Some letters of a group as a pytest file."""
    id = group_id(connection, request.path_params["id"])
    if why := _not_exported(site_of(request), connection, id):
        return problem(request, 409, "Not exported", why)
    file = io.StringIO()
    as_test.write_test(connection, Filter(groups=[id], status="open").conditions(connection), file)
    return _attached(file, f"test_letters_{id[:12]}.py", "text/plain; charset=utf-8")


def _not_exported(site: Site, connection: Connection, id: str) -> str | None:
    command = f"`store letters export --group {id[:12]} --output FILE`"
    if site.masks.hides:
        return f"This page hides values, and an export without them could not be sent back. Use {command}."
    [group] = counted.select_groups(connection, status=None, ids=[id])
    if group["open"] > MOST_EXPORTED:
        return f"The group has {group['open']:,} open letters, and the page exports {MOST_EXPORTED:,}. Use {command}."
    return None


def _attached(file: IO[str], name: str, kind: str) -> Response:
    file.seek(0)

    def parts() -> Iterator[str]:
        with file:
            while part := file.read(1 << 16):
                yield part

    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(parts(), media_type=kind, headers=headers)


# --- acting ---


@acting
def suggest(request: Request, form: FormData, by: str) -> Response:
    """Tries the usual edits on a group."""
    del form, by
    id = request.path_params["id"]
    return _begun(request, ["producer", "suggest", id, "--json"], id)


@acting
def prove(request: Request, form: FormData, by: str) -> Response:
    """Proves an edit of a group, or none: sends nothing."""
    del by
    id = request.path_params["id"]
    words = ["producer", "replay", option("group", id), *edit_of(form)]
    if first := field(form, "first"):
        words.append(option("first", first))
    return _begun(request, [*words, "--dry-run", "--json"], id)


def edit_of(form: FormData) -> list[str]:
    """The options of the edit that a form gives: one that a suggestion names, or one that was typed."""
    given = {name: [str(each) for each in form.getlist(name) if str(each).strip()] for name in commands.EDITS}
    name, how, value = (field(form, each) for each in ("field", "how", "value"))
    if how and not name:
        raise UsageError("the edit names no field: give one, or leave the edit out")
    if how in ("drop",):
        given["drop"].append(name)
    elif how.startswith("cast:"):
        cast = how.removeprefix("cast:")
        if cast == "time" and not value:
            raise UsageError("a format is missing: give it as the value, like %d.%m.%Y")
        given["cast"].append(f"{name}={f'time:{value}' if cast == 'time' else cast}")
    elif how in ("rename", "default", "set"):
        if how == "rename" and not value:
            raise UsageError("the new name of the field is missing: give it as the value")
        given[how].append(f"{name}={value}")
    elif how:
        raise UsageError(f"{how!r} is no edit")
    return commands.edit_options(given)


def _begun(request: Request, words: list[str], group: str) -> Response:
    works = site_of(request).works
    id = works.begin(words, group)
    work = works.find(id)
    if work is not None:
        work.wait(AT_ONCE_SECONDS)
    return see(f"/trials/{id}")


@acting
def moved(request: Request, form: FormData, by: str) -> Response:
    """Parks, unparks or discards the letters of a group."""
    verb, id = request.path_params["verb"], request.path_params["id"]
    if verb not in VERBS:
        raise UsageError(f"{verb!r} is nothing that is done to a group")
    return done_to(request, ["store", "letters", verb, option("group", id)], form, by)


def done_to(request: Request, words: list[str], form: FormData, by: str) -> Response:
    """Runs an action over letters to its end, and shows it."""
    site = site_of(request)
    words += [option("why", field(form, "why")), option("by", by)]
    if until := field(form, "until"):
        words.append(option("until", until))
    done = commands.run([*words, "--json"], site.start)
    if done.code:
        raise UsageError(done.why)
    site.today.forget()
    found = done.json
    if not found.get("seq"):
        raise UsageError("no letter is in a state for it any more")
    return see(f"/actions/{found['seq']}")

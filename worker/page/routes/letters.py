"""Letters: pages of them, one in full, and its payload as a file."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from store.database.letters import STATES
from store.dead_letters import paging
from store.dead_letters.filters import Filter
from store.dead_letters.matching import letter_id
from store.dead_letters.paging import Ask, Cursor
from store.errors import InputError, SluiceError, UsageError
from store.payload import to_bytes
from store.reports import answers, counts
from store.reports import letters as reports
from store.reports.one_letter.attempts import Attempt
from store.reports.one_letter.target import CORRECTED, WOULD, Outlook
from store.reports.one_letter.view import LetterView, view
from store.tables import dead_letters
from worker.page.answering import acting, given, page, problem, reading, site_of
from worker.page.commands import option
from worker.page.drawing import tree
from worker.page.masking import HIDDEN, Mask, Masks
from worker.page.text import SHOWN_BYTES

PER_PAGE = 25
IN_ROW = 120
FILTERS = ("source", "file")
STATUSES = (*STATES, "all")


def letter_row(masks: Masks, letter: dict[str, Any]) -> dict[str, Any]:
    """A letter as a row of a table."""
    mask = masks.source(letter["source"])
    head = to_bytes(letter["payload"][: 4 * IN_ROW], letter["encoding"]).decode("utf-8", "backslashreplace")
    return {
        **letter,
        "errors": [mask.fault(each) for each in letter["errors"]],
        "record_key": mask.key(letter["record_key"]),
        "loaded_since": _loaded(mask, letter["loaded_since"]),
        "payload": mask.text(head[:IN_ROW]) if mask.hides else head[:IN_ROW],
        "is_cut": len(head) > IN_ROW,
    }


def _loaded(mask: Mask, loaded: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if loaded is None else {**loaded, "key": mask.key(loaded["key"])}


@reading
def listed(request: Request, connection: Connection) -> Response:
    """A page of letters that match."""
    status = given(request, "status") or "open"
    if status not in STATUSES:
        raise UsageError(f"status = {status!r} is none: it is one of {', '.join(STATUSES)}")
    chosen: dict[str, Any] = {name: given(request, name) for name in FILTERS}
    reason, name = given(request, "reason"), given(request, "field")
    which = Filter(
        status=None if status == "all" else status,
        reasons=[reason] if reason else (),
        fields=[name] if name else (),
        **chosen,
    )
    after = given(request, "after")
    read = next(paging.pages(connection, which, Ask(PER_PAGE, Cursor.of(after) if after else None)))
    rows = [
        letter_row(site_of(request).masks, each) for each in reports.letters_json(connection, read.letters)
    ]
    query = {"status": status, "reason": reason, "field": name, **chosen}
    return page(
        request,
        "letters.html",
        letters=rows,
        next=str(read.next) if read.next else None,
        is_first=after is None,
        is_whole=not any((reason, name, *chosen.values())),
        seen=counts.letters(connection),
        total=paging.count(connection, which),
        query={key: value for key, value in query.items() if value},
        in_state=status,
        states=STATUSES,
    )


@reading
def shown(request: Request, connection: Connection) -> Response:
    """One letter: payload, faults beside its fields, what happened to it, where its record came from and went."""
    id = letter_id(connection, request.path_params["id"])
    seen = view(connection, id)
    found, letter = seen.to_json(), seen.letter
    mask = site_of(request).masks.source(letter.source)
    text = mask.payload(letter)
    raw = text.encode("utf-8", "backslashreplace")
    faults = [mask.fault(each) for each in found["errors"]]
    entries = _lineage(connection, id)
    return page(
        request,
        "letter.html",
        letter={**found, "record_key": mask.key(found["record_key"])},
        name=id[:12],
        faults=faults,
        fields=_fields(mask, seen, faults),
        payload=raw[:SHOWN_BYTES].decode("utf-8", "ignore"),
        is_cut=len(raw) > SHOWN_BYTES,
        hides=mask.hides,
        history=[_event(mask, each) for each in found["history"]],
        loaded_since=_loaded(mask, found["loaded_since"]),
        held=seen.held,
        values=_values(mask, seen),
        attempts=[_attempt(mask, each) for each in seen.attempts],
        outlook=_outlook(mask, seen.outlook),
        entries=entries,
        picture=tree("The lineage of this record", entries) if entries else None,
    )


def _fields(mask: Mask, seen: LetterView, faults: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each field of the payload with the faults at it or within it; none where the payload has no fields."""
    roots = [fault.path[0] if fault.path else None for fault in seen.faults]
    try:
        values = mask.fields(seen.letter)
    except InputError:
        return []
    return [
        {
            "name": name,
            "value": value[:SHOWN_BYTES],
            "faults": [each for each, root in zip(faults, roots, strict=True) if root == name],
        }
        for name, value in values.items()
    ]


def _values(mask: Mask, seen: LetterView) -> list[dict[str, Any]]:
    """What the target holds, field by field, beside the letter's own values."""
    rows = [asdict(each) for each in seen.held.values] if seen.held else []
    for row in rows:
        if mask.is_hidden(row["field"]) or (row["raw"] and mask.is_hidden(row["raw"])):
            row |= {"held": HIDDEN, "own": HIDDEN if row["raw"] else None}
    return rows


def _attempt(mask: Mask, attempt: Attempt) -> dict[str, Any]:
    changes = [
        {
            "name": each.name,
            "before": mask.text(each.before, each.name),
            "after": mask.text(each.after, each.name),
        }
        for each in attempt.changes
    ]
    edit = mask.text(attempt.edit) if attempt.edit and mask.hides else attempt.edit
    errors = [mask.fault(each) for each in attempt.errors]
    return {**asdict(attempt), "edit": edit, "changes": changes, "errors": errors, "payload": None}


def _outlook(mask: Mask, found: Outlook | None) -> dict[str, Any] | None:
    """What a replay would do, in words."""
    if found is None:
        return None
    return {
        "would": WOULD[found.as_it_is],
        "why": mask.text(found.why),
        "faults": [mask.fault(each) for each in found.faults],
        "corrected": CORRECTED.get(found.corrected or ""),
    }


def _event(mask: Mask, event: dict[str, Any]) -> dict[str, Any]:
    errors = [mask.fault(each) for each in event["errors"] or []]
    sent = mask.json_text(event["payload"])[:SHOWN_BYTES] if event["payload"] else None
    return {**event, "errors": errors, "payload": sent}


def _lineage(connection: Connection, id: str) -> list[dict[str, Any]]:
    try:
        return answers.lineage_of_id(connection, id)
    except SluiceError:  # its batch is gone from the lineage: the letter is shown without
        return []


@reading
def payload(request: Request, connection: Connection) -> Response:
    """The payload as a file, byte for byte; without what is hidden."""
    id = letter_id(connection, request.path_params["id"])
    [letter] = dead_letters.select_letters(connection, status=None, ids=[id])
    mask = site_of(request).masks.source(letter.source)
    if mask.hides and not mask.show_values:
        return problem(
            request, 403, "Not downloaded", "This page hides values: `store letters show` has them."
        )
    raw = mask.payload(letter).encode("utf-8", "backslashreplace") if mask.hides else letter.raw
    headers = {"content-disposition": f'attachment; filename="letter-{id[:12]}.txt"'}
    return Response(raw, media_type="application/octet-stream", headers=headers)


@acting
def moved(request: Request, form: FormData, by: str) -> Response:
    """Parks, unparks or discards one letter."""
    from worker.page.routes.groups import VERBS, done_to

    verb, id = request.path_params["verb"], request.path_params["id"]
    if verb not in VERBS:
        raise UsageError(f"{verb!r} is nothing that is done to a letter")
    return done_to(request, ["store", "letters", verb, option("id", id)], form, by)

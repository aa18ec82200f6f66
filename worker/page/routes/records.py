"""A record by its key: the row that the target holds, what became of the others, and all of it as a picture."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from store.errors import SluiceError
from store.lineage import explain as reasons
from store.reports import answers
from worker.page.answering import given, page, reading, site_of
from worker.page.drawing import MOST_BOXES, tree
from worker.page.masking import Masks

ENTRIES = 200


@reading
def searched(request: Request, connection: Connection) -> Response:
    """What is known of a key."""
    key, source = given(request, "key"), given(request, "source")
    if key is None:
        return page(
            request, "records.html", key="", source=source, found=None, why=None, entries=[], picture=None
        )
    try:
        found = reasons.explain(connection, key, source)
    except SluiceError as error:
        why = str(error)
        return page(
            request,
            "records.html",
            404,
            key=key,
            source=source,
            found=None,
            why=why,
            entries=[],
            picture=None,
        )
    entries = answers.lineage_of_key(connection, key, source)
    return page(
        request,
        "records.html",
        key=key,
        source=source,
        found=masked(site_of(request).masks, found),
        why=None,
        entries=entries[:ENTRIES],
        total=len(entries),
        picture=tree(f"The lineage of {len(entries)} entries", entries),
        is_cut=len(entries) > MOST_BOXES,
    )


def masked(masks: Masks, found: dict[str, Any]) -> dict[str, Any]:
    """The history of a key without what is hidden."""
    shown = []
    for each in found["sources"]:
        holds = each["holds"]
        if holds:
            holds = {**holds, "values": masks.source(each["source"]).value(holds["values"])}
        shown.append({**each, "holds": holds})
    return {**found, "sources": shown}

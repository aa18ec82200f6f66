"""Actions: who decided what and why, what became of the letters, and what can be stopped or undone."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from store.dead_letters import actions
from store.errors import UsageError
from store.reports import letters as reports
from worker.page import commands
from worker.page.answering import acting, number, page, reading, see, site_of
from worker.page.commands import option
from worker.page.routes.groups import done_to
from worker.page.routes.runs import news

PER_PAGE = 20
NOT_UNDONE = {
    "replay": "What was loaded cannot be taken back: send a correction.",
    "unpark": "Park the letters again.",
    "undo": "Repeat the action that was undone.",
    "prune": "What was deleted is gone.",
}


def _shown(action: dict[str, Any]) -> dict[str, Any]:
    edit = action["edit"]
    waiting = action["outcomes"].get("waiting", 0)
    return {
        **action,
        "edit": orjson.dumps(edit).decode() if edit is not None else None,
        "filter": orjson.dumps(action["filter"]).decode() if action["filter"] else None,
        "done": action["letters"] - waiting,
        "not_undone": NOT_UNDONE.get(action["verb"]),
        "can_stop": action["verb"] == "replay" and bool(waiting),
    }


@reading
def listed(request: Request, connection: Connection) -> Response:
    """The latest actions."""
    found = reports.acted(connection, PER_PAGE + 1, number(request, "before"))
    rows = [_shown(each) for each in found[:PER_PAGE]]
    before = rows[-1]["seq"] if len(found) > PER_PAGE else None
    return page(request, "actions.html", actions=rows, before=before, **news(request, connection, "actions"))


@reading
def shown(request: Request, connection: Connection) -> Response:
    """One action."""
    seq = request.path_params["seq"]
    action = actions.find(connection, seq)
    return page(request, "action.html", action=_shown(reports.action_report(action)))


@acting
def undone(request: Request, form: FormData, by: str) -> Response:
    """Undoes a discard or a park."""
    return done_to(request, ["store", "letters", "undo", str(request.path_params["seq"])], form, by)


@acting
def stopped(request: Request, form: FormData, by: str) -> Response:
    """Stops a replay: letters that were not sent are open again."""
    del form, by
    seq, site = request.path_params["seq"], site_of(request)
    done = commands.run(["producer", "replay", option("stop", str(seq)), "--json"], site.start)
    if done.code:
        raise UsageError(done.why)
    site.today.forget()
    return see(f"/actions/{seq}")

"""What a command has found: suggestions, a proof; and the button that does exactly what was proved."""

from __future__ import annotations

import threading
import time
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from store import database, timestamps
from store.dead_letters import actions, proofs
from store.dead_letters import groups as counted
from store.errors import UsageError
from store.tables import dead_letters
from worker.page import commands
from worker.page.answering import acting, field, page, problem, reading, see, site_of
from worker.page.commands import Started, option
from worker.page.site import Site, Work

LONGEST_SECONDS = 30.0
POLL_SECONDS = 0.05


@reading
def shown(request: Request, connection: Connection) -> Response:
    """A command that runs, or what it has found."""
    site, id = site_of(request), request.path_params["id"]
    work = site.works.find(id)
    if work is None:
        why = "The page does not know this work any more: it remembers the latest ones, until it ends. Begin it again."
        return problem(request, 404, "Nothing found", why)
    done = work.wait(0.2)
    typed = commands.shown(list(work.words))
    if done is None:
        back = f"/groups/{quote(work.group, safe='')}"
        return page(request, "working.html", typed=typed, back=back, name="the group")
    if done.code and not done.out:
        return problem(request, 409, "The command has refused", done.why)
    if work.words[:2] == ["producer", "suggest"]:
        [found] = [done.json] if isinstance(done.json, dict) else done.json[:1] or [None]
        if found is not None:
            masked = suggestions(site, found)
            site.suggestions[found["group"]] = (timestamps.to_iso(timestamps.now_text()), masked)
        return see(f"/groups/{work.group}#fixes")
    return page(
        request, "proof.html", id=id, typed=typed, group=work.group, proof=proof(site, connection, done.json)
    )


def suggestions(site: Site, found: dict[str, Any]) -> dict[str, Any]:
    """What `producer suggest` has found, without what is hidden."""
    mask = site.masks.source(found["source"])
    shown = []
    for each in found["suggestions"]:
        change = each["sample"]
        sample = (
            None if change is None else {side: mask.value(change[side] or {}) for side in ("before", "after")}
        )
        still = [{**fault, "faults": [mask.fault(one) for one in fault["faults"]]} for fault in each["still"]]
        hidden = mask.hides and any(mask.is_hidden(name) for name in _fields(each["edit"]))
        evidence = mask.text(each["evidence"]) if hidden else each["evidence"]
        edit = each["edit"] or {}
        shown.append(
            {**each, "sample": sample, "still": still, "evidence": evidence, "options": options_of(edit)}
        )
    ambiguous = [{**each, "why": mask.text(each["why"], each["field"])} for each in found["ambiguous"]]
    notes = [mask.text(each) if mask.hides else each for each in found["notes"]]
    return {**found, "suggestions": shown, "ambiguous": ambiguous, "notes": notes}


def _fields(edit: dict[str, Any] | None) -> list[str]:
    return [str(name) for part in (edit or {}).values() for name in part]


def options_of(edit: dict[str, Any]) -> list[tuple[str, str]]:
    """An edit as the fields of a form: (option, what is typed after it)."""
    found = []
    for name in ("rename", "cast"):
        found += [(name, f"raw.{old}={new}") for old, new in edit.get(name, {}).items()]
    found += [("drop", f"raw.{each}") for each in edit.get("drop", ())]
    for name in ("default", "set"):
        values = edit.get(name, {})
        found += [(name, f"raw.{each}={_typed(value)}") for each, value in values.items()]
    return found


def _typed(value: Any) -> str:
    import orjson

    return orjson.dumps(value).decode()


def proof(site: Site, connection: Connection, found: dict[str, Any]) -> dict[str, Any]:
    """What `producer replay --dry-run` has found, without what is hidden."""
    ids = [each["id"] for each in found["samples"]] + [each["sample"] for each in found["failures"]]
    letters = dead_letters.select_letters(connection, status=None, ids=ids) if ids else []
    sources = {each.id: each.source for each in letters}
    samples = []
    for each in found["samples"]:
        mask = site.masks.source(sources.get(each["id"], ""))
        samples.append({**each, **{side: mask.json_text(each[side]) for side in ("before", "after")}})
    failures = []
    for each in found["failures"]:
        mask = site.masks.source(sources.get(each["sample"], ""))
        first: dict[str, Any] = next(iter(each["faults"]), {})
        failures.append({**each, "message": mask.text(each["message"], first.get("field"))
                         if mask.is_hidden(first.get("field")) else each["message"]})  # fmt: skip
    return {**found, "samples": samples, "failures": failures}


@acting
def replay(request: Request, form: FormData, by: str) -> Response:
    """Sends the letters of a proof, and no others; refused where it does not hold any more."""
    site, id = site_of(request), request.path_params["id"]
    work = site.works.find(id)
    if work is None or work.done is None or not work.done.out:
        raise UsageError("the page does not know this proof any more: prove the fix again")
    digest = proved_digest(work)
    with database.reading(site.engine) as connection:
        before = actions.last(connection)
    words = [
        "producer",
        "replay",
        option("proof", digest),
        option("why", field(form, "why")),
        option("by", by),
    ]
    if above := field(form, "stop-above"):
        words.append(option("stop-above", above))
    started = site.start([*words, "--json"])
    seq = _begun(site, started, digest, before)
    site.today.forget()
    site.suggestions.pop(_group(site, work.group), None)
    return see(f"/actions/{seq}")


def proved_digest(work: Work) -> str:
    """The digest of what was proved. Raises UsageError where nothing was."""
    found = work.done.json if work.done else None
    if not isinstance(found, dict) or not found.get("digest") or not found.get("letters"):
        raise UsageError("no letters were proved, so there is nothing to send")
    return str(found["digest"])


def _begun(site: Site, started: Started, digest: str, before: int) -> int:
    """The number of the action, as soon as there is one. Raises UsageError with the words of a refusal."""
    until = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < until:
        done = started.wait(POLL_SECONDS)
        with database.reading(site.engine) as connection:
            seq = proofs.proved_by(connection, digest, before)
        if seq is not None:
            if done is None:  # it goes on sending, and somebody must read what it prints
                threading.Thread(target=started.wait, daemon=True).start()
            return seq
        if done is not None:
            raise UsageError(
                done.why if done.code else "no letter of the proof is open any more: nothing was sent"
            )
    threading.Thread(target=started.wait, daemon=True).start()
    raise UsageError("the command has not begun yet: look at Actions before you send it again")


def _group(site: Site, prefix: str) -> str:
    with database.reading(site.engine) as connection:
        ids = counted.ids_that_begin(connection, prefix)
    return ids[0] if len(ids) == 1 else prefix

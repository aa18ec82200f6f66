"""What `store letters show` prints for people, from 80 columns on: the facts of one letter, part by part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from store.cli.render.elements import second
from store.cli.render.letters import error_text
from store.reports.one_letter.attempts import Attempt
from store.reports.one_letter.chain import Step
from store.reports.one_letter.faults import Fault
from store.reports.one_letter.target import CORRECTED, WOULD, Held, Outlook
from store.reports.one_letter.view import LetterView
from store.text import printable, shortened
from store.timestamps import to_iso

MAX_PAYLOAD = 4096  # characters
MAX_VALUE = 300
MAX_NAME = 34
NOT_THERE = "(not there)"
DIFFERS = {True: "≠", False: "", None: "?"}
STEPS = {"reject": "rejected", "replay": "sent back", "stage": "staged", "load": "loaded", "skip": "skipped"}
ENDS = {"accept": "accepted", "reject again": "rejected again", "sending": "on its way"}


def letter(found: LetterView) -> list[Any]:
    """One dead letter in full."""
    parts = [
        _facts(found),
        _payload(found),
        _fields(found),
        *(_attempt(each) for each in found.attempts),
        _history(found),
        _chain(found),
        _target(found),
        _outlook(found.outlook),
    ]
    shown: list[Any] = []
    for part in parts:
        things = list(part)
        shown += ["", *things] if shown and things else things
    if found.letter.status == "open":
        shown += ["", f"What would fix its group: `producer suggest {found.letter.group_id[:8]}`"]
    return shown


def _facts(found: LetterView) -> Iterator[Any]:
    letter = found.letter
    first, last, resolved = (
        second(to_iso(at)) if at else ""
        for at in (letter.first_seen_at, letter.last_seen_at, letter.resolved_at)
    )
    since = f" since {resolved}" if resolved else ""
    action = f", in action {letter.action_seq}" if letter.action_seq else ""
    rows = {
        "id": letter.id,
        "status": f"{letter.status}{since}{action}",
        "group": letter.group_id,
        "source": letter.source,
        "file:line": f"{letter.file}:{letter.line}",
        "key": found.key or "",
        "loaded since": _loaded_since(found.loaded_since),
        "seen": f"{letter.occurrences:,} times, {first} to {last}",
        "replays": f"{letter.replays:,}",
    }
    yield Group(_grid([(name, value) for name, value in rows.items() if value], style="bold"))


def _payload(found: LetterView) -> Iterator[Any]:
    letter = found.letter
    stored = f"; only its first {found.stored_bytes:,} bytes are stored" if found.is_cut else ""
    yield _title(f"Payload as it came, {letter.size:,} bytes of {letter.format.upper()}{stored}")
    yield Text(shortened(found.text, MAX_PAYLOAD), overflow="fold")
    if len(found.text) > MAX_PAYLOAD:
        yield f"(the first {MAX_PAYLOAD:,} of {len(found.text):,} characters; --json has what is stored)"


def _fields(found: LetterView) -> Iterator[Any]:
    if found.fields:
        rows = []
        for each in found.fields:
            value = NOT_THERE if each.value is None else shortened(each.value, MAX_VALUE)
            rows.append(("!" if each.faults else "", shortened(each.name, MAX_VALUE), value))
            rows += [("", "", f"^ {_fault(fault)}") for fault in each.faults]
        yield _section("Its fields, each fault beside its own", rows)
        if found.fields_left_out:
            yield f"({found.fields_left_out:,} more fields without a fault)"
    elif found.why_no_fields:
        yield printable(f"It is not taken apart into fields: {found.why_no_fields}.")
    if found.faults_without_field:
        title = "Not at one field of the payload" if found.fields else "What is wrong"
        yield _section(title, [("!", _fault(fault)) for fault in found.faults_without_field])


def _fault(fault: Fault) -> str:
    kind = ", ".join(each for each in (fault.rule, fault.shape) if each)
    by = f"; made by {fault.made_by}" if fault.made_by else ""
    return f"{fault.field + ': ' if fault.field else ''}{fault.message} ({kind}){by}"


def _attempt(attempt: Attempt) -> Iterator[Any]:
    ended = f" {second(attempt.ended_at)}" if attempt.ended_at else ""
    became = ENDS.get(attempt.outcome, attempt.outcome)
    title = f"Attempt {attempt.number}: action {attempt.action} by {attempt.by}, {became}{ended}"
    rows = [("why", attempt.why)] if attempt.why else []
    rows.append(("edit", shortened(attempt.edit, MAX_VALUE) if attempt.edit else "none: sent as it came"))
    for change in attempt.changes:
        before, after = (
            "nothing" if each is None else shortened(each, MAX_VALUE)
            for each in (change.before, change.after)
        )
        rows.append((shortened(change.name, MAX_VALUE), f"{before} -> {after}"))
    if attempt.changes_left_out:
        rows.append(("", f"{attempt.changes_left_out:,} more fields differ: --json has the payload"))
    if attempt.why_no_changes:
        rows.append(("", f"the difference is not known: {attempt.why_no_changes}"))
    rows += [("!", error_text(each)) for each in attempt.errors]
    yield _section(title, rows)


def _history(found: LetterView) -> Iterator[Any]:
    if found.history:
        yield _section("What happened to it", [(second(each["at"]), _event(each)) for each in found.history])


def _event(event: dict[str, Any]) -> str:
    """One change of a letter's state."""
    action = f", action {event['action_seq']}" if event["action_seq"] else ""
    by = f" by {event['by']}" if event["by"] else ""
    why = f": {event['why']}" if event["why"] else ""
    errors = "; ".join(error_text(each) for each in event["errors"] or [])
    accepted = _accepted(event["accepted"]) if event["accepted"] else ""
    superseded = f"; superseded by {event['superseded_by']}" if event["superseded_by"] else ""
    return (
        f"{event['verb']}, {event['before']} -> {event['after']}{action}{by}{why}"
        f"{'; ' + errors if errors else ''}{superseded}{accepted}"
    )


def _accepted(accepted: dict[str, Any]) -> str:
    """The record that closed a letter."""
    return (
        f"; the same payload was accepted in {accepted['file']}, delivery {accepted['delivery']}: "
        f"`store lineage --id {accepted['id']}`"
    )


def _loaded_since(loaded: dict[str, Any] | None) -> str:
    """The record of its key or line that was loaded since."""
    if loaded is None:
        return ""
    where = f"{loaded['file']}:{loaded['line']} (delivery {loaded['delivery']})"
    return f"key {loaded['key']} of {loaded['ts']}, from {where}"


def _chain(found: LetterView) -> Iterator[Any]:
    rows = [(STEPS[step.step], _step(step)) for step in found.chain.steps]
    if found.chain.left_out:
        middle = len(rows) // 2
        rows.insert(middle, ("…", f"{found.chain.left_out:,} more entries"))
    yield _section("The way of its record", rows)
    for note in found.chain.notes:
        yield printable(f"({note})")
    yield printable(
        f"What became of its line: `store lineage --file {found.letter.file} --line {found.letter.line}`"
    )


def _step(step: Step) -> str:
    line = f":{step.line}" if step.line is not None else ""
    run = f", run {step.run}" if step.run is not None else ""
    key = f", key {step.key}" if step.key is not None and step.step == "stage" else ""
    now = "; the target holds it" if step.is_in_target else ""
    return (
        f"{step.file}{line}, delivery {step.delivery}, batch {step.batch[:8]}{run}, {second(step.at)}{key}: "
        f"{step.detail}{now}"
    )


def _target(found: LetterView) -> Iterator[Any]:
    if found.key is None:
        yield _title("Target: unknown, for the payload gives no key")
    elif found.held is None:
        yield _title(f"Target: no row of source {found.letter.source} and key {found.key}")
    else:
        yield from _held(found.held)


def _held(held: Held) -> Iterator[Any]:
    deleted = ", deleted by its source" if held.deleted else ""
    yield _title(f"Target: what it holds for key {held.key} now{deleted}")
    yield Text(
        printable(
            f"from {held.file}:{held.line}, delivery {held.delivery}, batch {held.batch[:8]}, run {held.run}"
        ),
        overflow="fold",
    )
    rows: list[tuple[str, ...]] = [("", "field", "target", "this letter")]
    for each in held.values:
        own = "" if each.raw is None else NOT_THERE if each.own is None else shortened(each.own, MAX_VALUE)
        value = "null" if each.held is None else shortened(each.held, MAX_VALUE)
        rows.append((DIFFERS[each.differs], each.field, value, own))
    yield Group(_grid(rows))


def _outlook(outlook: Outlook | None) -> Iterator[Any]:
    if outlook is None:
        return
    why = f": {outlook.why}" if outlook.why else ""
    rows = [("!", error_text(each)) for each in outlook.faults]
    if outlook.corrected and outlook.ts:
        rows.append(("", f"once corrected, at its time {second(outlook.ts)}, {CORRECTED[outlook.corrected]}"))
    elif outlook.as_it_is == "rejected":
        rows.append(("", "its key and its time decide what it would be once it is corrected"))
    yield _section(f"A replay now {WOULD[outlook.as_it_is]}{why}", rows)


def _title(text: str) -> Text:
    return Text(printable(text), style="bold", overflow="fold")


def _section(title: str, rows: Iterable[tuple[str, ...]]) -> Group:
    """A title, and rows under it where there are any."""
    given = list(rows)
    return Group(_title(title), _grid(given)) if given else Group(_title(title))


def _grid(rows: Sequence[tuple[str, ...]], style: str = "") -> Table:
    """Rows of texts, the last column as wide as there is room; nothing is cut. `style`: of the first column."""
    made = Table(box=None, show_header=False, pad_edge=False)
    last = len(rows[0]) - 1
    for number in range(last + 1):
        most = None if number == last else MAX_NAME
        made.add_column(overflow="fold", max_width=most, style="" if number else style)
    for row in rows:
        made.add_row(*(Text(printable(each)) for each in row))
    return made

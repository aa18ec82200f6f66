"""Letters of one group as a pytest file: what the contract rejects today, and where to say what it is to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import IO, Any

from sqlalchemy import ColumnElement, Connection

from store import timestamps
from store.csv_reader import Dialect
from store.database.letters import dead_letters
from store.dead_letters.transfer.export import Written
from store.dead_letters.transfer.fields import is_undecoded
from store.errors import UsageError
from store.tables.dead_letters import DeadLetter, select_matching
from store.text import printable

SAMPLES = 20
LONGEST = 10_000  # bytes of a record
UNTESTABLE = {
    "late": "whether a record is late depends on the watermark",
    "poison": "such a record kills the process that validates it",
    "too_large": "only the first 4 KiB of such a record are stored",
}
AT = ("stale", "future_timestamp")  # depend on the time

TEXT = """\
# {about}
#
# Written by `store letters export --as-test`. Run it where the sluice.toml of the project is.
import pytest

from worker.testing import faults

SOURCE = {source!r}
{headers}
# A raw record, how it is read, and the (field, rule) of each of its faults. Change the faults where the contract is to
# reject the record for others; where it is to accept the record, write [].
SAMPLES = [
{samples}]


@pytest.mark.parametrize(("record", "options", "expected"), SAMPLES)
def test_the_record_is_rejected_for(record, options, expected):
    assert faults(record, SOURCE, **options) == expected
"""


def write_test(connection: Connection, matching: Sequence[ColumnElement[bool]], out: IO[str]) -> Written:
    """A test of some of the letters that match, which are of one group. Raises UsageError where none can be tested."""
    letters = select_matching(connection, [*matching, dead_letters.c.size <= LONGEST], SAMPLES)
    if not letters:
        raise UsageError(
            f"no letter of the group has {LONGEST:,} bytes at most: `store letters list --group` lists them"
        )
    if why := UNTESTABLE.get(letters[0].reason):
        raise UsageError(f"a test cannot repeat the reason {letters[0].reason}: {why}")
    out.write(file_of(letters))
    return Written(len(letters), 0)


def file_of(letters: Sequence[DeadLetter]) -> str:
    """The file."""
    headers: dict[str, str] = {}  # what describes a CSV file -> its name
    samples = "".join(f"    {_sample(letter, headers)},\n" for letter in letters)
    first = letters[0]
    faults = "; ".join(
        " ".join(filter(None, map(each.get, ("field", "rule", "shape")))) for each in first.errors
    )
    return TEXT.format(
        about=printable(
            f"Records of source {first.source} that are rejected: {faults} (group {first.group_id[:8]})"
        ),
        source=first.source,
        headers="".join(f"{name} = {text}\n" for text, name in headers.items()),
        samples=samples,
    )


def _sample(letter: DeadLetter, headers: dict[str, str]) -> str:
    record = letter.raw if is_undecoded(letter) else letter.raw.decode()
    options = []
    if letter.format == "csv" and letter.header:
        name = headers.setdefault(repr(_csv(letter.header)), f"CSV_{len(headers) + 1}")
        options.append(f'"csv": {name}')
    if letter.reason in AT:
        options.append(f'"at": {timestamps.to_iso(letter.first_seen_at)!r}')
    expected = [(each["field"], each["rule"]) for each in letter.errors]
    id = printable(f"{letter.file}:{letter.line}")
    return f"pytest.param({record!r}, {{{', '.join(options)}}}, {expected!r}, id={id!r})"


def _csv(header: dict[str, Any]) -> dict[str, Any]:
    """The columns, and what is not the default of the dialect."""
    default = Dialect().to_wire()
    return {"columns": header["columns"]} | {
        each.name: header[each.name] for each in fields(Dialect) if header[each.name] != default[each.name]
    }

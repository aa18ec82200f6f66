"""What the first bytes of an input show: whether it is a file of its format at all.

A record that is wrong becomes a dead letter. A file that is something else would become thousands of them: it is
refused with one error before any of it is sent.
"""

from __future__ import annotations

import json
import re

from producer.files.names import Format, is_gzip_name
from producer.files.source import HEAD_BYTES, Source
from store.csv_reader import UTF_8, Dialect
from store.errors import InputError

Problem = tuple[str, str]  # what an input is, and what to do

_UNPACK = "unpack it, and send the files in it"
_DECOMPRESS = "decompress it, or compress it with gzip instead"
_EXPORT = "export it as CSV, JSON or NDJSON, and send that"
_ENCODING = (
    "name its encoding (`--encoding {0}`, or `encoding` of its source), or convert it to UTF-8 "
    "(`iconv -f {0} -t UTF-8`)"
)
# Each has a byte that no text begins with: a column may be named PAR1.
_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (
        b"PK\x03\x04",
        "a ZIP archive, as .xlsx and .ods files are too",
        f"{_UNPACK}; a workbook of Excel with --format xlsx",
    ),
    (b"PK\x05\x06", "an empty ZIP archive", _UNPACK),
    (b"PK\x07\x08", "a part of a ZIP archive", _UNPACK),
    (b"\x1f\x8b", "gzip data within gzip data", "decompress it once"),
    (b"BZh91AY&SY", "bzip2 data", _DECOMPRESS),
    (b"\xfd7zXZ\0", "xz data", _DECOMPRESS),
    (b"\x28\xb5\x2f\xfd", "zstd data", _DECOMPRESS),
    (b"\x04\x22\x4d\x18", "lz4 data", _DECOMPRESS),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Microsoft Office file, as .xls files are", _EXPORT),
    (b"PAR1\x15", "a Parquet file", "send it with --format parquet"),
    (b"Obj\x01", "an Avro file", _EXPORT),
    (b"ARROW1\0\0", "an Arrow file", _EXPORT),
    (b"SQLite format 3\0", "an SQLite database", _EXPORT),
    (b"%PDF-", "a PDF document", _EXPORT),
)
# UTF-32 first: the mark of little-endian UTF-16 is the beginning of that of UTF-32.
_BOMS = (
    (b"\xff\xfe\0\0", "UTF-32", "LE"),
    (b"\0\0\xfe\xff", "UTF-32", "BE"),
    (b"\xff\xfe", "UTF-16", "LE"),
    (b"\xfe\xff", "UTF-16", "BE"),
    (b"\xef\xbb\xbf", "UTF-8", ""),
)
# Without a byte order mark the NUL bytes between the first characters show the encoding.
_WIDE_ASCII: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"[\t-~]\0\0\0[\t-~]\0\0\0"), "UTF-32LE"),
    (re.compile(rb"\0\0\0[\t-~]\0\0\0[\t-~]"), "UTF-32BE"),
    (re.compile(rb"[\t-~]\0[\t-~]\0"), "UTF-16LE"),
    (re.compile(rb"\0[\t-~]\0[\t-~]"), "UTF-16BE"),
)
_MARKUP = re.compile(rb"\s*<(!doctype|html|head|body|\?xml|!--)", re.IGNORECASE)
_TAR_MAGIC, _TAR_AT, _TAR_HEADER_BYTES = b"ustar", 257, 512
_BLANKS = " \t\n\r\v\f"  # a record separator is none, though Python strips it
_DECODER = json.JSONDecoder()
_AS_JSON = "send it with --format json"
_ONE_A_LINE = "put each record on a line of its own, without commas between them"


def refuse_other_kinds(source: Source, kind: Format, dialect: Dialect) -> None:
    """Raises InputError for an input that is no file of its format, whatever its records may be."""
    if found := _problem(source, kind, dialect):
        what, advice = found
        raise InputError(f"{source.name}: {what}: {advice}; nothing of it was sent")


def _problem(source: Source, kind: Format, dialect: Dialect) -> Problem | None:
    if found := _other_name(source):
        return found
    start = source.peek(lambda head: b"\n" in head.lstrip())
    if found := _other_encoding(source.start, dialect.encoding):
        return found
    if kind != "json" and not dialect.skip_rows and _is_object(start.lstrip().partition(b"\n")[0]):
        # Nearly always, of NDJSON; and more of a slow pipe is not waited for.
        return None if kind == "ndjson" else ("this is NDJSON, not CSV", "send it with --format ndjson")
    text = source.peek(lambda head: len(head) >= _TAR_HEADER_BYTES)
    found = _other_format(source.start, text)
    return found or (_no_lines(source) if kind == "ndjson" else None)


def _other_name(source: Source) -> Problem | None:
    named = is_gzip_name(source.path)
    if named is None or named == source.compressed:
        return None
    instead = "rename it, or send it through standard input (`producer enqueue - --format FORMAT < FILE`)"
    if named:
        return "the name says gzip, but the file is not gzip data", instead
    return "the name says plain text, but the file is gzip data", instead


def _other_encoding(start: bytes, encoding: str) -> Problem | None:
    """What the byte order mark or the NUL bytes of a text say, where its encoding is given otherwise."""
    given = encoding.upper().replace("UTF-16-", "UTF-16").replace("UTF-32-", "UTF-32")
    instead = "" if encoding == UTF_8 else f", not {encoding}"
    marked = next(((of, order) for bom, of, order in _BOMS if start.startswith(bom)), None)
    if marked:
        found, order = marked
        is_given = given in (found, found + order)
        return None if is_given else (f"this is {found} text{instead}", _ENCODING.format(found))
    wide = next((wide for pattern, wide in _WIDE_ASCII if pattern.match(start)), None)
    if wide is None or given == wide or (given == wide[:6] and wide.endswith("LE")):
        return None
    return f"this is {wide[:6]} text without a byte order mark{instead}", _ENCODING.format(wide)


def _other_format(start: bytes, text: bytes) -> Problem | None:
    for beginning, what, advice in _BEGINNINGS:
        if start.startswith(beginning):
            return f"this is {what}", advice
    if start[_TAR_AT:].startswith(_TAR_MAGIC):
        return "this is a tar archive", _UNPACK
    if _MARKUP.match(text):
        return "this is an HTML or XML page", (
            "look into it: a server may have sent an error or a login page in place of the file"
        )
    return None


def _no_lines(source: Source) -> Problem | None:
    """What an NDJSON file is if its first line is no record, and the fault is not that line's alone."""
    head = source.peek()
    is_cut = len(head) == HEAD_BYTES
    if is_cut and b"\n" in head.lstrip():
        head = head[: head.rfind(b"\n")]
    text = head.decode("utf-8", "replace").strip(_BLANKS)
    if text.startswith("\x1e"):
        return "this is a sequence of JSON texts (RFC 7464), not NDJSON", _AS_JSON
    if not text.startswith(("{", "[")):
        return None
    lines = [line for line in text.split("\n") if line.strip()]
    return _over_several_lines(text, lines, is_cut) or _several_in_lines(lines)


def _over_several_lines(text: str, lines: list[str], is_cut: bool) -> Problem | None:
    end, is_whole = _end_of_value(text)
    if end is None or "\n" not in text[:end]:
        return None
    if not is_whole and not is_cut and any(map(_is_object, lines)):
        return None  # a record that was cut short, and others after it
    return "this is not NDJSON: its first value goes over several lines", _AS_JSON


def _several_in_lines(lines: list[str]) -> Problem | None:
    """The first line alone may be a record that went wrong: the second one shows whether it is."""
    problems = [_in_line(line) for line in lines[:2]]
    return problems[0] if problems[0] == problems[-1] else None


def _in_line(line: str) -> Problem | None:
    end, is_whole = _end_of_value(line)
    if end is None or not is_whole:
        return None
    rest = line[end:].lstrip()
    if rest.startswith(","):
        return "this is not NDJSON: there are commas after its records", _ONE_A_LINE
    if rest.startswith(("{", "[")):
        return "this is not NDJSON: there are several values in a line", _AS_JSON
    if not rest and line.lstrip().startswith("[") and _first_element_is_object(line):
        return "this is not NDJSON: its lines are arrays of objects", _AS_JSON
    return None


def _end_of_value(text: str) -> tuple[int | None, bool]:
    """Where the first JSON value of a text ends, and whether it is whole; None for what begins no value."""
    start = len(text) - len(text.lstrip())
    try:
        return _DECODER.raw_decode(text, start)[1], True
    except json.JSONDecodeError as error:
        is_open = error.msg.startswith("Unterminated string") and "\n" not in text[error.pos :]
        return (len(text), False) if is_open or error.pos >= len(text) else (None, False)
    except (ValueError, RecursionError):
        return None, False  # a number or a depth that Python refuses: a record's fault


def _first_element_is_object(line: str) -> bool:
    return line.lstrip()[1:].lstrip().startswith("{")


def _is_object(line: bytes | str) -> bool:
    try:
        text = line if isinstance(line, str) else line.decode()  # `loads` would read UTF-16 too
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False  # no object; whoever asks tells what it is instead

"""Mutants of how files are read."""

from __future__ import annotations

from .edits import mutant

FILES = (
    mutant(
        "documents: what follows a value is taken for a comma or a bracket",
        ("producer/files/json_values.py", "    if byte not in (COMMA, bracket):", "    if False:"),
    ),
    mutant(
        "documents: one that ends too early is whole",
        (
            "producer/files/json_values.py",
            '        raise cursor.fault("a value")\n    start',
            "        return b''\n    start",
        ),
    ),
    mutant(
        "documents: a second array at the path is skipped",
        ("producer/files/json.py", "            elif is_met:", "            elif False:"),
    ),
    mutant(
        "rows: any quote closes a cell",
        (
            "producer/files/rows.py",
            "return closed.get(byte, State.QUOTED), ",
            "return closed.get(byte, State.PLAIN), ",
        ),
    ),
    mutant(
        "rows: a quote that is not closed takes the rest of the file",
        ("producer/files/csv.py", "            if self._begun.state.is_quoted:", "            if False:"),
    ),
    mutant(
        "encodings: a byte that does not decode is left out",
        (
            "producer/files/transcoding.py",
            'return "".join(chr(_FIRST + byte) for byte in error.object[error.start : error.end]), error.end',
            'return "", error.end',
        ),
    ),
    mutant(
        "encodings: a record is not given its own bytes back",
        ("producer/files/open.py", "transcoder.restored(blocks) if transcoder else blocks", "blocks"),
    ),
    mutant(
        "rows: a quote in a comment opens a cell",
        (
            "producer/files/rows.py",
            "return State.COMMENT if self.comment and data.startswith(self.comment, pos) else State.START",
            "return State.START",
        ),
    ),
    mutant(
        "sequences: a broken text spoils the texts behind it",
        ("producer/files/json.py", "        elif is_sequence:", "        elif False:"),
    ),
    mutant(
        "notation: a number in JSON's notation is one in any",
        (
            "worker/judge/notation.py",
            "return Unusable(self.why) if strictly or not value.strip(NUMBER_CHARACTERS) else value",
            "return value",
        ),
    ),
    mutant(
        "local times: the quick way takes those that exist twice",
        (
            "worker/judge/local_times.py",
            "        if self.kind(moment):\n            raise",
            "        if False:\n            raise",
        ),
    ),
    mutant(
        "letters: bytes that did not decode are read as UTF-8 in a replay",
        (
            "worker/judge/parse.py",
            "Opaque(letter.raw, letter.size, None) if is_undecoded(letter) else ",
            "",
        ),
    ),
    mutant(
        "dialect: the worker reads rows by the usual one",
        (
            "worker/judge/stages.py",
            "message.header or [], message.dialect)",
            "message.header or [], Dialect())",
        ),
        (
            "worker/judge/stages.py",
            "from store import payload\n",
            "from store import payload\nfrom store.csv_reader import Dialect\n",
        ),
    ),
    mutant(
        "dialect: the quick way reads rows by the usual one",
        (
            "worker/judge/columnwise/quick.py",
            "message.header or [], message.dialect)",
            "message.header or [], type(message.dialect)())",
        ),
    ),
    mutant(
        "files: what a look has read is not read again",
        (
            "producer/files/source.py",
            "            yield self._peeked.pop(0)",
            "            self._peeked.pop(0)",
        ),
    ),
    mutant(
        "files: a file that grows is read beyond its hash",
        ("producer/files/source.py", "self._raw.limit = self._file.tell()", "pass"),
    ),
    mutant(
        "files: a file that changes after its hash is no error",
        ("producer/files/source.py", "        self._check_unchanged()\n", ""),
    ),
    mutant(
        "files: the last batch before a fault is lost",
        ("producer/feed.py", "until_fault(file.blocks(), faults)", "file.blocks()"),
    ),
    mutant(
        "files: bytes behind gzip data are no error",
        ("producer/files/open.py", "        if self._source.fault:", "        if False:"),
    ),
    mutant(
        "files: two names may be shown alike",
        ("store/text.py", """ and character != "\\\\":""", ":"),
    ),
)

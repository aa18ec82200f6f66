"""Mutants of how the loader decides between versions, and of what it counts."""

from __future__ import annotations

from .edits import mutant

VERSIONS = (
    mutant(
        "last writer wins: what was written to the target meanwhile is overwritten",
        (
            "store/load/merge.py",
            'and_(_same_key(chunk), held.c.lineage_id == rows.c["_rival"])',
            "_same_key(chunk)",
        ),
    ),
    mutant(
        "last writer wins: every row of a key in a chunk is the greatest",
        (
            "store/load/chunk.py",
            "    beaten = connection.execute(text(LIST_BEATEN if is_flagged else FIND_BEATEN)).rowcount\n",
            "    beaten = 0\n",
        ),
    ),
    mutant(
        "last writer wins: the target is not compared",
        (
            "store/load/chunk.py",
            "connection.execute(text(COMPARE_WITH_TARGET.format(target=target))).rowcount\n",
            "0\n",
        ),
    ),
    mutant(
        "last writer wins: the sequence is not compared",
        (
            "store/load/chunk.py",
            "    WHEN chunk.ts > t.ts OR (chunk.ts = t.ts AND chunk.sequence > t.sequence) THEN {UPDATED}\n",
            "    WHEN chunk.ts > t.ts THEN {UPDATED}\n",
        ),
    ),
    mutant(
        "last writer wins: a repeat does not count as a version",
        (
            "store/load/chunk.py",
            "WHEN chunk._rank > tie.held_rank AND chunk._rank > COALESCE(tie.past_rank, 0) THEN",
            "WHEN chunk._rank > tie.held_rank THEN",
        ),
    ),
    mutant(
        "last writer wins: ties are decided by the content hash",
        (
            "store/load/chunk.py",
            "    WHEN chunk._rank > tie.held_rank AND chunk._rank > COALESCE(tie.past_rank, 0) THEN {UPDATED}\n"
            "    WHEN chunk._rank = tie.held_rank AND chunk._rank >= COALESCE(tie.past_rank, 0)\n"
            "         AND chunk.content_hash > tie.content_hash THEN {UPDATED}\n",
            "    WHEN chunk.content_hash > tie.content_hash THEN {UPDATED}\n",
        ),
    ),
    mutant(
        "last writer wins: a chunk is not sorted by rank",
        (
            "store/load/chunk.py",
            "staged.c.ts, staged.c.sequence, ranked, staged.c.content_hash]",
            "staged.c.ts, staged.c.sequence, staged.c.content_hash]",
        ),
    ),
    mutant(
        "last writer wins: the number of the delivery is left out",
        (
            "store/load/chunk.py",
            'first = f"{batch}.delivery_seq * {1 << RECORD_BITS} + {batch}.first_record"',
            'first = f"{batch}.first_record"',
        ),
    ),
    mutant(
        "last writer wins: the number of a batch's first record is left out",
        ("store/load/chunk.py", '{1 << RECORD_BITS} + {batch}.first_record"', '{1 << RECORD_BITS}"'),
    ),
    mutant(
        "last writer wins: ties are not broken",
        (
            "store/load/chunk.py",
            "        connection.execute(text(BREAK_TIES.format(target=target)))\n",
            "        pass\n",
        ),
    ),
    mutant(
        "last writer wins: of one time the row that is loaded later",
        ("store/load/chunk.py", "WHEN chunk.ts > t.ts OR", "WHEN chunk.ts >= t.ts OR"),
    ),
    mutant(
        "last writer wins: of one sequence the row that is loaded later",
        ("store/load/chunk.py", "AND chunk.sequence > t.sequence)", "AND chunk.sequence >= t.sequence)"),
    ),
    mutant(
        "last writer wins: a chunk is not sorted by sequence",
        ("store/load/chunk.py", "staged.c.ts, staged.c.sequence, ranked", "staged.c.ts, ranked"),
    ),
    mutant(
        "last writer wins: a key of another source counts",
        (
            "store/load/chunk.py",
            " WHERE later.key = chunk.key AND later.source = chunk.source\n",
            " WHERE later.key = chunk.key\n",
        ),
        (
            "store/load/chunk.py",
            "for each in (staged.c.source, staged.c.key)]",
            "for each in (staged.c.key,)]",
        ),
    ),
    mutant(
        "last writer wins: versions of another time decide a tie",
        ("store/load/chunk.py", " AND p.ts = c.ts AND p.sequence = c.sequence)", ")"),
    ),
    mutant(
        "last writer wins: versions of another sequence decide a tie",
        ("store/load/chunk.py", "AND p.ts = c.ts AND p.sequence = c.sequence)", "AND p.ts = c.ts)"),
    ),
    mutant(
        "ties by hash: deliveries decide them",
        (
            "worker/batch/receive.py",
            "0 if self.by_hash else versions.get(position)",
            "versions.get(position)",
        ),
        ("worker/batch/receive.py", "if self.by_hash or versions:", "if versions:"),
    ),
    mutant(
        "ties by hash: a chunk is not sorted by hash",
        ("store/load/chunk.py", "ranked, staged.c.content_hash]", "ranked]"),
    ),
    mutant(
        "ties by hash: the target holds the smaller one",
        (
            "store/load/chunk.py",
            "AND chunk.content_hash > tie.content_hash THEN",
            "AND chunk.content_hash < tie.content_hash THEN",
        ),
    ),
    mutant(
        "conflicts: one with the target is not counted",
        ("store/load/chunk.py", "SET _conflict = 1, _outcome", "SET _conflict = 0, _outcome"),
    ),
    mutant(
        "conflicts: one in a chunk is not counted",
        (
            "store/load/chunk.py",
            "AND won.content_hash <> chunk.content_hash THEN 1 ELSE 0 END",
            "AND won.content_hash <> chunk.content_hash THEN 0 ELSE 0 END",
        ),
    ),
    mutant(
        "conflicts: records of another sequence are counted",
        (
            "store/load/chunk.py",
            "_conflict = CASE WHEN won.ts = chunk.ts AND won.sequence = chunk.sequence\n",
            "_conflict = CASE WHEN won.ts = chunk.ts\n",
        ),
    ),
    mutant(
        "outcomes: a repeat of the winner in its chunk is superseded",
        (
            "store/load/chunk.py",
            "AND won.content_hash = chunk.content_hash THEN {DUPLICATE} ELSE {SUPERSEDED} END",
            "AND won.content_hash = chunk.content_hash THEN {SUPERSEDED} ELSE {SUPERSEDED} END",
        ),
    ),
    mutant(
        "outcomes: batches do not count what was loaded of them",
        ("store/load/merge.py", "    batches.add_loaded(connection, chunk.batches)\n", ""),
    ),
    mutant(
        "replay: an unedited letter gets the version of its replay",
        (
            "worker/batch/receive.py",
            "        versions = _versions_of_letters(connection, message)\n",
            "",
        ),
    ),
    mutant(
        "replay: an edited letter keeps the version of its record",
        (
            "worker/batch/receive.py",
            "for position, letter in enumerate(message.letters) if not letter.edited}",
            "for position, letter in enumerate(message.letters)}",
        ),
    ),
    mutant(
        "replay: a letter has the version of its first record",
        (
            "store/dead_letters/states.py",
            'version=case((IS_LATER, bindparam("seen_version")), else_=dead_letters.c.version)',
            "version=dead_letters.c.version",
        ),
    ),
    mutant(
        "replay: the version of a letter is not that of its row in the target",
        ("store/database/records.py", '    "lineage_version": "version",\n', ""),
    ),
)

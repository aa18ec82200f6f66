"""Mechanisms of batches that crash the validator, and of dead letters."""

from __future__ import annotations

from .edits import mutant

LETTERS = (
    mutant(
        "poison: a killer is never suspected",
        (
            "worker/batch/poison.py",
            "    return deaths >= (TOLERATED_PART if is_part else TOLERATED)",
            "    return False",
        ),
    ),
    mutant(
        "poison: a split is not remembered",
        ("worker/jobs.py", "    receive.store_split(engine, message, parts)\n", ""),
    ),
    mutant(
        "poison: a half begins at the first record of the whole",
        ("worker/queue/identity.py", "first=message.first + (piece.start or 0),", "first=message.first,"),
    ),
    mutant(
        "poison: a half has the first letters of the whole",
        (
            "worker/queue/identity.py",
            "letters=message.letters[piece],",
            "letters=message.letters[: len(records)],",
        ),
    ),
    mutant(
        "poison: deaths are not counted",
        (
            "worker/batch/poison.py",
            "        return max(int(pipeline.execute()[0]), 1) - 1",
            "        pipeline.execute()\n        return 0",
        ),
    ),
    mutant(
        "dead letters: the same payload makes a second letter",
        (
            "worker/batch/rejections.py",
            "parts = [message.source, message.format, message.header, payload, digest]",
            "parts = [message.source, message.format, message.header, payload, digest, message.id]",
        ),
    ),
    mutant(
        "dead letters: the same delivery in other batches reopens a letter",
        (
            "store/dead_letters/states.py",
            "REOPENS = and_(IS_LATER, dead_letters.c.status == RESOLVED)",
            "REOPENS = dead_letters.c.status == RESOLVED",
        ),
    ),
    mutant(
        "dead letters: a later record reopens no letter",
        (
            "store/dead_letters/states.py",
            "        status=case((REOPENS, OPEN), else_=dead_letters.c.status),\n",
            "",
        ),
    ),
    mutant(
        "letters: groups do not count letters that move",
        ("store/dead_letters/groups.py", "        change[before] -= number\n", ""),
    ),
    mutant(
        "letters: a batch of a replay need not be registered",
        (
            "worker/batch/claims.py",
            "if not (_is_registered(message, held) or",
            "if False and (_is_registered(message, held) or",
        ),
    ),
    mutant(
        "letters: the edited payload of a replay is not kept",
        ("worker/batch/rejections.py", "[0] if letter.edited else None,", "[0] if False else None,"),
    ),
    mutant(
        "letters: a letter replayed too often is not parked",
        ("store/dead_letters/states.py", "PARKED if replays + 1 >= max_replays else OPEN", "OPEN"),
    ),
    mutant(
        "letters: one that leaves the open ones before it is known to be published stays on the DLQ",
        (
            "store/dead_letters/states.py",
            'return {"published_at": func.coalesce(dead_letters.c.published_at, at)}',
            'return {"published_at": dead_letters.c.published_at}',
        ),
    ),
)

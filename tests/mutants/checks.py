"""Mutants of what `store check`, its repair and the digest go by."""

from __future__ import annotations

from .edits import mutant

CHECKS = (
    mutant(
        "check: what looks wrong once is a violation",
        ("worker/dead_letters/mirror_check.py", "if again.get(id) == suspect}", "if True}"),
    ),
    mutant(
        "check: envelopes are not compared",
        ("worker/dead_letters/mirror_check.py", "elif not _says(letter, score, envelope):", "elif False:"),
    ),
    mutant(
        "repair: what looked strange is removed without asking the table again",
        (
            "worker/dead_letters/mirror_check.py",
            "[id for id in some if not (id in standings and standings[id].is_open)]",
            "some",
        ),
    ),
    mutant(
        "repair: a letter that was resolved meanwhile is published again",
        (
            "store/checks/outbox.py",
            "update(dead_letters).where(chosen, OPEN)",
            "update(dead_letters).where(chosen)",
        ),
    ),
    mutant(
        "digest: rejected numbers are compared by their characters",
        ("worker/judge/content.py", "return plain_digits(Decimal(digits))", "return text"),
    ),
    mutant(
        "digest: a rejected number is what the parser made of it",
        ("worker/judge/content.py", "type(record) is str and not LONG_NUMBER.search(record)", "True"),
    ),
    mutant(
        "numbers: an integer beyond 64 bits in text goes into a column of floats",
        (
            "worker/judge/columns.py",
            'return TOO_LONG if kind_of_column != "decimal" and is_long_integer(value) else None',
            "return None",
        ),
    ),
)

"""The one hash: BLAKE2b, 128 bits, for contents, batches and dead letters."""

from __future__ import annotations

from decimal import Decimal
from hashlib import blake2b

BYTES = 16
MOST_DIGITS = 1000  # of a decimal that is written without an exponent


def digest(data: bytes) -> bytes:
    """16 bytes."""
    return blake2b(data, digest_size=BYTES).digest()


def hexdigest(data: bytes) -> str:
    """32 hex digits."""
    return blake2b(data, digest_size=BYTES).hexdigest()


def plain_digits(value: Decimal) -> str:
    """A decimal's digits, the same for equal values: 10.10 is 10.1, and 1E+2 is 100."""
    if not value:
        return "0"
    if abs(value.adjusted()) > MOST_DIGITS:  # a few characters of text, and as many zeros as memory holds
        sign, found, exponent = value.as_tuple()
        shortened = "".join(map(str, found)).rstrip("0")
        return f"{'-' * sign}{shortened}E{int(exponent) + len(found) - len(shortened)}"
    digits = format(value, "f")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return digits

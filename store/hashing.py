"""The one hash: BLAKE2b, 128 bits, for contents, batches and dead letters."""

from __future__ import annotations

from hashlib import blake2b

BYTES = 16


def digest(data: bytes) -> bytes:
    """16 bytes."""
    return blake2b(data, digest_size=BYTES).digest()


def hexdigest(data: bytes) -> str:
    """32 hex digits."""
    return blake2b(data, digest_size=BYTES).hexdigest()

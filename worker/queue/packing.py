"""The data of a job as Redis holds it: compressed JSON, of a bounded size.

A few megabytes of zlib may hold gigabytes, so a job is unpacked only up to what a message may hold, and nothing is
parsed before. A producer refuses to send more.
"""

from __future__ import annotations

import zlib

from store.errors import ConfigError
from worker.queue.quarantine import NotAJob

COMPRESSION_LEVEL = 1
# A record of the greatest size that the settings allow, half of its bytes escaped.
MAX_MESSAGE_BYTES = 128 << 20
AT_ONCE = 16 << 20


def pack(data: bytes) -> bytes:
    """Compressed with half the effort: records shrink to a fifth either way. Raises ConfigError for too much."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise ConfigError(
            f"a batch would be a message of {len(data):,} bytes, and no worker reads more than {MAX_MESSAGE_BYTES:,}: "
            "set batch_bytes or max_record_bytes to less"
        )
    return zlib.compress(data, COMPRESSION_LEVEL)


def unpack(packed: bytes) -> bytes:
    """The inverse of `pack`; what is not compressed is returned as it is. Raises NotAJob for too much."""
    unpacking = zlib.decompressobj()
    try:
        data = unpacking.decompress(packed, AT_ONCE)
        if unpacking.unconsumed_tail:  # no usual batch: it is measured before it is held
            if _unpacked_size(packed) > MAX_MESSAGE_BYTES:
                raise _too_much()
            data = zlib.decompress(packed)
    except zlib.error:  # RQ accepts jobs that are not compressed
        data = packed
    if len(data) > MAX_MESSAGE_BYTES:
        raise _too_much()
    return data


def _unpacked_size(packed: bytes) -> int:
    """How many bytes it unpacks to, of which no more than a few are held at once; of too many not all are counted."""
    unpacking, size, rest = zlib.decompressobj(), 0, packed
    while rest and size <= MAX_MESSAGE_BYTES:
        size += len(unpacking.decompress(rest, AT_ONCE))
        rest = unpacking.unconsumed_tail
    return size


def _too_much() -> NotAJob:
    return NotAJob(f"its data are more than {MAX_MESSAGE_BYTES:,} bytes")

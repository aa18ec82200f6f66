"""The data of a job as Redis holds it: compressed JSON, of a bounded size.

A few megabytes of zlib may hold gigabytes, so a job is unpacked only up to what a message may hold, and nothing is
parsed before. A producer refuses to send more.
"""

from __future__ import annotations

import zlib

from store.errors import ConfigError
from worker.queue.quarantine import NotAJob

COMPRESSION_LEVEL = 1
MAX_MESSAGE_BYTES = (
    256 << 20
)  # a record of the greatest size that the settings allow, every byte of it escaped


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
        data = unpacking.decompress(packed, MAX_MESSAGE_BYTES + 1)
    except zlib.error:  # RQ accepts jobs that are not compressed
        data = packed
    if len(data) > MAX_MESSAGE_BYTES:
        raise NotAJob(f"its data are more than {MAX_MESSAGE_BYTES:,} bytes")
    return data

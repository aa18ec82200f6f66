"""Files as the producer reads them: from bytes, in chunks, to records with their lines."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from producer.files import open as readers
from producer.files.batches import Payload
from producer.files.open import open_records
from store.errors import InputError

MIB = 1 << 20


def read(data: bytes | io.BufferedIOBase, *, chunk: int = MIB, **options: Any) -> list[tuple[int, Payload]]:
    """Records with their lines, read from standard input in chunks of so many bytes."""
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    with (
        mock.patch.object(readers, "_READ_BYTES", chunk),
        mock.patch.object(sys, "stdin", SimpleNamespace(buffer=stream)),
        open_records("-", **options) as file,
    ):
        return [pair for block in file.blocks() for pair in zip(block.lines, block.payloads, strict=True)]


def header_of(data: bytes, **options: Any) -> list[str] | None:
    with (
        mock.patch.object(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data))),
        open_records("-", format="csv", **options) as file,
    ):
        return file.header


def payloads(data: bytes | io.BufferedIOBase, **options: Any) -> list[Payload]:
    return [payload for _, payload in read(data, **options)]


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def read_until_error(path: Path, **options: Any) -> tuple[list[Payload], str]:
    found: list[Payload] = []
    with pytest.raises(InputError) as error, open_records(str(path), **options) as file:
        for block in file.blocks():
            found += block.payloads
    return found, str(error.value)


class Endless(io.RawIOBase):
    """A start, then one byte over and over, then an end: a long file that is nowhere."""

    def __init__(self, start: bytes, fill: bytes, size: int, end: bytes) -> None:
        self._pieces = self._generate(start, fill, size, end)
        self._left = b""

    @staticmethod
    def _generate(start: bytes, fill: bytes, size: int, end: bytes) -> Iterator[bytes]:
        yield start
        piece = fill * 65536
        for _ in range(size // len(piece)):
            yield piece
        yield end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._left = self._left or next(self._pieces, b"")
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size

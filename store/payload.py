"""The bytes of a record as text, for the database, JSON and Redis."""

from __future__ import annotations

import base64
from typing import Literal

Encoding = Literal["utf-8", "base64"]


def to_text(content: bytes) -> tuple[str, Encoding]:
    """The text itself, or base64 of bytes that are not UTF-8 or contain NUL: PostgreSQL's text cannot hold NUL."""
    if b"\0" not in content:
        try:
            return content.decode(), "utf-8"
        except UnicodeDecodeError:  # base64 holds any bytes
            pass
    return to_base64(content)


def to_base64(content: bytes) -> tuple[str, Encoding]:
    """Bytes that are no text in the encoding of their file, whatever they would be in UTF-8."""
    return base64.b64encode(content).decode(), "base64"


def to_bytes(text: str, encoding: str) -> bytes:
    """The inverse of `to_text`."""
    return base64.b64decode(text) if encoding == "base64" else text.encode()

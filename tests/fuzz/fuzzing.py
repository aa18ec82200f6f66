"""The fuzz targets by name, one example of each, and the cases kept from earlier runs.

A case is a JSON file: the target's name, its options, and its bytes as latin-1 text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from . import inputs, targets

CASES = Path(__file__).parent / "cases"

Example = dict[str, Any]  # `data` and the target's options

SOURCES = st.sampled_from(list(targets.SOURCES))


def files(format: str) -> st.SearchStrategy[Example]:
    return st.fixed_dictionaries(
        {
            "data": inputs.FILES[format],
            "format": st.just(format),
            "chunk": st.sampled_from([1, 2, 3, 7, 16, 64]),
            "limit": st.sampled_from([16, 20, 80, 5000]),
            "path": st.sampled_from(["", "", "a.b", "a", "key"]) if format == "json" else st.just(""),
            "delimiter": st.sampled_from(",,,\t;|"),
            "batch": st.sampled_from([1, 3, 100]),
            "source": SOURCES,
        }
    )


# Records as long as they may be, and one byte longer.
LONG = st.builds(
    lambda start, size, end: start + b"y" * (targets.LIMIT - size) + end,
    st.sampled_from([b'{"a":"', b'"', b"", b"["]),
    st.sampled_from([20, 0]),
    st.sampled_from([b'"},', b'"\n', b'",', b"\n", b",\n", b"]"]),
)

EXAMPLES: dict[str, st.SearchStrategy[Example]] = {
    "ndjson": files("ndjson"),
    "json": files("json"),
    "csv": files("csv"),
    "record": st.fixed_dictionaries({"data": inputs.hurt(inputs.JSON_TEXTS), "source": SOURCES}),
    "row": st.fixed_dictionaries(
        {"data": inputs.hurt(inputs.TABLES), "delimiter": st.sampled_from(",\t;|"), "source": SOURCES}
    ),
    "message": st.fixed_dictionaries({"data": inputs.hurt(inputs.WIRES) | inputs.WIRES}),
    "memory": st.fixed_dictionaries(
        {
            "data": LONG | st.sampled_from(inputs.TOKENS) | inputs.hurt(inputs.JSON_TEXTS),
            "format": st.sampled_from(["json", "ndjson", "csv"]),
            "start": st.sampled_from(["", "[", '["', '{"a":"', "key,name\n", '"']),
        }
    ),
}
CHECKS: dict[str, Callable[..., None]] = {
    "ndjson": targets.file,
    "json": targets.file,
    "csv": targets.file,
    "record": targets.record,
    "row": targets.row,
    "message": targets.message,
    "memory": targets.memory,
}


def check(target: str, example: Example) -> None:
    """Runs one example. Raises whatever is wrong."""
    CHECKS[target](**example)


def keep(target: str, example: Example) -> Path:
    """Writes an example down as a case."""
    body = {"target": target, **example, "data": example["data"].decode("latin-1")}
    text = json.dumps(body, indent=1, sort_keys=True) + "\n"
    name = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    path = CASES / f"{target}-{name}.json"
    path.write_text(text)
    return path


def load(path: Path) -> tuple[str, Example]:
    """(target, example) of a case."""
    body = json.loads(path.read_text())
    return body.pop("target"), body | {"data": body["data"].encode("latin-1")}

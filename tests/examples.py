"""How many random examples a test tries: few and the same in the gate, many and new ones in `make examples`."""

from __future__ import annotations

import os

FACTOR = int(os.environ.get("EXAMPLES", "1"))
IS_CAMPAIGN = FACTOR > 1


def examples(number: int) -> int:
    """So many in the gate, `EXAMPLES` times as many in a campaign."""
    return number * FACTOR

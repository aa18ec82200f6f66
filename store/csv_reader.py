"""The one strict CSV reader, for files and for records on the queue."""

from __future__ import annotations

import csv
from functools import partial

# The limit holds for the whole process. `max_record_bytes` limits a record before it is read as CSV.
csv.field_size_limit(2**31 - 1)

csv_reader = partial(csv.reader, strict=True)

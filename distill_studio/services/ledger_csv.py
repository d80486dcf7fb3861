"""The ledger of what teachers were asked, as CSV."""

import csv
import io
from collections.abc import Sequence
from datetime import datetime

from distill_studio.store.database import Row

COLUMNS = (
    *("started", "kind", "title", "job_id", "teacher", "requests", "untold"),
    *("prompt_tokens", "completion_tokens", "busy_s", "cost_usd", "failures"),
)


def csv_of(rows: Sequence[Row]) -> str:
    """A header and a line for each row; an unknown cost is empty, times are ISO in UTC."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(row[name]) for name in COLUMNS})
    return file.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return round(value, 6) if isinstance(value, float) else value

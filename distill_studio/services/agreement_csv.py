"""Figures as flat rows and as CSV, the same for the page and the command line."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run such a cell


def flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """One level of columns: `{"alpha": {"value": 1}}` becomes `{"alpha_value": 1}`."""
    row: dict[str, Any] = {}
    for name, value in record.items():
        if name == "schema_version":
            continue
        if isinstance(value, Mapping):
            row |= flat(value, f"{prefix}{name}_")
        elif isinstance(value, list | tuple):
            row[prefix + name] = "; ".join(str(one) for one in value)
        else:
            row[prefix + name] = value
    return row


def to_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """All records as CSV with a head; columns in order of their first appearance."""
    rows = [flat(record) for record in records]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:  # noqa: ANN401  (any JSON value)
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value

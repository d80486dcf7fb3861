"""What a manifest says of how its rows were made: models, filters, agreement. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distill_studio.agreement.tables import AgreementRow
from distill_studio.curate.dataset_report import DatasetReport


def with_models(
    teachers: Mapping[str, dict[str, Any]], models: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Any]]:
    """Teachers with the model ids that their rows name."""
    return {
        name: facts | {"models": list(models.get(name, ()))} for name, facts in teachers.items()
    }


def filters(report: DatasetReport) -> dict[str, Any]:
    """The filters in force, and what went from the workspace by reason; {} before any curation."""
    gone = {one.label: one.rows for one in report.gone}
    if not report.filters and not gone:
        return {}
    return {"in_force": list(report.filters), "gone": gone}


def agreement(rows: Sequence[AgreementRow]) -> dict[str, float]:
    """`items`, `percent`, and where it can be said `alpha`, `low`, `high`; {} of one person."""
    whole = next((row for row in rows if row.scope == "all"), None)
    if whole is None or not whole.items or whole.percent.value is None:
        return {}
    found: dict[str, float] = {"items": whole.items, "percent": whole.percent.value}
    alpha = whole.alpha
    if alpha.value is not None:
        found["alpha"] = alpha.value
        if alpha.low is not None and alpha.high is not None:
            found |= {"low": alpha.low, "high": alpha.high}
    return found

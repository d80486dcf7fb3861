"""Win rates as they would be between answers of equal length. Start from `length_controlled`.

The minimal form of AlpacaEval's length-controlled win rate (Dubois et al. 2024, arXiv 2404.04475):
a logistic regression of the outcome on the model (intercept) and tanh(length difference / its
standard deviation); the rate is what it predicts at difference zero. It has no term for the
difficulty of a prompt, which needs many models. Its interval is Student's t in logits over prompts,
with clustered (sandwich) errors: Liang and Zeger 1986, doi 10.1093/biomet/73.1.13.
"""

from collections.abc import Sequence

import numpy as np
import scipy
from pydantic import Field

from distill_studio.agreement.bradley_terry import Meeting
from distill_studio.core.estimate import (
    CONFIDENCE,
    Estimate,
    Floats,
    cluster_sums,
    same_everywhere,
)
from distill_studio.core.records.base import Record
from distill_studio.core.records.preference import OUTCOME_POINTS

LEAST = 30  # meetings; with fewer a slope on length is noise
_RIDGE = 0.1  # on the slope only: keeps it finite where the longer answer always won
_RIDGES = np.diag([1e-7, _RIDGE])
_STEPS = 60
_LONGEST = 2.0


class LengthControlled(Record):
    """A model against the anchor at equal length."""

    model: str = Field(description="Whose rate.")
    against: str = Field(description="The anchor; empty: all others.")
    plain: float = Field(description="The win rate as counted, ties half.")
    rate: Estimate = Field(description="The same at equal length.")
    slope: float | None = Field(description="Pull of length in logits; above 0: longer wins.")


def length_controlled(
    meetings: Sequence[Meeting], lengths: Sequence[tuple[int, int]], anchor: str
) -> list[LengthControlled]:
    """A row per model that met the anchor, by name.

    Args:
        meetings: Comparisons.
        lengths: Of the first and the second answer of each, in one unit.
        anchor: The model to compare with; '' compares each with all others, whoever it met.
    """
    sided: dict[str, list[tuple[str, float, float]]] = {}
    for meeting, (first, second) in zip(meetings, lengths, strict=True):
        good, bad = OUTCOME_POINTS[meeting.outcome]
        if meeting.first == meeting.second:
            continue
        if anchor in ("", meeting.second):
            row = (meeting.prompt, good, float(first - second))
            sided.setdefault(meeting.first, []).append(row)
        if anchor in ("", meeting.first):
            row = (meeting.prompt, bad, float(second - first))
            sided.setdefault(meeting.second, []).append(row)
    return [_one(model, anchor, sided[model]) for model in sorted(sided)]


def _one(model: str, anchor: str, rows: Sequence[tuple[str, float, float]]) -> LengthControlled:
    outcome, difference = (np.array([row[k] for row in rows], dtype=float) for k in (1, 2))
    prompts = [row[0] for row in rows]
    plain = float(outcome.mean())
    if len(rows) < LEAST:
        missing = Estimate(n=len(rows), why=f"Needs {LEAST} comparisons{_with(anchor)}.")
        return LengthControlled(model=model, against=anchor, plain=plain, rate=missing, slope=None)
    if np.ptp(outcome) == 0:  # length explains nothing where everything ended the same way
        groups = len(set(prompts))
        alike = same_everywhere(plain, groups) if groups > 1 else None
        return _found(model, anchor, plain, plain, alike, len(rows), None)
    x = np.tanh(difference / (float(difference.std()) or 1.0))
    beta = fit(x, outcome, np.ones((1, len(rows))))[0]
    ends = _ends(x, outcome, prompts, beta)
    rate = float(_sigmoid(beta[0]))
    return _found(model, anchor, plain, rate, ends, len(rows), float(beta[1]))


def _found(
    model: str,
    anchor: str,
    plain: float,
    value: float,
    ends: tuple[float, float] | None,
    n: int,
    slope: float | None,
) -> LengthControlled:
    rate = Estimate(
        value=value,
        low=ends[0] if ends else None,
        high=ends[1] if ends else None,
        n=n,
        why="" if ends else "All of it is about one prompt.",
    )
    return LengthControlled(model=model, against=anchor, plain=plain, rate=rate, slope=slope)


def _ends(
    x: Floats, outcome: Floats, prompts: Sequence[str], beta: Floats
) -> tuple[float, float] | None:
    """The interval of the rate at difference 0; None of one prompt."""
    design = np.column_stack([np.ones_like(x), x])
    chance = _sigmoid(design @ beta)
    scores = cluster_sums(prompts, design * (outcome - chance)[:, None])
    groups = len(scores)
    if groups < 2:
        return None
    bread = np.linalg.inv((design * (chance * (1 - chance))[:, None]).T @ design + _RIDGES)
    spread = bread @ (scores.T @ scores) @ bread * groups / (groups - 1)
    t = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, groups - 1))
    reach = t * float(np.sqrt(spread[0, 0]))
    low, high = _sigmoid(np.array([beta[0] - reach, beta[0] + reach]))
    return float(low), float(high)


def _with(anchor: str) -> str:
    return f" with {anchor}" if anchor else ""


def fit(x: Floats, outcome: Floats, weights: Floats) -> Floats:
    """`[R, 2]` intercepts and slopes of the logistic regressions, one per row of weights."""
    beta = np.zeros((len(weights), 2))
    design = np.column_stack([np.ones_like(x), x])
    for _ in range(_STEPS):
        chance = _sigmoid(beta @ design.T)
        slope = (weights * (outcome - chance)) @ design - beta @ _RIDGES
        bend = np.einsum("rn,ni,nj->rij", weights * chance * (1 - chance), design, design) + _RIDGES
        step = np.linalg.solve(bend, slope[:, :, None])[:, :, 0]
        longest = np.abs(step).max(axis=1, keepdims=True)
        beta += step * np.minimum(1.0, _LONGEST / np.maximum(longest, _LONGEST))
        if float(longest.max()) < 1e-9:
            break
    return beta


def _sigmoid(values: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-values))
    return found

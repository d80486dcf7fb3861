"""Win rates as they would be between answers of equal length. Start from `length_controlled`.

The minimal form of AlpacaEval's length-controlled win rate (Dubois et al. 2024, arXiv 2404.04475):
a logistic regression of the outcome on the model (intercept) and tanh(length difference / its
standard deviation); the rate is what it predicts at difference zero. It has no term for the
difficulty of a prompt, which needs many models.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from distill_studio.agreement.bradley_terry import Meeting
from distill_studio.core.estimate import Estimate, Floats, percentiles
from distill_studio.core.records.base import Record
from distill_studio.core.records.preference import OUTCOME_POINTS

LEAST = 30  # meetings; with fewer a slope on length is noise
_RIDGE = 0.1  # on the slope only: keeps it finite where the longer answer always won
_ROUNDS = 300
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
    meetings: Sequence[Meeting], lengths: Sequence[tuple[int, int]], anchor: str, seed: int = 0
) -> list[LengthControlled]:
    """A row per model that met the anchor, by name.

    Args:
        meetings: Comparisons.
        lengths: Of the first and the second answer of each, in one unit.
        anchor: The model to compare with; '' compares each with all others, whoever it met.
        seed: Of the bootstrap.
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
    return [_one(model, anchor, sided[model], seed) for model in sorted(sided)]


def _one(
    model: str, anchor: str, rows: Sequence[tuple[str, float, float]], seed: int
) -> LengthControlled:
    outcome, difference = (np.array([row[k] for row in rows], dtype=float) for k in (1, 2))
    plain = float(outcome.mean())
    if len(rows) < LEAST:
        missing = Estimate(n=len(rows), why=f"Needs {LEAST} comparisons{_with(anchor)}.")
        return LengthControlled(model=model, against=anchor, plain=plain, rate=missing, slope=None)
    spread = float(difference.std()) or 1.0
    x = np.tanh(difference / spread)
    intercept, slope = fit(x, outcome, np.ones((1, len(rows))))[0]
    drawn = _weights([row[0] for row in rows], seed)
    ends = percentiles(_sigmoid(fit(x, outcome, drawn)[:, 0])) if len(drawn) else None
    rate = Estimate(
        value=float(_sigmoid(np.array(intercept))),
        low=ends[0] if ends else None,
        high=ends[1] if ends else None,
        n=len(rows),
        why="" if ends else "All of it is about one prompt.",
    )
    return LengthControlled(model=model, against=anchor, plain=plain, rate=rate, slope=float(slope))


def _with(anchor: str) -> str:
    return f" with {anchor}" if anchor else ""


def fit(x: Floats, outcome: Floats, weights: Floats) -> Floats:
    """`[R, 2]` intercepts and slopes of the logistic regressions, one per row of weights."""
    beta = np.zeros((len(weights), 2))
    design = np.column_stack([np.ones_like(x), x])
    ridge = np.diag([1e-7, _RIDGE])
    for _ in range(_STEPS):
        chance = _sigmoid(beta @ design.T)
        slope = (weights * (outcome - chance)) @ design - beta @ ridge
        bend = np.einsum("rn,ni,nj->rij", weights * chance * (1 - chance), design, design) + ridge
        step = np.linalg.solve(bend, slope[:, :, None])[:, :, 0]
        longest = np.abs(step).max(axis=1, keepdims=True)
        beta += step * np.minimum(1.0, _LONGEST / np.maximum(longest, _LONGEST))
        if float(longest.max()) < 1e-9:
            break
    return beta


def _weights(prompts: Sequence[str], seed: int) -> Floats:
    """How often each row is drawn when prompts are drawn, a row per round."""
    names, place = np.unique(np.asarray(prompts, dtype=str), return_inverse=True)
    if len(names) < 2:
        return np.zeros((0, len(prompts)))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=_ROUNDS)
    weights: Floats = drawn[:, place].astype(np.float64)
    return weights


def _sigmoid(values: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-values))
    return found

"""Bradley-Terry strengths of models from pairwise outcomes. Start from `rank`.

P(a beats b) = 1 / (1 + 10 ** ((R_b - R_a) / 400)), a tie is half a win for each, fitted by maximum
likelihood (Newton), anchored at one model (as FastChat's rating_systems.py). Intervals resample
whole prompts, because votes on one prompt hang together.

A model that won everything (or met nobody) has no finite estimate (Ford 1957); a prior that is far
too weak to move any other figure keeps the sums finite, and an end that runs off is left open. In a
resample in which no chain of points joins a model with the anchor, its strength is undefined.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy
from pydantic import Field

from distill_studio.core.estimate import Floats, cluster_sums, percentiles, resampled
from distill_studio.core.records.base import Record
from distill_studio.core.records.preference import OUTCOME_POINTS

SCALE = 400 / np.log(10)  # one logit in points
ANCHOR = 1000.0
_PRIOR = 1e-7  # precision of the prior on a strength in logits
_MOST = 9.0  # logits: beyond it (odds of 8,000 to 1, 1,560 points) an estimate counts as endless
_STEPS = 200
_LONGEST = 2.0  # logits in a Newton step
_DONE = 1e-9


@dataclass(frozen=True, slots=True)
class Meeting:
    """One comparison of two models on one prompt: `win` of the first, `tie` or `both_bad`."""

    prompt: str
    first: str
    second: str
    outcome: str = "win"


class Strength(Record):
    """A model's place in the ranking."""

    model: str = Field(description="Teacher or model.")
    rating: float | None = Field(description="Points; None where there is no finite estimate.")
    low: float | None = Field(description="Lower end of the 95% interval; None: open.")
    high: float | None = Field(description="Upper end of the 95% interval; None: open.")
    n: int = Field(ge=0, description="Comparisons.")
    prompts: int = Field(ge=0, description="Different prompts among them.")
    why: str = Field(default="", description="In words, where the rating or an end is missing.")


class Ranking(Record):
    """Models by strength, best first."""

    anchor: str = Field(description="The model whose rating is fixed.")
    anchor_rating: float = Field(default=ANCHOR, description="Its rating.")
    n: int = Field(description="Comparisons of two different models.")
    prompts: int = Field(description="Different prompts.")
    strengths: tuple[Strength, ...] = Field(description="A row per model.")


def rank(meetings: Sequence[Meeting], anchor: str = "", seed: int = 0) -> Ranking:
    """The models by strength with bootstrap intervals.

    Args:
        meetings: Comparisons; those of a model with itself are left out.
        anchor: Whose rating is fixed at 1000; '' takes the model with the most comparisons.
        seed: Of the bootstrap.
    """
    used = [m for m in meetings if m.first != m.second]
    if not used:
        return Ranking(anchor="", n=0, prompts=0, strengths=())
    models = sorted({name for m in used for name in (m.first, m.second)})
    features, prompts = points(used, models), [m.prompt for m in used]
    sums = cluster_sums(prompts, features)
    size = len(models)
    totals = sums.sum(axis=0).reshape(size, size)
    n = totals.sum(axis=1) + totals.sum(axis=0)
    at = models.index(anchor) if anchor in models else int(np.argmax(n))
    fitted = fit(totals[None])[0]
    drawn = resampled(sums, seed) if len(sums) > 1 else sums.sum(axis=0, keepdims=True)
    rounds = fit(drawn.reshape(-1, size, size))
    rounds -= rounds[:, at : at + 1]
    rounds[~_is_joined(drawn.reshape(-1, size, size) > 0, at)] = np.nan
    unrated = _unrated(totals, at)
    prompts_of = _prompts_of(used)
    strengths = [
        _strength(
            models[k], fitted[k] - fitted[at], rounds[:, k], k == at, unrated[k],
            round(n[k]), prompts_of[models[k]],
        )
        for k in range(size)
    ]  # fmt: skip
    strengths.sort(key=lambda s: _order(s, fitted, models))
    return Ranking(anchor=models[at], n=len(used), prompts=len(sums), strengths=tuple(strengths))


def points(meetings: Sequence[Meeting], models: Sequence[str]) -> Floats:
    """`[N, M * M]`: what the row's model got from the column's in each meeting."""
    size = len(models)
    place = {model: k for k, model in enumerate(models)}
    features = np.zeros((len(meetings), size, size))
    for n, m in enumerate(meetings):
        good, bad = OUTCOME_POINTS[m.outcome]
        features[n, place[m.first], place[m.second]] += good
        features[n, place[m.second], place[m.first]] += bad
    return features.reshape(len(meetings), size * size)


def fit(wins: Floats) -> Floats:
    """Maximum likelihood strengths in logits (mean 0), a row per table.

    Args:
        wins: `[R, M, M]`: points that the row's model took from the column's.
    """
    size = wins.shape[1]
    games = wins + wins.transpose(0, 2, 1)
    theta: Floats = np.zeros((len(wins), size))
    ridge = np.eye(size) * _PRIOR
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(theta[:, None, :] - theta[:, :, None]))
        slope = (wins - games * chance).sum(axis=2) - _PRIOR * theta
        weight = games * chance * (1 - chance)
        bend = -weight + ridge
        bend[:, range(size), range(size)] += weight.sum(axis=2)
        step = np.asarray(np.linalg.solve(bend, slope[:, :, None])[:, :, 0], dtype=np.float64)
        longest = np.abs(step).max(axis=1, keepdims=True)
        shorter: Floats = np.minimum(1.0, _LONGEST / np.maximum(longest, _LONGEST))
        theta = theta + step * shorter
        if float(longest.max()) < _DONE:
            break
    return theta


def covariance(wins: Floats, theta: Floats, prior: float) -> Floats:
    """Of the strengths (logits) at `theta`, for one table, under a prior of this precision."""
    chance = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
    weight = (wins + wins.T) * chance * (1 - chance)
    bend = np.diag(weight.sum(axis=1) + prior) - weight
    return np.asarray(np.linalg.inv(bend), dtype=np.float64)


def _strength(
    model: str, logit: float, rounds: Floats, is_anchor: bool, why: str, n: int, prompts: int
) -> Strength:
    if is_anchor:
        return Strength(
            model=model, rating=ANCHOR, low=ANCHOR, high=ANCHOR, n=n, prompts=prompts,
            why="Anchor: the others are measured from here.",
        )  # fmt: skip
    if why:
        return Strength(
            model=model, rating=None, low=None, high=None, n=n, prompts=prompts, why=why
        )
    ends = percentiles(rounds) if len(rounds) > 1 else None
    low, high = ends or (-np.inf, np.inf)
    if len(rounds) < 2:
        why = "One prompt only: no interval."
    elif ends is None:
        why = "Too few prompts join it with the anchor: no interval."
    elif max(-low, high) > _MOST:
        why = "Too few upsets: the interval has an open end."
    return Strength(
        model=model,
        rating=ANCHOR + SCALE * logit,
        low=ANCHOR + SCALE * low if low > -_MOST else None,
        high=ANCHOR + SCALE * high if high < _MOST else None,
        n=n,
        prompts=prompts,
        why=why,
    )


def _unrated(totals: Floats, anchor: int) -> list[str]:
    """Per model why it has no finite estimate from the anchor; '' where it has one (Ford 1957)."""
    _, linked = scipy.sparse.csgraph.connected_components(
        totals > 0, directed=True, connection="strong"
    )
    _, met = scipy.sparse.csgraph.connected_components(totals > 0, directed=False)
    beats = _reach(totals > 0)
    reasons = []
    for k in range(len(totals)):
        reason = ""
        if met[k] != met[anchor]:
            reason = "Never compared with the anchor, not even by way of others."
        elif linked[k] != linked[anchor]:
            reason = (
                "Won everything that leads to the anchor: no finite estimate."
                if beats[k, anchor]
                else "Lost everything that leads to the anchor: no finite estimate."
                if beats[anchor, k]
                else "No chain of wins joins it with the anchor."
            )
        reasons.append(reason)
    return reasons


def _is_joined(edges: npt.NDArray[np.bool_], anchor: int) -> npt.NDArray[np.bool_]:
    """`[R, M]`: whether a chain of points leads from the model to the anchor, or back.

    One way alone means a strength without end, which the sums show; neither means that nothing of
    the two is known, and the figure would be the prior's.
    """
    reach = _reach(edges)
    joined = reach[:, :, anchor] | reach[:, anchor, :]
    joined[:, anchor] = True
    return joined


def _reach(edges: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """True where a chain of edges leads from row to column; of the last two axes."""
    reach = edges.copy()
    for k in range(edges.shape[-1]):
        reach |= reach[..., :, k : k + 1] & reach[..., k : k + 1, :]
    return reach


def _prompts_of(meetings: Sequence[Meeting]) -> dict[str, int]:
    found: dict[str, set[str]] = defaultdict(set)
    for m in meetings:
        found[m.first].add(m.prompt)
        found[m.second].add(m.prompt)
    return {model: len(prompts) for model, prompts in found.items()}


def _order(strength: Strength, fitted: Floats, models: Sequence[str]) -> tuple[float, str]:
    return -float(fitted[models.index(strength.model)]), strength.model

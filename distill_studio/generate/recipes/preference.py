"""Preference candidates: several answers to each seed, ranked by a judge, for DPO.

After UltraFeedback (arXiv 2310.01377: answers of several models, scored in four aspects) and
Zephyr (2310.16944: chosen is the best by mean score, rejected a random other one). A margin keeps
out couples that the judge hardly tells apart. Every answer is stored as a candidate, so that people
can compare them whatever the judge says.
"""

from collections.abc import Sequence

from distill_studio.core.ids import content_hash
from distill_studio.generate.effects import ELIMINATED, Dropped, Made, Ranked, Steps, Unit
from distill_studio.generate.prompts import load_prompts
from distill_studio.generate.recipes.base import Settings
from distill_studio.generate.recipes.candidates import (
    CANDIDATE,
    Candidate,
    ask_candidates,
    best_first,
    compare_all,
    different,
    score_all,
)

PAIRWISE = "every two in both orders"
WORST = "the worst"
_CLEAR, _VERY_CLEAR = 1.0, 2.0  # differences of the mean score, on 1 to 5


class PreferenceCandidates:
    """Candidates of every teacher, a judge's scores, one preference per seed."""

    prompts = load_prompts("preference")

    def samples(self, n: int) -> int:
        """One run over each seed: it asks every teacher."""
        return 1

    def steps(self, unit: Unit, settings: Settings) -> Steps:
        """Answers, verdicts, the choice."""
        every = yield from ask_candidates(unit, settings, settings.number("candidates"))
        candidates = different(every)
        if len(candidates) == 1:
            reason = f"All {len(every)} answers are equal: there is nothing to compare."
            raise Dropped(f"{CANDIDATE}/0", ELIMINATED, reason, every[0].reply.text)
        judge = compare_all if settings.word("judging") == PAIRWISE else score_all
        judged = yield from judge(candidates, unit, settings)
        drafts = tuple(candidate.draft() for candidate in judged)
        ranked = best_first(judged)
        other = rejected(ranked, unit, settings)
        if other is None:
            return Made(drafts)
        places = {candidate.place: number for number, candidate in enumerate(judged)}
        best = ranked[0]
        strength = strength_of(_gap(best, other), settings)
        return Made(drafts, (Ranked(places[best.place], places[other.place], strength),))


def rejected(ranked: Sequence[Candidate], unit: Unit, settings: Settings) -> Candidate | None:
    """The one that loses: at least the margin below the best; None where there is none.

    There is none either where the judge's replies could be read for fewer than two: people still
    have the answers to compare, and each tells what was wrong with its verdict.
    """
    margin = settings.real("margin")
    far = [c for c in ranked[1:] if _gap(ranked[0], c) >= margin and _gap(ranked[0], c) > 0]
    if not far:
        return None
    if settings.word("rejected") == WORST:
        return far[-1]
    chance = int(content_hash([unit.seed.content_hash, unit.attempt])[:8], 16)
    return far[chance % len(far)]


def strength_of(gap: float, settings: Settings) -> int:
    """How clear the win is, 1 to 3: by points of the score, or by share of wins."""
    scale = 1.0 if settings.word("judging") != PAIRWISE else 3.0  # a share of 1/3 for a point
    return 1 + (gap * scale >= _CLEAR) + (gap * scale >= _VERY_CLEAR)


def _gap(best: Candidate, other: Candidate) -> float:
    return (best.score or 0.0) - (other.score or 0.0)

"""Answers that a judge scored low. The scores stand on the rows: recipes with a judge give them."""

from typing import Literal

from distill_studio.curate.filters.base import (
    Filter,
    FilterConfig,
    Group,
    Limit,
    measures_nothing,
    setting,
)

JUDGE = "judge"


class JudgeScoreConfig(FilterConfig):
    """The lowest score that stays. Off at first: what a good score is depends on the rubric."""

    kind: Literal["judge_score"] = "judge_score"
    is_on: bool = setting(False, "Use this filter")
    min_score: float = setting(
        4.0, "Lowest score that stays", "On the judge's own scale; rows without a score stay."
    )

    def limits(self) -> tuple[Limit, ...]:
        """One limit on the stored score."""
        return (Limit(JUDGE, self.min_score, why_low="judged {score:g}, less than {limit:g}"),)


JUDGE_SCORE = Filter(
    JudgeScoreConfig,
    "Judge's score",
    "Answers that a model judged below a score.",
    0,
    measures_nothing,
    Group.PROOF,
)

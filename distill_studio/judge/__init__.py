"""What a model thinks of answers: scores by a rubric, and which of two is better.

Start from `rubric` (one answer, 1 to 5 in each aspect), `pairwise` (two answers, in both orders),
`families` (is the judge a relative of whom it judges) and `majority` (what most samples say). These
are suggestions: they may rank what models wrote, but never decide for a person, and what a person
decided stays whatever a judge says.
"""

from distill_studio.judge.families import families, family, family_warning
from distill_studio.judge.majority import Majority, majority
from distill_studio.judge.pairwise import (
    OrderVerdict,
    PairwiseResult,
    combine,
    order_figures,
    pairwise_requests,
    read_pairwise,
)
from distill_studio.judge.prompts import PairwisePrompt, Rubric, load_pairwise, load_rubric
from distill_studio.judge.rubric import Scores, read_scores, rubric_request

__all__ = [
    "Majority",
    "OrderVerdict",
    "PairwisePrompt",
    "PairwiseResult",
    "Rubric",
    "Scores",
    "combine",
    "families",
    "family",
    "family_warning",
    "load_pairwise",
    "load_rubric",
    "majority",
    "order_figures",
    "pairwise_requests",
    "read_pairwise",
    "read_scores",
    "rubric_request",
]

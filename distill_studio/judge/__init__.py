"""What a model thinks of answers: scores by a rubric, and which of two is better.

Start from `rubric` (one answer, 1 to 5 in each aspect), `pairwise` (two answers, in both orders),
`families` (is the judge a relative of whom it judges), `majority` (what most samples say) and
`same_problem` (is a prompt a test item in other words). These are suggestions: they may rank what
models wrote, but never decide for a person, and what a person decided stays whatever a judge says.
"""

from distill_studio.judge.families import families, family_warning
from distill_studio.judge.majority import Majority, majority
from distill_studio.judge.pairwise import (
    OrderVerdict,
    PairwiseResult,
    combine,
    pairwise_requests,
    read_pairwise,
)
from distill_studio.judge.prompts import (
    PairwisePrompt,
    Rubric,
    SameProblemPrompt,
    load_pairwise,
    load_rubric,
    load_same_problem,
)
from distill_studio.judge.rubric import Scores, read_scores, rubric_request
from distill_studio.judge.same_problem import (
    SameProblem,
    read_same_problem,
    same_problem_request,
)

__all__ = [
    "Majority",
    "OrderVerdict",
    "PairwisePrompt",
    "PairwiseResult",
    "Rubric",
    "SameProblem",
    "SameProblemPrompt",
    "Scores",
    "combine",
    "families",
    "family_warning",
    "load_pairwise",
    "load_rubric",
    "load_same_problem",
    "majority",
    "pairwise_requests",
    "read_pairwise",
    "read_same_problem",
    "read_scores",
    "rubric_request",
    "same_problem_request",
]

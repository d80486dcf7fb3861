"""Answers that a language model finds unlikely, or that the question does not make likelier.

The losses are made by a job (`quality_score`), per token of the answer and in nats. The instruction
following difficulty (IFD, arXiv 2308.12032) is loss(answer | question) / loss(answer): the ratio of
losses, not of perplexities as in Superfiltering. From 1 up the question does not help at all: the
answer belongs to another question, or is noise; near 0 the answer follows from it and teaches
little. Perplexity is exp(loss(answer | question)).
"""

import math
from typing import Literal

from distill_studio.curate.filters.base import (
    Filter,
    FilterConfig,
    Group,
    Limit,
    measures_nothing,
    setting,
)

IFD = "likelihood.ifd"
PERPLEXITY = "likelihood.perplexity"


class LikelihoodConfig(FilterConfig):
    """Limits on IFD and perplexity. Off at first: the scores have to be made."""

    kind: Literal["likelihood"] = "likelihood"
    is_on: bool = setting(False, "Use this filter")
    model: str = setting("", "Scored by", "Empty: the model that scored last.", is_hidden=True)
    max_ifd: float = setting(
        1.0, "IFD must be below", "The question must make the answer likelier; 0 = any.", ge=0
    )
    min_ifd: float = setting(0.0, "Lowest IFD", "Leaves out what is too easy; 0 = any.", ge=0)
    max_perplexity: float = setting(0.0, "Highest perplexity", "0 = any.", ge=0)

    def limits(self) -> tuple[Limit, ...]:
        """On the two measures of the model."""
        below = math.nextafter(self.max_ifd, 0.0) if self.max_ifd else None
        return (
            Limit(
                f"{IFD}@{self.model}",
                self.min_ifd or None,
                below,
                "IFD {score:.3f}, less than {limit:g}",
                "IFD {score:.3f}, not below {limit:g}",
            ),
            Limit(
                f"{PERPLEXITY}@{self.model}",
                maximum=self.max_perplexity or None,
                why_high="perplexity {score:.4g}, more than {limit:g}",
            ),
        )


LIKELIHOOD = Filter(
    LikelihoodConfig,
    "Likelihood and IFD",
    "How likely a small model finds the answer, and how much the question helps. Score first.",
    0,
    measures_nothing,
    Group.PROOF,
)

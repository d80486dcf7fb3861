"""Rows near to a row of another dataset, as `references` found them.

The store gives a row the score `reference.<field>`, the similarity of the most alike item of all
reference sets, with the set's name as its note.
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

MEASURE = "reference"
FLOOR = 0.8  # least similarity that is stored


class ReferenceConfig(FilterConfig):
    """From where on a row counts as one of the other dataset."""

    kind: Literal["reference"] = "reference"
    field: Literal["both", "prompt", "answer"] = setting(
        "both",
        "Compare",
        choices={"both": "Prompt and answer", "prompt": "Prompt", "answer": "Answer"},
    )
    threshold: float = setting(0.9, "Near from this similarity up", ge=FLOOR, le=1.0, step=0.005)

    def limits(self) -> tuple[Limit, ...]:
        """Rows at the threshold go, as near-duplicates do."""
        below = math.nextafter(self.threshold, 0.0)
        why = "near a row of {note}, {score:.3f} alike"
        return (Limit(f"{MEASURE}.{self.field}", maximum=below, why_high=why),)


REFERENCE = Filter(
    ReferenceConfig,
    "Near another dataset",
    "Rows that are near to a row of a dataset you compared with, under Against another dataset.",
    0,
    measures_nothing,
    Group.PROOF,
)

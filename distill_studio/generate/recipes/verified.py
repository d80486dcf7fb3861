"""Verified chain of thought: n traces per seed, kept where the final answer holds.

As DeepSeek-R1 made its 600,000 reasoning rows (arXiv 2501.12948, section 2.3.3): rejection
sampling against a reference answer, and no traces that mix languages, loop or break off. The
checks themselves are in `verify`; a generation runs them between reply and store.
"""

from distill_studio.generate.recipes.base import load_prompts
from distill_studio.generate.recipes.best_of_n import BestOfN


class Verified(BestOfN):
    """Like best of n; its prompts say that replies are verified."""

    prompts = load_prompts("verified")

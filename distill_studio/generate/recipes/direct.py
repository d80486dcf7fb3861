"""Direct answer: each teacher answers each seed once."""

from collections.abc import Sequence

from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import Seed
from distill_studio.generate.recipes.base import Ask, answer_ask, load_prompts


class Direct:
    """One answer per seed and teacher, with an optional system prompt."""

    prompts = load_prompts("direct")

    def samples(self, n: int) -> int:
        """One, whatever `n`."""
        return 1

    def requests_for(
        self, seed: Seed, sample: int, sampling: SamplingParams, system_prompt: str
    ) -> Sequence[Ask]:
        """A single request for the next turn."""
        return [answer_ask(seed, sample, sampling, system_prompt)]

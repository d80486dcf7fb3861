"""Best of n: several candidates per seed, for people (or a judge) to compare."""

from collections.abc import Sequence

from distill_studio.core.errors import InvalidInput
from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import Seed
from distill_studio.generate.recipes.base import Ask, answer_ask, load_prompts

MOST_SAMPLES = 64


class BestOfN:
    """`n` samples per seed and teacher, each with a random seed of its own."""

    prompts = load_prompts("best_of_n")

    def samples(self, n: int) -> int:
        """`n` itself.

        Raises:
            InvalidInput: Fewer than one or more than 64.
        """
        if not 1 <= n <= MOST_SAMPLES:
            raise InvalidInput(
                f"{n} candidates per seed are not possible.", f"Choose 1 to {MOST_SAMPLES}."
            )
        return n

    def requests_for(
        self, seed: Seed, sample: int, sampling: SamplingParams, system_prompt: str
    ) -> Sequence[Ask]:
        """A single request for the next turn."""
        return [answer_ask(seed, sample, sampling, system_prompt)]

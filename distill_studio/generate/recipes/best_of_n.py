"""Best of n: several candidates per seed, for people (or a judge) to compare."""

from distill_studio.core.errors import InvalidInput
from distill_studio.generate.effects import Made, Steps, Unit
from distill_studio.generate.prompts import load_prompts
from distill_studio.generate.recipes.base import Settings, answered

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

    def steps(self, unit: Unit, settings: Settings) -> Steps:
        """A single request for the next turn."""
        draft = yield from answered(unit, settings)
        return Made((draft,))

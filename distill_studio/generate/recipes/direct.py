"""Direct answer: each teacher answers each seed once."""

from distill_studio.generate.effects import Made, Steps, Unit
from distill_studio.generate.prompts import load_prompts
from distill_studio.generate.recipes.base import Settings, answered


class Direct:
    """One answer per seed and teacher, with an optional system prompt."""

    prompts = load_prompts("direct")

    def samples(self, n: int) -> int:
        """One, whatever `n`."""
        return 1

    def steps(self, unit: Unit, settings: Settings) -> Steps:
        """A single request for the next turn."""
        draft = yield from answered(unit, settings)
        return Made((draft,))

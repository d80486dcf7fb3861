"""Recipes by name. A recipe is a small object; its prompts are a file in `assets/recipes/`."""

from distill_studio.generate.recipes.back_translation import BackTranslation
from distill_studio.generate.recipes.base import Recipe, Settings
from distill_studio.generate.recipes.best_of_n import BestOfN
from distill_studio.generate.recipes.code import Code
from distill_studio.generate.recipes.direct import Direct
from distill_studio.generate.recipes.ensemble import Ensemble
from distill_studio.generate.recipes.evol_instruct import EvolInstruct
from distill_studio.generate.recipes.explanation import Explanation
from distill_studio.generate.recipes.magpie import Magpie
from distill_studio.generate.recipes.multi_turn import MultiTurn
from distill_studio.generate.recipes.preference import PreferenceCandidates
from distill_studio.generate.recipes.self_instruct import SelfInstruct
from distill_studio.generate.recipes.textbook import Textbook
from distill_studio.generate.recipes.verified import Verified

_ALL: tuple[Recipe, ...] = (  # in the order shown
    Direct(),
    BestOfN(),
    Verified(),
    SelfInstruct(),
    EvolInstruct(),
    Magpie(),
    MultiTurn(),
    Textbook(),
    Explanation(),
    BackTranslation(),
    Code(),
    PreferenceCandidates(),
    Ensemble(),
)
RECIPES: dict[str, Recipe] = {recipe.prompts.name: recipe for recipe in _ALL}

__all__ = ["RECIPES", "Recipe", "Settings"]

"""Recipes by name. A recipe is a small object; its prompts are a file in `assets/recipes/`."""

from distill_studio.generate.recipes.base import Recipe, Settings
from distill_studio.generate.recipes.best_of_n import BestOfN
from distill_studio.generate.recipes.direct import Direct
from distill_studio.generate.recipes.verified import Verified

RECIPES: dict[str, Recipe] = {
    recipe.prompts.name: recipe for recipe in (Direct(), BestOfN(), Verified())
}

__all__ = ["RECIPES", "Recipe", "Settings"]

"""Recipes by name. A recipe is a small object; its prompts are a file in `assets/recipes/`."""

from distill_studio.generate.recipes.base import Ask, Recipe
from distill_studio.generate.recipes.best_of_n import BestOfN
from distill_studio.generate.recipes.direct import Direct

RECIPES: dict[str, Recipe] = {"direct": Direct(), "best_of_n": BestOfN()}

__all__ = ["RECIPES", "Ask", "Recipe"]

"""Recipes: what they are, and their texts as this workspace wants them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import NotFound
from distill_studio.core.records import Record
from distill_studio.generate.prompts import Prompts, fields_of
from distill_studio.generate.recipes import RECIPES
from distill_studio.services.base import Service
from distill_studio.store import recipe_texts as table


class TextsVersion(Record):
    """One change of a recipe's texts."""

    version: str = Field(description="As it stands in the provenance of pairs.")
    texts: dict[str, str] = Field(description="The texts that differ from the shipped ones.")
    user_name: str = Field(description="Who changed them.")
    created_at: datetime = Field(description="When, UTC.")


class RecipesService(Service):
    """List recipes; change their texts. Pairs name the version that made them."""

    word = "recipes"

    def page(self, actor: Actor) -> list[Prompts]:
        """All recipes, with the texts in force here."""
        actor.require(Role.VIEWER)
        return [self.in_force(name) for name in RECIPES]

    def history(self, actor: Actor, recipe: str) -> list[TextsVersion]:
        """The changes of a recipe's texts, newest first."""
        actor.require(Role.VIEWER)
        return [TextsVersion(**row) for row in table.history(self.db, _known(recipe))]

    def edit(self, actor: Actor, recipe: str, texts: dict[str, str]) -> Prompts:
        """Put other texts in force for later generations; those not named stay.

        Raises:
            InvalidInput: A text is empty, or lacks something that the recipe fills in.
        """
        actor.require(Role.REVIEWER)
        shipped = RECIPES[_known(recipe)].prompts
        now = {text.name: text.text for text in self.in_force(recipe).texts}
        edited = shipped.with_texts(now | texts)
        known = {text.name: text.text for text in shipped.texts}
        differing = {t.name: t.text for t in edited.texts if t.text != known[t.name]}
        if differing != table.in_force(self.db, recipe):
            table.save(self.db, recipe, edited.version, differing, actor.user)
        return edited

    def reset(self, actor: Actor, recipe: str) -> Prompts:
        """Put the shipped texts back in force; the edited ones stay in the history."""
        actor.require(Role.REVIEWER)
        shipped = RECIPES[_known(recipe)].prompts
        if table.in_force(self.db, recipe):
            table.save(self.db, recipe, shipped.version, {}, actor.user)
        return shipped

    def in_force(self, recipe: str) -> Prompts:
        """A recipe with the texts in force here.

        A text that a newer version of the app no longer has, or fills in otherwise, is left out.

        Raises:
            NotFound: No such recipe.
        """
        shipped = RECIPES[_known(recipe)].prompts
        fields = {text.name: text.fields for text in shipped.texts}
        edited = {
            name: text
            for name, text in table.in_force(self.db, recipe).items()
            if name in fields and fields_of(text) == fields[name]
        }
        return shipped.with_texts(edited)


def _known(recipe: str) -> str:
    if recipe not in RECIPES:
        raise NotFound(f"There is no recipe '{recipe}'.", f"Choose of: {', '.join(RECIPES)}.")
    return recipe

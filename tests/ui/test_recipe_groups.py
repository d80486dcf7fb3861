"""Every recipe is in one group, and the style sheet heads each group at its first recipe."""

from pathlib import Path

from distill_studio.generate.recipes import RECIPES
from distill_studio.ui.panels.recipe_form import GROUPS

CSS = Path(__file__).parents[2] / "assets" / "generate.css"


def test_every_recipe_is_in_one_group() -> None:
    grouped = [name for group in GROUPS.values() for name in group]
    assert sorted(grouped) == sorted(RECIPES)


def test_the_style_sheet_heads_each_group() -> None:
    css = CSS.read_text(encoding="utf-8")
    for heading, names in GROUPS.items():
        assert f'input[value="{names[0]}"])::before {{ content: "{heading}" / ""; }}' in css

"""What a browser kept of a form is filled in where it fits, and only there."""

import json
from typing import Any

import gradio as gr
import pytest

from distill_studio.generate.recipes import RECIPES
from distill_studio.ui.panels.form_memory import FormMemory, fits, pooled
from distill_studio.ui.panels.recipe_form import NUMBERS, recalled_options


def memory() -> FormMemory:
    with gr.Blocks():
        fields: dict[str, Any] = {
            "tokens": gr.Number(256, minimum=1, maximum=1000),
            "warm": gr.Slider(0, 2, 0.7),
            "method": gr.Radio(["sft", "dpo"], value="sft"),
            "only": gr.Checkbox(True),
            "teachers": gr.CheckboxGroup([]),
            "topic": gr.Dropdown([("all", "")], value=""),
            "system": gr.Textbox(),
        }
        return FormMemory("words", fields)


def test_values_come_back_for_their_workspace_only() -> None:
    kept = {"main": {"tokens": 64, "teachers": ["a"], "topic": "gone", "system": "Be kind"}}
    found = memory().recalled("main", kept, "")
    assert found is not None
    assert (found["tokens"], found["teachers"], found["system"]) == (64, ["a"], "Be kind")
    assert (found["warm"], found["method"], found["only"]) == (0.7, "sft", True)
    other = memory().recalled("other", kept, "main")
    assert other is not None
    assert other["tokens"] == 256
    assert memory().recalled("main", kept, "main") is None  # the form shows it: leave it alone


def test_what_is_filled_is_told_from_what_was_there() -> None:
    form = memory()
    sent = {**form.recalled("main", {}, ""), "tokens": 5}
    wanted = {**sent, "tokens": 64}
    new = json.loads(form.filling("main", "", sent, wanted))
    assert (new["of"], new["from"]) == ("main", "")
    assert new["base"]["tokens"] == 256  # a new page: 5 was entered before it asked
    assert new["wanted"]["tokens"] == 64
    again = json.loads(form.filling("main", "main", sent, wanted))
    assert again["base"]["tokens"] == 5  # what is another number by now was entered since
    assert new["id"] != again["id"]  # else the browser would not notice the second


@pytest.mark.parametrize("kept", [None, [], "x", {"main": 3}, {"main": {"tokens": "many"}}])
def test_odd_storage_gives_the_defaults(kept: Any) -> None:
    found = memory().recalled("main", kept, "")
    assert found is not None
    assert found["tokens"] == 256


def test_values_that_do_not_fit() -> None:
    with gr.Blocks():
        assert not fits(gr.Number(minimum=1, maximum=8), 9)
        assert not fits(gr.Slider(0, 2, 1), True)
        assert not fits(gr.Slider(0, 2, 1), -0.1)
        assert not fits(gr.Radio(["sft"]), "rlhf")
        assert not fits(gr.Checkbox(), "yes")
        assert not fits(gr.CheckboxGroup([]), [1])
        assert not fits(gr.Textbox(), None)
        assert fits(gr.Radio([]), "filled later")


def test_a_recipes_options_are_kept_by_recipe() -> None:
    kept = {"main": {"pools": {"self_instruct": [3, 0.5, None, None], "evol_instruct": [99]}}}
    instruct = RECIPES["self_instruct"].prompts.options
    assert recalled_options(instruct, pooled(kept, "main", "self_instruct"))[:2] == [3, 0.5]
    assert recalled_options(instruct, pooled(kept, "other", "self_instruct"))[:2] == [5, 0.7]
    evol = RECIPES["evol_instruct"].prompts.options
    values = recalled_options(evol, pooled(kept, "main", "evol_instruct"))
    assert values[0] == next(o.default for o in evol if not o.choices)  # 99 rounds are too many
    assert values[NUMBERS] == next(o.default for o in evol if o.choices)

"""What keeps the page light: see `_lighten` and `_add_endpoints`."""

import gradio as gr
import pytest
from gradio.components.api_component import Api

from distill_studio.core.actor import Actor
from distill_studio.services import operations
from distill_studio.services.studio import Studio
from distill_studio.ui.build import build


@pytest.fixture
def page(studio: Studio, owner: Actor) -> gr.Blocks:
    return build(studio, lambda _: owner)


def test_progress_is_shown_on_one_component_of_each_event(page: gr.Blocks) -> None:
    first = page.children[0]
    assert first.elem_id == "ds-unseen"
    for event in page.fns.values():
        assert len(event.show_progress_on) == 1
        if event.show_progress == "hidden":
            assert event.show_progress_on == [first], event.api_name


def test_endpoints_share_their_components(page: gr.Blocks) -> None:
    assert sum(isinstance(part, Api) for part in page.blocks.values()) == 3
    described = page.get_api_info()["named_endpoints"]
    assert {f"/{name}" for name in operations.operations()} == set(described)
    assert all(
        [one["parameter_name"] for one in endpoint["parameters"]] == ["workspace", "arguments"]
        for endpoint in described.values()
    )


def test_a_choice_made_while_the_one_before_is_worked_at_counts(page: gr.Blocks) -> None:
    """By default Gradio drops it, and the page goes on showing what was chosen first."""
    dropping = [
        f"{page.blocks[part].elem_id} {event}"
        for made in page.fns.values()
        for part, event in made.targets
        if event in ("input", "change") and made.trigger_mode == "once"
    ]
    assert dropping == []

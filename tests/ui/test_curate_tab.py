"""The Curate tab's own promise: its form holds what the user last set."""

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from distill_studio.core.actor import Actor
from distill_studio.core.records import Message, Pair
from distill_studio.services.workspace import Workspace
from distill_studio.store import pairs
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.tabs import curate

REQUEST: Any = SimpleNamespace(request=object())


@pytest.fixture
def built(studio, workspace: Workspace, owner: Actor) -> tuple[gr.Blocks, TabView]:
    with gr.Blocks() as page:
        chooser = gr.Dropdown([workspace.name], value=workspace.name)
        with gr.Tabs() as tabs, gr.Tab("Curate"):
            view = curate.build(Ui(studio, lambda request: owner, chooser, tabs))
    return page, view


def event(page: gr.Blocks, elem_id: str) -> Any:
    """The event of a button's click."""
    return next(
        fn
        for fn in page.fns.values()
        if any(page.blocks[target].elem_id == elem_id for target, _ in fn.targets if target)
    )


def fill(workspace: Workspace) -> None:
    ends = ("stop", "length", "length")
    pairs.insert(
        workspace.db,
        [
            Pair(
                seed_id=f"s{n}",
                messages=(Message(role="user", content=f"question {n}"),),
                answer=f"Here is answer number {n} in a few words.",
                finish_reason=end,
            )
            for n, end in enumerate(ends)
        ],
    )


def test_undo_undoes_the_step_and_leaves_the_form(
    built: tuple[gr.Blocks, TabView], workspace: Workspace, owner: Actor
) -> None:
    page, view = built
    fill(workspace)
    undo = event(page, "curate-undo")
    limits_only = ("curate-threshold", "curate-teacher")  # get bounds and choices, no value
    form = [c for c in view.inputs if c.elem_id and c.elem_id not in limits_only]
    assert not {c.elem_id for c in form} & {c.elem_id for c in undo.outputs}

    at = {c.elem_id: n for n, c in enumerate(view.inputs)}
    opened = view.show(REQUEST, workspace.name, "", *[None] * (len(view.inputs) - 1))
    values = list(opened[: len(view.inputs)])  # the tab's outputs begin with its inputs
    assert values[at["curate-length-drop-truncated"]] is True
    workspace.curate.apply(owner)
    assert workspace.curate.state(owner).filtered == 2

    values[at["curate-length-drop-truncated"]] = False  # the user unticks it, applies, and undoes
    apply = event(page, "curate-apply")
    apply.fn(REQUEST, workspace.name, *values[1:])
    assert workspace.curate.state(owner).filtered == 0
    after = dict(
        zip(
            (c.elem_id for c in undo.outputs),
            undo.fn(REQUEST, workspace.name, *values[1:]),
            strict=True,
        )
    )
    assert workspace.curate.state(owner).filtered == 2, "the step is undone"
    assert after["curate-apply"].value == "Put 2 rows back", "as the form still asks"


def test_a_verdict_can_be_seen_and_taken_back(
    built: tuple[gr.Blocks, TabView], workspace: Workspace, owner: Actor
) -> None:
    page, view = built
    copies = [
        Pair(seed_id=f"s{n}", messages=(Message(role="user", content="q"),), answer="The same.")
        for n in range(2)
    ]
    pairs.insert(workspace.db, copies)
    workspace.curate.override(owner, copies[0].id, copies[1].id, "keep_both")
    at = {c.elem_id: n for n, c in enumerate(view.inputs)}
    opened = view.show(REQUEST, workspace.name, "", *[None] * (len(view.inputs) - 1))
    values = list(opened[: len(view.inputs)])
    values[at["curate-list"]] = "verdicts"
    look, clear = event(page, "curate-list"), event(page, "curate-clear")

    def shown(fn: Any, *inputs: Any) -> dict[str, Any]:
        found = fn.fn(REQUEST, workspace.name, *inputs, *values[1:])
        return dict(zip((c.elem_id or id(c) for c in fn.outputs), found, strict=True))

    before = shown(look)
    assert before["curate-pairs"].visible
    assert before["curate-clear"].interactive
    assert "you said: keep both" in before["curate-pair"]
    assert "1 of 1" in before["curate-position"]
    lists = next(one for one in before.values() if isinstance(one, dict) and "verdicts" in one)
    after = shown(clear, lists)
    assert workspace.curate.verdicts(owner) == []
    assert "No pairs" in after["curate-pair"]
    assert workspace.curate.plan_report(owner).duplicates == 1, "the threshold counts again"


def test_coming_back_to_the_tab_keeps_the_form(
    built: tuple[gr.Blocks, TabView], workspace: Workspace
) -> None:
    _, view = built
    fill(workspace)
    count = len(view.inputs)
    first = view.show(REQUEST, workspace.name, "", *[None] * (count - 1))
    assert first[0] == workspace.name
    again = view.show(REQUEST, workspace.name, workspace.name, *first[1:count])
    assert all(value == gr.skip() for value in again[1:count])

"""The Evaluate tab fills in parts: where one fails, its place says so and the others are there."""

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from distill_studio.core.actor import Actor
from distill_studio.core.errors import NotFound
from distill_studio.core.records import Message
from distill_studio.core.records.comparison import Answer, AnswerState, Comparison, ModelCard
from distill_studio.services.workspace import Workspace
from distill_studio.store import evaluations
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import contained
from distill_studio.ui.tabs import evaluate

REQUEST: Any = SimpleNamespace(request=object(), session_hash="page", query_params={})
PARTS = ("The comparison", "The arena", "Suites", "What a student lost", "Public benchmarks")


@pytest.fixture
def page() -> gr.Blocks:
    return gr.Blocks()


@pytest.fixture
def view(studio, workspace: Workspace, owner: Actor, page: gr.Blocks) -> TabView:
    with page:
        chooser = gr.Dropdown([workspace.name], value=workspace.name)
        with gr.Tabs() as tabs, gr.Tab("Evaluate"):
            made = evaluate.build(Ui(studio, lambda request: owner, chooser, tabs))
    evaluations.insert(workspace.db, Comparison(
        messages=(Message(role="user", content="Which one?"),),
        answers=tuple(
            Answer(card=ModelCard(id=f"base:{n}", label=n), text=n, state=AnswerState.DONE)
            for n in ("one", "two")
        ),
    ))  # fmt: skip
    return made


def fill(view: TabView, workspace: Workspace, *, arena_open: bool = False) -> dict[str, Any]:
    """What the tab shows when it opens, by the id of the component where it has one."""
    values = [arena_open if isinstance(one, gr.State) else one.value for one in view.inputs]
    found = view.show(REQUEST, workspace.name, *values)
    assert len(found) == len(view.outputs)
    return {
        one.elem_id or f"{type(one).__name__} {n}": value
        for n, (one, value) in enumerate(zip(view.outputs, found, strict=True))
    }


def troubles(shown: dict[str, Any]) -> list[str]:
    """What is said to have gone wrong."""
    parts = [v for k, v in shown.items() if k.startswith("HTML ") and isinstance(v, gr.HTML)]
    assert len(parts) == len(PARTS)
    assert all(part.visible == bool(part.value) for part in parts)
    return [part.value for part in parts if part.value]


def test_run_is_restored_after_an_error_too(view: TabView, page: gr.Blocks):
    """After one the page runs what waits for a failure, and nothing that waits for the end."""
    buttons = {"evaluate-run", "evaluate-stop"}
    wired = [
        (one._id, one.trigger_after, one.trigger_only_on_failure)
        for one in page.fns.values()
        if buttons <= {part.elem_id for part in one.outputs}
    ]
    asking = [number for number, after, _ in wired if after is None]
    restoring = {(after, failed) for _, after, failed in wired if after is not None}
    assert len(asking) == 2  # the button, and Enter
    assert restoring == {(number, failed) for number in asking for failed in (True, False)}


def test_all_is_well(view: TabView, workspace: Workspace):
    shown = fill(view, workspace, arena_open=True)
    assert troubles(shown) == []
    assert "Which one?" in shown["evaluate-history"]
    assert "No suite yet" in shown["evaluate-suite-empty"]
    assert "nobody has said which answer is better" in shown["evaluate-arena-models"]
    assert "Score a student beside its teacher" in shown["evaluate-back-empty"]


def test_a_closed_arena_asks_nothing(view: TabView, workspace: Workspace):
    workspace.db.cursor().execute("DROP VIEW arena_verdicts_in_force")
    shown = fill(view, workspace)
    assert troubles(shown) == []
    assert shown["evaluate-arena-models"] == gr.skip()


@pytest.mark.parametrize(
    ("broken", "part"),
    [
        ("VIEW comparison_votes_in_force", "The comparison"),
        ("VIEW arena_verdicts_in_force", "The arena"),
        ("TABLE suites", "Suites"),
        ("TABLE benchmark_runs", "Public benchmarks"),
    ],
)
def test_an_error_is_said_in_its_part_alone(view, workspace: Workspace, broken: str, part: str):
    whole = fill(view, workspace, arena_open=True)
    with workspace.db.write() as cursor:
        cursor.execute(f"DROP {broken}")
    shown = fill(view, workspace, arena_open=True)
    (said,) = troubles(shown)
    assert f"{part} could not be shown. Something unexpected went wrong (code " in said
    columns = [v for k, v in shown.items() if k.startswith("Column ")]
    hidden = [v for v in columns if isinstance(v, gr.Column) and not v.visible]
    was_hidden = [v for v in whole.values() if isinstance(v, gr.Column) and not v.visible]
    assert len(hidden) == len(was_hidden) + (part != "Suites")  # its inner one was hidden already
    marks = {
        "The comparison": ("evaluate-history", "Which one?"),
        "The arena": ("evaluate-arena-models", "nobody has said"),
        "Suites": ("evaluate-suite-empty", "No suite yet"),
        "What a student lost": ("evaluate-back-empty", "Score a student"),
        "Public benchmarks": ("evaluate-bench-board", "Choose models and tasks"),
    }
    for name, (place, text) in marks.items():
        assert (text in str(shown[place])) == (name != part), name


def test_a_refusal_keeps_its_words():
    def refuse() -> tuple[Any, ...]:
        raise NotFound("That suite is gone.", "Add it again.")

    assert contained(refuse) == "That suite is gone.\nAdd it again."
    assert contained(lambda: (1, 2)) == (1, 2)


def test_a_workspace_that_is_gone_is_said_once(view: TabView):
    with pytest.raises(NotFound):
        view.show(REQUEST, "nowhere", *(one.value for one in view.inputs))

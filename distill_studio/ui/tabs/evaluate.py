"""The Evaluate tab: the same prompt to several models at once, votes, history, prompt sets.

Layout and wiring; what the events do lies in `ui/panels/compare_events.py`.
"""

from typing import Any

import gradio as gr

from distill_studio.services.evaluate import MOST
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import note, page_head
from distill_studio.ui.panels.arena_panel import ArenaPanel
from distill_studio.ui.panels.benchmarks_panel import BenchmarksPanel
from distill_studio.ui.panels.compare_events import (
    WELCOME,
    WINNERS,
    CompareEvents,
    Widgets,
)
from distill_studio.ui.panels.costs import show_cost
from distill_studio.ui.panels.feedback_panel import FeedbackPanel
from distill_studio.ui.panels.jobs import build_jobs_panel
from distill_studio.ui.panels.section import Section
from distill_studio.ui.panels.suites_panel import SuitesPanel

LABEL = "Evaluate"
_STREAM: dict[str, Any] = {
    "concurrency_limit": 32,  # pages that stream at once
    "concurrency_id": "evaluate-stream",
    "show_progress": "hidden",
    "api_visibility": "private",
}
_FOLLOW = """(id) => { const u = new URL(location);
if (id) u.searchParams.set('comparison', id); else u.searchParams.delete('comparison');
history.replaceState(null, '', u); return []; }"""
_OPEN_LINK = """
element.addEventListener('click', event => {
  const link = event.target.closest('a[data-comparison]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  trigger('select', {index: link.dataset.comparison, value: link.dataset.comparison});
});
"""
_KEYS = """
const names = {1: '1', 2: '2', 3: '3', 4: '4', t: 'tie', b: 'both_bad'};
const onkey = event => {
  if (!element.isConnected) { document.removeEventListener('keydown', onkey); return; }
  if (element.offsetParent === null || event.repeat || event.isComposing) return;
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const busy = 'input,textarea,select,[contenteditable=true],[role=listbox],[role=dialog]';
  if (event.target.closest && event.target.closest(busy)) return;
  if (!names[event.key]) return;
  const button = document.querySelector('button#evaluate-vote-' + names[event.key]);
  if (!button || button.offsetParent === null || button.disabled) return;
  event.preventDefault();
  button.click();
};
document.addEventListener('keydown', onkey);
"""
_NO_STUDENT = "There is no student yet. Teacher and base can be compared; Distill trains a student."


def build(ui: Ui) -> TabView:
    """Make the tab."""
    gr.HTML(
        page_head(
            "Student beside teacher",
            "The same prompt to several models at once. A vote here becomes a preference.",
        )
    )
    compare = Section("The comparison", lambda: ComparePanel(ui))
    arena = Section("The arena", lambda: ArenaPanel(ui))
    suites = Section("Suites", lambda: SuitesPanel(ui))
    back = Section("What a student lost", lambda: FeedbackPanel(ui, suites.panel))
    bench = Section("Public benchmarks", lambda: BenchmarksPanel(ui))
    sections: list[Section[Any]] = [compare, arena, suites, back, bench]

    def show(request: gr.Request, workspace: str, *chosen: Any) -> tuple[Any, ...]:  # noqa: ANN401
        ui.open(request, workspace)  # gone, or a stranger: said once, for all of them
        shown: list[Any] = []
        for section in sections:
            count = len(section.panel.inputs)
            own, chosen = chosen[:count], chosen[count:]
            shown += section.show(request, workspace, *own)
        return tuple(shown)

    return TabView(
        show=show,
        inputs=[part for section in sections for part in section.panel.inputs],
        outputs=[part for section in sections for part in section.outputs],
    )


class ComparePanel:
    """Asking several models the same, votes, sets and history."""

    def __init__(self, ui: Ui) -> None:
        self._w = _layout(ui)
        self._events = CompareEvents(ui, self._w)
        _wire_asking(ui, self._w, self._events)
        _wire_looking(ui, self._w, self._events)

    @property
    def inputs(self) -> list[Any]:
        """What stands in the panel and stays."""
        return [self._w.models, self._w.current, *self._w.marking]

    @property
    def outputs(self) -> list[Any]:
        """What `show` fills."""
        return self._w.shown

    def show(
        self,
        request: gr.Request,
        workspace: str,
        models: list[str] | None,
        current: str,
        *marking: Any,  # noqa: ANN401
    ) -> tuple[Any, ...]:
        """The whole panel."""
        return self._events.show(request, workspace, models, current, *marking)


def _layout(ui: Ui) -> Widgets:
    parts = _ask_form()
    parts |= _answers()
    with gr.Accordion("Several prompts at once", open=False, elem_id="evaluate-set"):
        with gr.Row(equal_height=True):
            parts["count"] = gr.Slider(
                1, 100, 10, step=1, label="Held-out prompts", elem_id="evaluate-set-count", scale=3
            )
            parts["run_set"] = gr.Button("Compare on these", elem_id="evaluate-set-run", scale=1)
        parts["set_cost"] = gr.HTML(elem_id="evaluate-set-cost", apply_default_css=False)
        parts["panel"] = build_jobs_panel(ui, ["compare_set"], "evaluate-set-jobs", limit=1)
        parts["set_table"] = _links("evaluate-set-table")
    with gr.Accordion("History", open=True):
        parts["history"] = _links("evaluate-history")
    return Widgets(**parts)


def _ask_form() -> dict[str, Any]:
    """What to ask, whom, and how."""
    parts: dict[str, Any] = {}
    with gr.Row(elem_id="evaluate-no-student", visible=False) as parts["no_student"]:
        gr.HTML(note(_NO_STUDENT, "warn"), apply_default_css=False)
        parts["to_distill"] = gr.Button(
            "Go to Distill", size="sm", elem_id="evaluate-to-distill", scale=0, min_width=140
        )
    parts["held_out"] = gr.HTML(elem_id="evaluate-held-out", apply_default_css=False)
    with gr.Row(equal_height=True):
        parts["models"] = gr.Dropdown(
            [],
            label=f"Models (2 to {MOST})",
            multiselect=True,
            max_choices=MOST,
            elem_id="evaluate-models",
            scale=4,
        )
        parts["blind"] = gr.Checkbox(
            label="Blind",
            info="Names hidden, order shuffled until you vote: such votes count in the arena.",
            elem_id="evaluate-blind",
            scale=1,
            min_width=220,
        )
    parts["context"] = gr.State([])
    parts["earlier"] = gr.HTML(elem_id="evaluate-earlier", apply_default_css=False)
    parts["prompt"] = gr.Textbox(
        label="Prompt",
        lines=3,
        max_lines=12,
        placeholder="What would you like to ask?",
        elem_id="evaluate-prompt",
    )
    with gr.Row(elem_id="evaluate-actions"):
        parts["run"] = _button("Run", "evaluate-run", variant="primary")
        parts["stop"] = _button("Stop", "evaluate-stop", visible=False)
        parts["fresh"] = _button("Start anew", "evaluate-fresh", visible=False)
        parts["example"] = gr.Dropdown(
            [], label="Or take a held-out prompt", elem_id="evaluate-example", scale=3, value=None
        )
    with gr.Accordion("Sampling", open=False), gr.Row():
        parts["sampling"] = [
            gr.Slider(
                0, 2, 0, step=0.05, label="Temperature (0 is greedy)", elem_id="evaluate-temp"
            ),
            gr.Slider(0.05, 1, 0.95, step=0.05, label="Top-p", elem_id="evaluate-top-p"),
            gr.Slider(
                8, 2048, 256, step=8, label="Longest answer, in tokens",
                elem_id="evaluate-max-tokens",
            ),
            gr.Number(0, label="Seed", precision=0, elem_id="evaluate-seed", min_width=100),
        ]  # fmt: skip
    return parts


def _answers() -> dict[str, Any]:
    """The panes, and what can be said of them."""
    panes = gr.HTML(WELCOME, elem_id="evaluate-panes", js_on_load=_KEYS, apply_default_css=False)
    current = gr.Textbox(visible="hidden", elem_id="evaluate-current", label="Comparison in view")
    with gr.Row(visible=False, equal_height=True, elem_id="evaluate-differing") as differing:
        differ = gr.Checkbox(
            label="Show differences",
            info="Marks the words in which an answer differs from another one.",
            elem_id="evaluate-differ",
        )
        against = gr.Dropdown(
            ["1"], value="1", label="Compared with", visible=False, elem_id="evaluate-against"
        )
    with gr.Row(elem_id="evaluate-votes"):
        votes = {
            winner: gr.Button(winner, visible=False, elem_id=f"evaluate-vote-{winner}")
            for winner in WINNERS
        }
        go_on = gr.Button("Continue from it", visible=False, elem_id="evaluate-continue")
    said = gr.HTML(elem_id="evaluate-said", apply_default_css=False)
    return {
        "panes": panes,
        "differing": differing,
        "differ": differ,
        "against": against,
        "current": current,
        "votes": votes,
        "go_on": go_on,
        "said": said,
    }


def _button(text: str, elem_id: str, **options: Any) -> gr.Button:  # noqa: ANN401
    return gr.Button(text, elem_id=elem_id, scale=0, min_width=140, **options)


def _links(elem_id: str) -> gr.HTML:
    return gr.HTML(elem_id=elem_id, js_on_load=_OPEN_LINK, apply_default_css=False)


def _wire_asking(ui: Ui, w: Widgets, events: CompareEvents) -> None:
    asked = [ui.workspace, w.models, w.blind, w.context, w.prompt, *w.sampling]
    streamed = [w.panes, w.current, w.run, w.stop]
    restored = [w.run, w.stop, *w.pane_outputs, *w.vote_outputs, w.history]
    for start in (w.run.click, w.prompt.submit):
        asking = start(guarded(events.on_run), asked, streamed, **_STREAM)
        for ended in (asking.then, asking.failure):  # after an error the page runs no `then`
            ended(
                guarded(events.after_run),
                [ui.workspace, w.current, *w.marking],
                restored,
                **QUIET,
            )
    w.stop.click(guarded(events.on_stop), [ui.workspace, w.current], None, **SAYING)
    turn_outputs = [w.prompt, w.context, w.earlier, w.fresh]
    w.example.input(guarded(events.on_example), w.example, turn_outputs, **LATEST)
    w.go_on.click(guarded(events.on_continue), [ui.workspace, w.current], turn_outputs, **SAYING)
    w.fresh.click(events.on_fresh, None, turn_outputs, **QUIET)
    set_inputs = [ui.workspace, w.models, w.blind, w.count, *w.sampling]
    show_cost(ui, [w.models, w.count, w.sampling[2]], events.set_cost, w.set_cost)
    w.run_set.click(guarded(events.on_set), set_inputs, w.panel.outputs, **SAYING)


def _wire_looking(ui: Ui, w: Widgets, events: CompareEvents) -> None:
    here = [ui.workspace, w.current, *w.marking]
    for control in (w.differ, w.against):
        control.input(guarded(events.on_marking), here, w.pane_outputs, **LATEST)
    for winner, button in w.votes.items():
        outputs = [*w.view_outputs, w.history, w.set_table]
        button.click(guarded(events.on_vote(winner)), here, outputs, **SAYING)
    for links in (w.history, w.set_table):
        shown = [ui.workspace, *w.marking]
        links.select(guarded(events.on_open), shown, w.view_outputs, **QUIET)
    w.models.change(guarded(events.on_models), [ui.workspace, w.models], w.of_models, **QUIET)
    w.current.change(None, w.current, None, js=_FOLLOW, **QUIET)
    w.panel.state.change(guarded(events.newest_set), ui.workspace, w.set_table, **QUIET)
    w.to_distill.click(lambda: gr.Tabs(selected="distill"), None, ui.tabs, **QUIET)

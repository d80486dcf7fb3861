"""The Home tab: the flow with its counts, the next sensible step, the demo, and running jobs."""

from typing import Any

import gradio as gr

from distill_studio.core.records import JobState
from distill_studio.services.demo import DEMO_STAGES
from distill_studio.services.overview import NextStep
from distill_studio.services.studio import DEMO_WORKSPACE
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET, SAYING
from distill_studio.ui.html import esc, number, page_head
from distill_studio.ui.panels.backup_panel import BackupPanel
from distill_studio.ui.panels.jobs import build_jobs_panel

LABEL = "Home"

# word, label, what the number counts (a key of the overview's counts), how it is called
_FLOW = (
    ("seeds", "Seeds", "seeds", "prompts"),
    ("generate", "Generate", "total", "answers"),
    ("curate", "Curate", "removed", "set aside"),
    ("review", "Review", "accepted", "accepted"),
    ("prefer", "Prefer", "preferences", "preferences"),
    ("freeze", "Freeze", "snapshots", "snapshots"),
    ("distill", "Distill", "students", "students"),
    ("evaluate", "Evaluate", "comparisons", "comparisons"),
)
_GO = """
element.addEventListener('click', event => {
  const card = event.target.closest('[data-tab]');
  if (card) document.getElementById('ds-tab-' + card.dataset.tab + '-button')?.click();
});
"""
_DEMO_TEXT = (
    "Watch the whole pass run by itself on this machine: a small teacher answers fifty prompts, "
    "near-duplicates go, a pruned student is trained on the answers, and both stand side by side. "
    f"Takes some minutes on a laptop; it has a workspace of its own, {DEMO_WORKSPACE}."
)


def build(ui: Ui) -> TabView:
    """Make the tab."""
    gr.HTML(
        page_head(
            "From a strong teacher to a small student",
            "Prompt teachers, keep the good answers, freeze them, train a student, compare.",
        )
    )
    backup = BackupPanel(ui)
    flow = gr.HTML(js_on_load=_GO, elem_id="home-flow", apply_default_css=False)
    with gr.Row(elem_id="home-next-row", equal_height=True):
        step = gr.HTML(elem_id="home-next", js_on_load=_GO, apply_default_css=False)
        with gr.Column(elem_id="home-demo"):
            gr.HTML(f'<h3 class="ds-h3">Try the demo</h3><p class="ds-note">{_DEMO_TEXT}</p>')
            start = gr.Button("Try the demo", elem_id="home-demo-start")
            stages = gr.HTML(elem_id="home-demo-stages", apply_default_css=False)
            with gr.Row(elem_classes="ds-pager"):
                stop = gr.Button("Stop", size="sm", visible=False, elem_id="home-demo-stop")
                enter = gr.Button(
                    "Open its workspace",
                    size="sm",
                    visible=False,
                    link=f"/?workspace={DEMO_WORKSPACE}",
                    link_target="_self",
                    elem_id="home-demo-enter",
                )
            result = gr.Button(
                "See student beside teacher",
                variant="primary",
                visible=False,
                elem_id="home-demo-result",
            )
            drop = gr.Button(
                "Delete the demo",
                size="sm",
                visible=False,
                elem_id="home-demo-delete",
                elem_classes="ds-danger",
            )
    timer = gr.Timer(1.5, active=False)
    with gr.Accordion("Jobs in this workspace", open=True):
        panel = build_jobs_panel(
            ui, [], "home-jobs", limit=5, empty="Nothing has run in this workspace yet."
        )

    backup.build_drill()

    def demo_view(request: gr.Request, workspace: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        state = opened.demo.state(actor)
        is_active = state.job is not None and state.job.state.is_active
        is_done = state.job is not None and state.job.state is JobState.DONE
        is_leaving = is_active and state.job is not None and state.job.cancel_requested
        label = "Resume the demo" if state.job and not is_active else "Try the demo"
        return (
            gr.Button(label, visible=not is_active and not is_done),
            stages_html(state),
            gr.Button(
                "Stopping" if is_leaving else "Stop", visible=is_active, interactive=not is_leaving
            ),
            gr.Button(visible=state.job is not None and workspace != DEMO_WORKSPACE),
            gr.Button(
                visible=is_done,
                link=f"/?tab=evaluate&workspace={DEMO_WORKSPACE}&comparison={state.comparison_id}",
                link_target="_self",
            ),
            gr.Button(visible=state.job is not None and not is_active),
            gr.Timer(active=is_active),
        )

    def show_all(request: gr.Request, workspace: str) -> tuple[Any, ...]:
        return (*show(request, workspace), *backup.show(request, workspace))

    def show(request: gr.Request, workspace: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        counts = opened.overview.counts(actor)
        next_step = opened.overview.next_step(actor)
        return (
            flow_html(counts),
            next_html(next_step),
            *demo_view(request, workspace),
            *panel.show(request, workspace),
        )

    @guarded
    def on_start(request: gr.Request, workspace: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        opened.demo.start(actor)
        names = ui.studio.workspace_names()
        return (gr.Dropdown(choices=names), *demo_view(request, workspace))

    @guarded
    def on_stop(request: gr.Request, workspace: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        opened.demo.stop(actor)
        return demo_view(request, workspace)

    @guarded
    def on_delete(request: gr.Request) -> tuple[Any, ...]:
        ui.studio.delete_workspace(ui.actor(request), DEMO_WORKSPACE)
        names = ui.studio.workspace_names()
        return (gr.Dropdown(choices=names, value=names[0]), *demo_view(request, names[0]))

    demo_outputs = [start, stages, stop, enter, result, drop, timer]
    start.click(on_start, ui.workspace, [ui.workspace, *demo_outputs], **SAYING)
    stop.click(on_stop, ui.workspace, demo_outputs, **SAYING)
    everything = [flow, step, *demo_outputs, *panel.shown]
    timer.tick(guarded(show), ui.workspace, everything, **QUIET)
    drop.click(on_delete, None, [ui.workspace, *demo_outputs], **SAYING)
    return TabView(show=show_all, outputs=[*everything, *backup.outputs])


def flow_html(counts: dict[str, int]) -> str:
    """The stages in order, each with its number; a click goes there."""
    numbers = {**counts, "removed": counts["filtered"] + counts["duplicate"]}
    cards = "".join(
        f'<li><button type="button" class="ds-stage{"" if numbers[key] else " empty"}"'
        f' data-tab="{word}"><span class="ds-stage-name">{label}</span>'
        f'<span class="ds-stage-number">{number(numbers[key])}</span>'
        f'<span class="ds-stage-unit">{unit}</span></button></li>'
        for word, label, key, unit in _FLOW
    )
    return f'<ol class="ds-flow" aria-label="The flow">{cards}</ol>'


def next_html(step: NextStep) -> str:
    """The next step as a callout with a button."""
    return (
        f'<section class="ds-card ds-next"><span class="ds-next-label">Next step</span>'
        f"<h3>{esc(step.title)}</h3><p>{esc(step.text)}</p>"
        f'<button type="button" class="ds-button" data-tab="{esc(step.tab)}">'
        f"Go to {esc(step.tab.capitalize())}</button></section>"
    )


def stages_html(state: Any) -> str:  # noqa: ANN401  (DemoState)
    """The demo's stages with a mark each, and what happens right now."""
    if state.job is None:
        return ""
    reached = list(DEMO_STAGES).index(state.stage) if state.stage in DEMO_STAGES else 0
    is_done = state.job.state is JobState.DONE
    items = []
    for place, (stage, label) in enumerate(DEMO_STAGES.items()):
        mark = "done" if is_done or place < reached else "now" if place == reached else "later"
        fact = state.facts.get(stage, "")
        now = state.job.note if mark == "now" and state.job.state.is_active else ""
        items.append(
            f'<li class="{mark}"><span>{esc(label)}</span>'
            f'<span class="ds-note">{esc(fact or now)}</span></li>'
        )
    error = f'<p class="ds-note bad">{esc(state.job.error)}</p>' if state.job.error else ""
    return f'<ol class="ds-steps">{"".join(items)}</ol>{error}'

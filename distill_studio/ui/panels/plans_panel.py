"""Several trainings as one, below the form: stages one after the other, and grids of settings."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.planning import parse_grid
from distill_studio.distill.spec import TrainSpec
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import note
from distill_studio.ui.panels import distill_form
from distill_studio.ui.panels.distill_form import DistillForm
from distill_studio.ui.panels.plans_html import no_plans, plan_html, stages_html

_GRID = (
    ("learning_rate", "Learning rates", "1e-4, 3e-4"),
    ("alpha", "Alphas", "0, 0.1"),
    ("beta", "Betas", "0.5, 0.9"),
    ("temperature", "Temperatures", "1, 2"),
)
_CHOOSE = "Choose a snapshot and a student first."


@dataclass(frozen=True)
class PlansPanel:
    """`view(request, workspace, name)` fills `outputs`."""

    chosen: gr.Dropdown
    outputs: list[Any]
    view: Any


def build_plans_panel(ui: Ui, form: DistillForm) -> PlansPanel:
    """Make the panel; it reads the form above it."""
    stages = gr.State([])
    timer = gr.Timer(2.0, active=False)
    with gr.Accordion("Several trainings: stages, or a grid", open=False, elem_id="distill-plans"):
        name = gr.Textbox(
            label="Name of the plan",
            placeholder="begins the names of its runs",
            max_lines=1,
            elem_id="plan-name",
        )
        with gr.Tabs():
            with gr.Tab("Stages"):
                listing = gr.HTML(stages_html([]), elem_id="plan-stages", apply_default_css=False)
                with gr.Row(elem_classes="ds-pager"):
                    add = gr.Button("Add as a stage", size="sm", elem_id="plan-add")
                    drop = gr.Button("Take the last away", size="sm", elem_id="plan-drop")
                    run = gr.Button(
                        "Run the stages", size="sm", variant="primary", elem_id="plan-run"
                    )
            with gr.Tab("Grid"):
                gr.HTML(
                    note(
                        "The form above, once for each combination; empty fields stay as they"
                        " are there. One run after the other, one table."
                    )
                )
                with gr.Row(elem_classes="ds-fields"):
                    values = [
                        gr.Textbox(
                            label=label,
                            placeholder=f"such as {example}",
                            max_lines=1,
                            min_width=130,
                            elem_id=f"plan-{field.replace('_', '-')}",
                        )
                        for field, label, example in _GRID
                    ]
                sweep = gr.Button("Run the grid", size="sm", variant="primary", elem_id="plan-grid")
        chosen = gr.Dropdown(label="Plan", elem_id="plan-chosen", visible=False)
        body = gr.HTML(no_plans(), elem_id="plan-body", apply_default_css=False)
        with gr.Row(elem_classes="ds-pager"):
            stop = gr.Button("Stop", size="sm", elem_id="plan-stop", visible=False)
            resume = gr.Button("Resume", size="sm", elem_id="plan-resume", visible=False)
            delete = gr.Button(
                "Forget the plan, keep its runs",
                size="sm",
                elem_id="plan-delete",
                visible=False,
            )
    outputs = [chosen, timer, body, stop, resume, delete]
    view = _View(ui)
    asked = [ui.workspace, chosen]
    filled = [ui.workspace, name, *form.inputs]
    add.click(guarded(view.add), [stages, *form.inputs], [stages, listing], **SAYING)
    drop.click(view.drop, stages, [stages, listing], **QUIET)
    run.click(guarded(view.run_stages), [ui.workspace, name, stages], [name, *outputs], **SAYING)
    sweep.click(guarded(view.run_grid), [*filled, *values], [name, *outputs], **SAYING)
    timer.tick(guarded(view.page), asked, outputs, **QUIET)
    chosen.input(guarded(view.page), asked, outputs, **LATEST)
    stop.click(guarded(view.stop), asked, outputs, **SAYING)
    resume.click(guarded(view.resume), asked, outputs, **SAYING)
    delete.click(guarded(view.delete), asked, outputs, **SAYING)
    return PlansPanel(chosen, outputs, view.page)


class _View:
    """What the panel does and shows."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui

    def add(self, stages: list[TrainSpec], *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """The form as one more stage."""
        spec = distill_form.spec_of(*values)
        if spec is None:
            raise InvalidInput(_CHOOSE)
        added = [*stages, spec.model_copy(update={"name": ""})]
        return added, stages_html(added)

    def drop(self, stages: list[TrainSpec]) -> tuple[Any, ...]:
        """Without the last stage."""
        return stages[:-1], stages_html(stages[:-1])

    def run_stages(
        self, request: gr.Request, workspace: str, name: str, stages: list[TrainSpec]
    ) -> tuple[Any, ...]:
        """Start the stages."""
        opened, actor = self._ui.open(request, workspace)
        made = opened.plans.stages(actor, (name or "").strip(), stages)
        return ("", *self.page(request, workspace, made.plan.name))

    def run_grid(
        self,
        request: gr.Request,
        workspace: str,
        name: str,
        *values: Any,  # noqa: ANN401
    ) -> tuple[Any, ...]:
        """Start a grid over the form."""
        opened, actor = self._ui.open(request, workspace)
        spec = distill_form.spec_of(*values[: -len(_GRID)])
        if spec is None:
            raise InvalidInput(_CHOOSE)
        texts = {f: t or "" for (f, *_), t in zip(_GRID, values[-len(_GRID) :], strict=True)}
        made = opened.plans.sweep(actor, (name or "").strip(), spec, parse_grid(texts))
        return ("", *self.page(request, workspace, made.plan.name))

    def stop(self, request: gr.Request, workspace: str, name: str) -> tuple[Any, ...]:
        """Stop at a checkpoint."""
        opened, actor = self._ui.open(request, workspace)
        opened.plans.stop(actor, name)
        gr.Info("The run that trains now saves a checkpoint and stops; no other begins.")
        return self.page(request, workspace, name)

    def resume(self, request: gr.Request, workspace: str, name: str) -> tuple[Any, ...]:
        """Go on."""
        opened, actor = self._ui.open(request, workspace)
        opened.plans.resume(actor, name)
        return self.page(request, workspace, name)

    def delete(self, request: gr.Request, workspace: str, name: str) -> tuple[Any, ...]:
        """Forget it."""
        opened, actor = self._ui.open(request, workspace)
        opened.plans.delete(actor, name)
        return self.page(request, workspace, "")

    def page(self, request: gr.Request, workspace: str, wanted: str) -> tuple[Any, ...]:
        """The wanted plan, else the newest."""
        opened, actor = self._ui.open(request, workspace)
        views = opened.plans.page(actor)
        view = next((v for v in views if v.plan.name == wanted), views[0] if views else None)
        if view is None:
            hidden = [gr.Button(visible=False)] * 3
            return gr.Dropdown(visible=False), gr.Timer(active=False), no_plans(), *hidden
        names = [v.plan.name for v in views]
        is_active = view.state.is_active
        is_whole = all(row.state == "done" for row in view.rows)
        return (
            gr.Dropdown(names, value=view.plan.name, visible=True),
            gr.Timer(active=any(v.state.is_active for v in views)),
            plan_html(view),
            gr.Button(visible=is_active),
            gr.Button(visible=not is_active and not is_whole),
            gr.Button(visible=not is_active),
        )

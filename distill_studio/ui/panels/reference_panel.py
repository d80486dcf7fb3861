"""Against another dataset, on the Curate tab: add one, compare, look at what is near."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.services.references import JOB_KINDS
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import note
from distill_studio.ui.panels import reference_html as draw
from distill_studio.ui.panels.jobs import build_jobs_panel

_TYPES = [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet"]
_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
_ID = "curate-reference"


class ReferencePanel:
    """The accordion. `fill` gives the values of `outputs`; `wire` says what else a find changes."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        with gr.Accordion("Against another dataset", open=False, elem_id=f"{_ID}-box"):
            gr.HTML(
                note(
                    "A dataset that this one must not repeat: what you published before, a held-out"
                    " set, another workspace. None of it becomes a row here. From where on a row"
                    " counts is set under “Near another dataset” among the filters, and Remove"
                    " below sets such rows aside."
                )
            )
            self._build_add()
            self.jobs = build_jobs_panel(ui, JOB_KINDS, f"{_ID}-jobs", limit=1)
            self.sets = gr.HTML(elem_id=f"{_ID}-sets")
            with gr.Column(visible=False) as self.body:
                self._build_body()
        self.at = gr.State(0)
        self._wire_inside()

    @property
    def outputs(self) -> list[Any]:
        """What `fill` fills."""
        return [self.sets, self.body, self.other, self.name, *self.view]

    @property
    def view(self) -> list[Any]:
        """What one pair fills."""
        return [self.at, self.position, self.pair, self.back, self.forth]

    @property
    def all_outputs(self) -> list[Any]:
        """What `show` fills."""
        return [*self.outputs, *self.jobs.shown]

    def show(self, request: gr.Request, workspace: str) -> tuple[Any, ...]:
        """Everything, when the tab opens."""
        opened, actor = self._ui.open(request, workspace)
        return (*self.fill(opened, actor, None, 0), *self.jobs.show(request, workspace))

    def fill(self, opened: Workspace, actor: Actor, name: str | None, at: int) -> tuple[Any, ...]:
        """Everything shown, for one of the datasets (else the first)."""
        sets = opened.references.sets(actor)
        names = [one.name for one in sets]
        name = name if name in names else next(iter(names), None)
        others = [one for one in opened.studio.workspace_names() if one != opened.name]
        return (
            draw.sets_html(sets),
            gr.Column(visible=bool(names)),
            gr.Dropdown(others, value=None),
            gr.Dropdown(names, value=name),
            *self._view(opened, actor, name, at),
        )

    def wire(self, refresh: Any, inputs: Sequence[Any], shown: Sequence[Any]) -> None:  # noqa: ANN401
        """After a change, `refresh(request, *inputs)` fills `shown` as well."""
        ui, where = self._ui, [self._ui.workspace, self.name, self.at]

        @guarded
        def on_file(request: gr.Request, workspace: str, path: str | None, name: str) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            if not path:
                gr.Info("Choose a file first.")
                return [gr.skip()] * (2 + len(self.outputs))
            stored = ui.keep(actor, [path])
            added = opened.references.add(actor, stored, name or "")
            filled = self.fill(opened, actor, added.reference.name, 0)
            return (draw.added_html(added), None, *filled)

        @guarded
        def on_other(request: gr.Request, workspace: str, other: str | None) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            if not other:
                gr.Info("Choose a workspace first.")
                return [gr.skip()] * (1 + len(self.outputs))
            added = opened.references.add_workspace(actor, other)
            return (
                draw.added_html(added),
                *self.fill(opened, actor, added.reference.name, 0),
            )

        @guarded
        def on_delete(request: gr.Request, workspace: str, name: str | None, at: int) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            opened.references.delete(actor, name or "")
            gr.Info("Forgot the dataset. Rows that went because of it come back with Remove.")
            return self.fill(opened, actor, None, at)

        @guarded
        def on_job(request: gr.Request, workspace: str, name: str | None, at: int) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            if opened.jobs.page(actor, kinds=list(JOB_KINDS), active=True):
                return [gr.skip()] * len(self.outputs)
            return self.fill(opened, actor, name, at)

        changes = [
            self.add.click(
                on_file,
                [ui.workspace, self.file, self.title],
                [self.said, self.file, *self.outputs],
                **_SLOW,
            ),
            self.add_other.click(
                on_other, [ui.workspace, self.other], [self.said, *self.outputs], **_SLOW
            ),
            self.delete.click(on_delete, where, self.outputs, **SAYING),
            self.jobs.state.change(on_job, where, self.outputs, **QUIET),
        ]
        for change in changes:
            change.then(refresh, list(inputs), list(shown), **QUIET)

    # -- inside ---------------------------------------------------------------------------

    def _build_add(self) -> None:
        with gr.Row(elem_id=f"{_ID}-add-row"):
            with gr.Column(min_width=320):
                self.file = gr.File(
                    label="From a file (JSONL, JSON, CSV, Parquet)",
                    file_types=_TYPES,
                    elem_id=f"{_ID}-upload",
                    height=110,
                )
                self.title = gr.Textbox(
                    label="Name", placeholder="as the file", elem_id=f"{_ID}-name"
                )
                self.add = gr.Button("Add this file", size="md", elem_id=f"{_ID}-add")
            with gr.Column(min_width=320):
                self.other = gr.Dropdown(
                    [],
                    label="From another workspace",
                    info="Its kept rows, as they are now.",
                    elem_id=f"{_ID}-workspace",
                )
                self.add_other = gr.Button(
                    "Add this workspace", size="md", elem_id=f"{_ID}-add-workspace"
                )
        self.said = gr.HTML(elem_id=f"{_ID}-said")

    def _build_body(self) -> None:
        with gr.Row(elem_id=f"{_ID}-compare-row"):
            self.field = gr.Radio(
                [("Prompt and answer", "both"), ("Prompt", "prompt"), ("Answer", "answer")],
                value="both",
                label="Compare",
                elem_id=f"{_ID}-field",
                scale=3,
            )
            self.compare = gr.Button(
                "Compare meanings",
                variant="primary",
                size="md",
                elem_id=f"{_ID}-compare",
                scale=0,
                min_width=200,
            )
        with gr.Row(elem_id=f"{_ID}-nav"):
            self.name = gr.Dropdown([], label="Look at", elem_id=f"{_ID}-which", scale=3)
            self.position = gr.HTML(elem_id=f"{_ID}-position", min_width=80)
            self.back = _small_button("Previous", "previous")
            self.forth = _small_button("Next", "next")
            self.delete = _small_button("Forget this dataset", "delete", 180)
        self.pair = gr.HTML(elem_id=f"{_ID}-pair")

    def _wire_inside(self) -> None:
        ui, where = self._ui, [self._ui.workspace, self.name, self.at]

        @guarded
        def on_compare(request: gr.Request, workspace: str, field: Any) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            opened.references.compare(actor, field)
            return self.jobs.poll(request, workspace)

        def stepping(by: int) -> Any:  # noqa: ANN401
            @guarded
            def step(request: gr.Request, workspace: str, name: str | None, at: int) -> Any:  # noqa: ANN401
                at = at + by if by else 0
                return self._view(*ui.open(request, workspace), name, at)

            return step

        self.compare.click(on_compare, [ui.workspace, self.field], self.jobs.outputs, **SAYING)
        for event, by in ((self.back.click, -1), (self.forth.click, 1), (self.name.input, 0)):
            event(stepping(by), where, self.view, **LATEST)

    def _view(self, opened: Workspace, actor: Actor, name: str | None, at: int) -> tuple[Any, ...]:
        """Place, heading, HTML and whether there are others."""
        total = 0
        if name:
            total = next(s.rows for s in opened.references.sets(actor) if s.name == name)
        if not name or not total:
            said = "No row here is near to it." if name else ""
            return 0, "", note(said), *[gr.Button(interactive=False)] * 2
        at %= total
        (pair,) = opened.references.pairs(actor, name, limit=1, offset=at)
        position = f"<span class='ds-note'>{at + 1} of {total}</span>"
        buttons = [gr.Button(interactive=total > 1)] * 2
        return at, position, draw.pair_html(name, pair), *buttons


def _small_button(label: str, name: str, min_width: int = 110) -> gr.Button:
    return gr.Button(label, size="sm", elem_id=f"{_ID}-{name}", scale=0, min_width=min_width)

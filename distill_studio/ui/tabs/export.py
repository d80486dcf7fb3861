"""The Export tab: pairs, preferences, snapshots and students as files."""

from typing import Any

import gradio as gr

from distill_studio.services.export import ExportFile
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET
from distill_studio.ui.html import page_head
from distill_studio.ui.panels.export_html import file_link, files_html
from distill_studio.ui.panels.export_parts import (
    PairPart,
    PreferencePart,
    SnapshotPart,
    StudentPart,
)
from distill_studio.ui.panels.neighbour_panel import NeighbourPart

LABEL = "Export"
_DELETE = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-delete]');
  if (button && confirm('Delete ' + button.dataset.delete + '?'))
    trigger('select', {index: 0, value: button.dataset.delete});
});
"""


def build(ui: Ui) -> TabView:
    """Make the tab."""
    gr.HTML(page_head("Export: take it away", "What is exported is exactly what is counted here."))
    with gr.Tabs(elem_id="export-what"):
        with gr.Tab("Answers"):
            pairs = PairPart()
        with gr.Tab("Preferences"):
            preferences = PreferencePart()
        with gr.Tab("Snapshots"):
            snapshots = SnapshotPart()
        with gr.Tab("Other trainers"):
            neighbours = NeighbourPart()
        with gr.Tab("Students"):
            students = StudentPart(ui)
    gr.HTML('<h3 class="ds-h3">Files</h3>')
    files = gr.HTML(elem_id="export-files", js_on_load=_DELETE, apply_default_css=False)

    def done(request: gr.Request, workspace: str, file: ExportFile) -> tuple[str, str]:
        return file_link(workspace, file), _files(ui, request, workspace)

    @guarded
    def on_delete(request: gr.Request, workspace: str, event: gr.SelectData) -> tuple[str, ...]:
        opened, actor = ui.open(request, workspace)
        opened.export.delete(actor, str(event.value))
        return ("",) * len(made) + (_files(ui, request, workspace),)

    @guarded
    def on_written(request: gr.Request, workspace: str) -> str:
        return _files(ui, request, workspace)

    parts = (pairs, preferences, snapshots, neighbours, students)
    made = [*(part.made for part in parts), students.gguf.made]
    for part in parts:
        part.connect(ui, done, files)
    students.gguf.state.change(on_written, ui.workspace, files, **QUIET)
    files.select(on_delete, ui.workspace, [*made, files], **QUIET)
    ui.workspace.change(lambda: ("",) * len(made), None, made, **QUIET)

    def show(request: gr.Request, workspace: str, outcome: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        opened, actor = ui.open(request, workspace)
        frozen = [snapshot.name for snapshot in opened.freeze.page(actor, limit=200)]
        return (
            *pairs.show(ui, request, workspace, *values),
            *preferences.show(ui, request, workspace, outcome),
            *snapshots.filled(frozen),
            *neighbours.filled(frozen),
            *students.filled(opened.export.students(actor)),
            _files(ui, request, workspace),
        )

    return TabView(
        show=show,
        inputs=[*preferences.inputs, *pairs.inputs],
        outputs=[*(one for part in parts for one in part.outputs), files],
    )


def _files(ui: Ui, request: gr.Request, workspace: str) -> str:
    opened, actor = ui.open(request, workspace)
    return files_html(workspace, opened.export.page(actor))

"""The dataset report on the Freeze tab: made when it is opened, and taken away as a file."""

from typing import Any

import gradio as gr

from distill_studio.curate.dataset_report import report_body
from distill_studio.services.report import ReportFormat
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import SAYING
from distill_studio.ui.html import empty_state, note
from distill_studio.ui.panels.export_html import file_link

_FORMATS: tuple[tuple[ReportFormat, str], ...] = (
    ("html", "Save as HTML"),
    ("markdown", "Save as Markdown"),
    ("json", "Save as JSON"),
)
_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}


def build_report_panel(ui: Ui) -> None:
    """Make the accordion; it closes when the workspace changes."""
    with gr.Accordion("Dataset report", open=False, elem_id="freeze-report-box") as box:
        gr.HTML(
            note(
                "What came in, what went and why, what stays, and what it was checked against, as"
                " it stands now. It is a part of each snapshot's card, without the rows that went."
            )
        )
        with gr.Row(elem_classes="ds-pager"):
            again = gr.Button("Make it anew", size="sm", elem_id="freeze-report-make")
            buttons = {
                kind: gr.Button(label, size="sm", elem_id=f"freeze-report-{kind}")
                for kind, label in _FORMATS
            }
        link = gr.HTML(elem_id="freeze-report-link")
        report = gr.HTML(elem_id="freeze-report", apply_default_css=False)

    @guarded
    def on_make(request: gr.Request, workspace: str) -> tuple[str, str]:
        opened, actor = ui.open(request, workspace)
        made = opened.report.dataset(actor)
        if not made.came_in.rows:
            text = "Import pairs, or let a teacher write some."
            return empty_state("Nothing to report yet", text), ""
        return report_body(made), ""

    def saving(kind: ReportFormat) -> Any:  # noqa: ANN401
        @guarded
        def on_save(request: gr.Request, workspace: str) -> str:
            opened, actor = ui.open(request, workspace)
            return file_link(workspace, opened.report.file(actor, kind))

        return on_save

    box.expand(on_make, ui.workspace, [report, link], **_SLOW)
    again.click(on_make, ui.workspace, [report, link], **_SLOW)
    for kind, button in buttons.items():
        button.click(saving(kind), ui.workspace, link, **SAYING)
    ui.workspace.change(
        lambda: ("", "", gr.Accordion(open=False)), None, [report, link, box], queue=False,
        show_progress="hidden", api_visibility="private",
    )  # fmt: skip

"""Download as GGUF: an accordion under a finished run and in Export. It fills when it is opened."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.core.errors import StudioError
from distill_studio.services.gguf_export import JOB_KIND, GgufChoice
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET
from distill_studio.ui.html import note, size
from distill_studio.ui.panels.export_html import file_link
from distill_studio.ui.panels.jobs import build_jobs_panel

_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
_ABOUT = (
    "One file with weights, tokenizer, chat template and licence, for llama.cpp, Ollama and LM"
    " Studio. Engines round more than the weights where a file has 8 or 4 bits: try what you take."
)


@dataclass(frozen=True)
class GgufPanel:
    """The panel's components that others take part in.

    Attributes:
        box: The accordion; whoever shows another run closes it: it fills when it opens.
        made: Links to the files of the run.
        state: Changes when a file begins or ends to be written.
    """

    box: gr.Accordion
    made: gr.HTML
    state: gr.State


def build_gguf_panel(ui: Ui, chosen: Any, prefix: str) -> GgufPanel:  # noqa: ANN401
    """Make the accordion for the run whose name is the value of `chosen` (a state or a menu)."""
    box = gr.Accordion("Download as GGUF", open=False, elem_id=f"{prefix}-gguf-box")
    with box:
        said = gr.HTML(elem_id=f"{prefix}-gguf-said")
        kind = gr.Radio(
            [],
            label="Type",
            visible=False,
            elem_id=f"{prefix}-gguf-type",
            elem_classes="ds-one-a-line",
        )
        write = gr.Button(
            "Write the file", variant="primary", visible=False, elem_id=f"{prefix}-gguf-write"
        )
        jobs = build_jobs_panel(ui, [JOB_KIND], f"{prefix}-gguf-jobs", limit=1)
        made = gr.HTML(elem_id=f"{prefix}-gguf-made")
    here = [ui.workspace, chosen]

    @guarded
    def on_open(request: gr.Request, workspace: str, run: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        shown: tuple[Any, ...] = (gr.Radio(visible=False), gr.Button(visible=False), "")
        try:
            found = opened.export.gguf_types(actor, run or "")
        except StudioError as err:
            return note(str(err), "warn"), *shown, *jobs.poll(request, workspace)
        shown = (
            gr.Radio([_choice(one) for one in found], value=found[0].type, visible=True),
            gr.Button(visible=True),
            _files(opened, actor, found),
        )
        return note(_ABOUT), *shown, *jobs.poll(request, workspace)

    @guarded
    def on_write(request: gr.Request, workspace: str, run: str, kind: Any) -> tuple[Any, ...]:  # noqa: ANN401
        opened, actor = ui.open(request, workspace)
        opened.export.gguf(actor, run or "", kind)
        return "", *jobs.poll(request, workspace)

    @guarded
    def on_change(request: gr.Request, workspace: str, run: str) -> str:
        opened, actor = ui.open(request, workspace)
        try:
            return _files(opened, actor, opened.export.gguf_types(actor, run or ""))
        except StudioError:  # said above
            return ""

    box.expand(on_open, here, [said, kind, write, made, *jobs.outputs], **_SLOW)
    write.click(on_write, [*here, kind], [made, *jobs.outputs], **_SLOW)
    jobs.state.change(on_change, here, made, **QUIET)
    return GgufPanel(box, made, jobs.state)


def _choice(one: GgufChoice) -> tuple[str, str]:
    return f"{one.type}, about {size(one.size_bytes)} ({one.about})", one.type


def _files(opened: Workspace, actor: Actor, found: list[GgufChoice]) -> str:
    """Links to the files of a run that are there."""
    names = {one.file for one in found} - {""}
    files = opened.export.page(actor, limit=1000)
    return "".join(file_link(opened.name, one) for one in files if one.name in names)

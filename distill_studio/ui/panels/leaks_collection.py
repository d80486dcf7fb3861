"""The fold in which a whole collection of benchmarks is added from the Hub."""

from typing import Any

import gradio as gr

from distill_studio.core.records import JobState
from distill_studio.services.hub_collections import CollectionReport
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET, SAYING
from distill_studio.ui.panels import leaks_html as draw
from distill_studio.ui.panels.jobs import JobsPanel

_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}


class LeaksCollection:
    """The fold; `wire` connects it once the panel of jobs is there."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        with gr.Accordion(
            "Add a collection of benchmarks from the Hub",
            open=False,
            elem_id="curate-leaks-collection-box",
        ):
            self.what = gr.Textbox(
                label="Address of a collection, or the ids of datasets",
                placeholder="https://huggingface.co/collections/owner/benchmarks-0123456789ab...",
                elem_id="curate-leaks-collection",
            )
            self.look = gr.Button("What does it hold?", elem_id="curate-leaks-collection-look")
            self.held = gr.HTML(elem_id="curate-leaks-collection-held", apply_default_css=False)
            self.chosen = gr.CheckboxGroup(
                [],
                label="Add these",
                visible=False,
                elem_id="curate-leaks-collection-chosen",
            )
            self.add = gr.Button(
                "Add those chosen",
                variant="primary",
                visible=False,
                elem_id="curate-leaks-collection-add",
            )
            self.done = gr.HTML(elem_id="curate-leaks-collection-done", apply_default_css=False)

    def wire(self, jobs: JobsPanel) -> None:
        """Connect the fold; what it begins is seen in `jobs`."""
        ui = self._ui

        @guarded
        def on_look(request: gr.Request, workspace: str, what: str) -> tuple[Any, ...]:
            opened, actor = ui.open(request, workspace)
            found = opened.leaks.collection(actor, what or "")
            names = [one.dataset for one in found.items if not one.problem]
            return (
                draw.collection_html(found),
                gr.CheckboxGroup(names, value=names, visible=bool(names)),
                gr.Button(visible=bool(names)),
                "",
            )

        @guarded
        def on_add(
            request: gr.Request, workspace: str, what: str, chosen: list[str]
        ) -> tuple[Any, ...]:
            opened, actor = ui.open(request, workspace)
            opened.leaks.add_collection(actor, what or "", list(chosen or []))
            return jobs.poll(request, workspace)

        @guarded
        def on_job(request: gr.Request, workspace: str) -> Any:  # noqa: ANN401  (text, or a skip)
            opened, actor = ui.open(request, workspace)
            for job in opened.jobs.page(actor, kinds=["leak_collection"], limit=1):
                if job.state is JobState.DONE:
                    return draw.collected_html(CollectionReport(**job.result))
            return gr.skip()

        shown = [self.held, self.chosen, self.add, self.done]
        gr.on([self.look.click, self.what.submit], on_look, [ui.workspace, self.what], shown,
              **_SLOW)  # fmt: skip
        asked = [ui.workspace, self.what, self.chosen]
        self.add.click(on_add, asked, jobs.outputs, **SAYING)
        jobs.state.change(on_job, ui.workspace, self.done, **QUIET)

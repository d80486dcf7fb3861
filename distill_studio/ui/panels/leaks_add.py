"""The fold in which a benchmark is added: from a file, a well-known one, any dataset of the Hub."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from distill_studio.seeds.columns import ColumnMapping
from distill_studio.services import hub_packs
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import SAYING
from distill_studio.ui.panels import leaks_html as draw
from distill_studio.ui.panels.jobs import JobsPanel
from distill_studio.ui.panels.leaks_collection import LeaksCollection

_TYPES = [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet"]
_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
Fill = Callable[..., tuple[Any, ...]]  # (workspace, actor, name, *the rest of a choice)


class LeaksAdd:
    """The fold; `wire` connects it once the rest of the panel is there."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        with gr.Accordion("Add a benchmark", open=False, elem_id="curate-leaks-add-box"), gr.Row():
            with gr.Column(min_width=320):
                self.file = gr.File(
                    label="From a file (JSONL, JSON, CSV, Parquet)",
                    file_types=_TYPES,
                    elem_id="curate-leaks-upload",
                    height=110,
                )
                self.name = gr.Textbox(label="Name", elem_id="curate-leaks-name")
                with gr.Row():
                    self.question = gr.Dropdown(
                        [], label="Column of questions", elem_id="curate-leaks-question"
                    )
                    self.answer = gr.Dropdown(
                        [], label="Column of known answers", elem_id="curate-leaks-answer"
                    )
                self.add = gr.Button(
                    "Add this file",
                    variant="primary",
                    interactive=False,
                    elem_id="curate-leaks-add",
                )
            with gr.Column(min_width=320):
                with gr.Row(elem_id="curate-leaks-known-row"):
                    self.known = gr.Dropdown(
                        [(f"{one.name}: {one.about}", one.name) for one in hub_packs.known()],
                        value=None,
                        label="A well-known one, from the Hub",
                        info="Needs a network. No code of a dataset is run.",
                        elem_id="curate-leaks-known",
                        scale=3,
                    )
                    self.get_known = _small_button("Get it", "curate-leaks-get-known", 90)
                self.dataset = gr.Textbox(
                    label="Another dataset of the Hub",
                    placeholder="openai/gsm8k",
                    elem_id="curate-leaks-dataset",
                )
                with gr.Row():
                    self.config = gr.Textbox(
                        label="Configuration", placeholder="main", elem_id="curate-leaks-config"
                    )
                    self.split = gr.Textbox("test", label="Split", elem_id="curate-leaks-split")
                self.get = gr.Button("Get it", elem_id="curate-leaks-get")
        self._collection = LeaksCollection(ui)
        self.said = gr.HTML(elem_id="curate-leaks-said")
        self.upload_id = gr.State("")
        self.mapping = gr.State(None)

    def wire(
        self, fill: Fill, choice: Sequence[Any], outputs: Sequence[Any], jobs: JobsPanel
    ) -> None:
        """Connect the fold.

        Args:
            fill: Gives the values of `outputs`.
            choice: What `fill` needs beside the workspace, the name of a benchmark first.
            outputs: What shows the benchmarks.
            jobs: Where a download is seen.
        """
        ui, where = self._ui, [self._ui.workspace, *choice]
        form = [self.upload_id, self.mapping, self.name, self.question, self.answer]

        @guarded
        def on_upload(request: gr.Request, workspace: str, path: str) -> tuple[Any, ...]:
            opened, actor = ui.open(request, workspace)
            stored = ui.keep(actor, [path])
            found = opened.seeds.preview(actor, stored)
            columns, guess = [("none", ""), *((c, c) for c in found.columns)], found.mapping
            question = guess.prompt or guess.messages or guess.chosen
            return (
                stored,
                guess.model_dump(),
                Path(found.file_name).stem,
                gr.Dropdown(columns, value=question),
                gr.Dropdown(columns, value=guess.answer or guess.reference),
                gr.Button(interactive=True),
            )

        @guarded
        def on_add(request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
            *choice, stored, guess, name, question, answer = values
            opened, actor = ui.open(request, workspace)
            mapping = _mapping(guess, question or "", answer or "")
            added = opened.leaks.add(actor, stored, name or "", mapping)
            filled = fill(opened, actor, added.pack.name, *choice[1:])
            return (draw.added_html(added), None, gr.Button(interactive=False), *filled)

        @guarded
        def on_get(
            request: gr.Request, workspace: str, dataset: str, config: str, split: str
        ) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            opened.leaks.add_hub(actor, dataset, config=config, split=split)
            return jobs.poll(request, workspace)

        @guarded
        def on_get_known(request: gr.Request, workspace: str, known: str | None) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            opened.leaks.add_known(actor, known or "")
            return jobs.poll(request, workspace)

        self.file.upload(on_upload, [ui.workspace, self.file], [*form, self.add], **_SLOW)
        added = [self.said, self.file, self.add, *outputs]
        self.add.click(on_add, [*where, *form], added, **_SLOW)

        self.get_known.click(on_get_known, [ui.workspace, self.known], jobs.outputs, **SAYING)
        hub = [ui.workspace, self.dataset, self.config, self.split]
        self.get.click(on_get, hub, jobs.outputs, **SAYING)
        self._collection.wire(jobs)


def _small_button(label: str, elem_id: str, min_width: int) -> gr.Button:
    return gr.Button(label, size="sm", elem_id=elem_id, scale=0, min_width=min_width)


def _mapping(guess: dict[str, Any] | None, question: str, answer: str) -> ColumnMapping:
    """The guess where its columns were left as they were, else what was chosen."""
    guessed = ColumnMapping(**(guess or {}))
    was = guessed.prompt or guessed.messages or guessed.chosen
    if question == was and answer == (guessed.answer or guessed.reference):
        return guessed
    return ColumnMapping(prompt=question, answer=answer)

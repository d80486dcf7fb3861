"""A snapshot for another trainer: which snapshot, for which tool, for which model."""

from typing import Any

import gradio as gr

from distill_studio.freeze.neighbours import NEIGHBOURS
from distill_studio.teachers.starter import CHAT_MODEL_HUB_ID
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.html import note
from distill_studio.ui.panels.export_parts import Done, clear_on_change


class NeighbourPart:
    """The fields and the button."""

    def __init__(self) -> None:
        with gr.Row(elem_classes="ds-fields"):
            self._name = gr.Dropdown([], label="Snapshot", elem_id="export-neighbour-name")
            self._tool = gr.Radio(
                [(one.label, name) for name, one in NEIGHBOURS.items()],
                value=next(iter(NEIGHBOURS)),
                label="Trainer",
                elem_id="export-neighbour-tool",
            )
            self._model = gr.Textbox(
                label="Model to train",
                info="An id on the Hub, or a folder where the trainer runs",
                placeholder=CHAT_MODEL_HUB_ID,
                elem_id="export-neighbour-model",
            )
        hint = gr.HTML()
        self._button = gr.Button(
            "Export for this trainer", variant="primary", elem_id="export-neighbour"
        )
        self.made = gr.HTML(elem_id="export-neighbour-made")
        self.outputs: list[Any] = [self._name, self._button, hint]

    def connect(self, ui: Ui, done: Done, files: gr.HTML) -> None:
        """Let the button export."""

        @guarded
        def on_click(
            request: gr.Request, workspace: str, name: str, tool: str, model: str
        ) -> tuple[str, str]:
            opened, actor = ui.open(request, workspace)
            file = opened.export.neighbour(actor, name or "", tool, model or "")  # type: ignore[arg-type]
            return done(request, workspace, file)

        fields = [self._name, self._tool, self._model]
        clear_on_change(fields, self.made)
        self._button.click(
            on_click,
            [ui.workspace, *fields],
            [self.made, files],
            show_progress="minimal",
            api_visibility="private",
        )

    @staticmethod
    def filled(names: list[str]) -> tuple[Any, ...]:
        """Choices, button, and what comes out or what to do first."""
        value = names[0] if names else None
        words = (
            "A ZIP with the rows in the trainer's form, its configuration, and a README with the"
            " one command to run."
            if names
            else "Nothing is frozen yet. Make a snapshot in Freeze."
        )
        return gr.Dropdown(names, value=value), gr.Button(interactive=bool(names)), note(words)

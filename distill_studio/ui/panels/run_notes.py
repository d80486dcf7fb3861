"""Notes of people on a run's page: read them, add one, take one's own away."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor, Role
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import SAYING
from distill_studio.ui.panels.run_list import RunList, listed
from distill_studio.ui.panels.run_parts_html import notes_html

_PICK = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-note]');
  if (button) trigger('select', {index: 0, value: button.dataset.note});
});
"""


@dataclass(frozen=True)
class NotesPanel:
    """`shown(workspace, actor, name)` gives the values of `outputs`."""

    outputs: list[Any]
    shown: Callable[[Workspace, Actor, str], tuple[Any, ...]]


def build_notes_panel(ui: Ui, chosen: gr.State, runs: RunList) -> NotesPanel:
    """Make the notes of the chosen run.

    Args:
        ui: The shell.
        chosen: Name of the run.
        runs: The list of runs, which shows the newest note of each.
    """
    with gr.Accordion("Notes", open=False, elem_id="distill-notes-box") as box:
        listing = gr.HTML(elem_id="distill-notes", js_on_load=_PICK, apply_default_css=False)
        text = gr.Textbox(
            label="Note for everybody here",
            lines=2,
            max_length=4000,
            elem_id="distill-note-text",
        )
        with gr.Row(elem_classes="ds-pager"):
            in_card = gr.Checkbox(
                False, label="also in the card of its model", elem_id="distill-note-card"
            )
            add = gr.Button("Add the note", size="sm", elem_id="distill-note-add")

    def shown(opened: Workspace, actor: Actor, name: str) -> tuple[Any, ...]:
        found = opened.runs.notes(actor, name) if name else []
        label = f"Notes ({len(found)})" if found else "Notes"
        html = notes_html(found, actor.user, is_owner=actor.role >= Role.OWNER)
        return gr.Accordion(label=label), html

    def after(opened: Workspace, actor: Actor, name: str, count: int) -> tuple[Any, ...]:
        return (*shown(opened, actor, name), listed(opened, actor, name, count).rows)

    @guarded
    def on_add(
        request: gr.Request, workspace: str, name: str, count: int, said: str, is_public: bool
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        opened.runs.note(actor, name, said or "", is_public)
        return ("", False, *after(opened, actor, name, count))

    @guarded
    def on_forget(
        request: gr.Request, workspace: str, name: str, count: int, event: gr.SelectData
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        opened.runs.forget_note(actor, str(event.value))
        return after(opened, actor, name, count)

    changed = [box, listing, runs.rows]
    asked = [ui.workspace, chosen, runs.count]
    add.click(on_add, [*asked, text, in_card], [text, in_card, *changed], **SAYING)
    listing.select(on_forget, asked, changed, **SAYING)
    return NotesPanel([box, listing], shown)

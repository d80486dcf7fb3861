"""The top of the page: the name, which workspace is in view, and who acts."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.services.studio import Studio
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET, SAYING
from distill_studio.ui.html import esc

_BRAND = """<div class="ds-brand"><svg viewBox="0 0 32 32" fill="none" stroke="currentColor"
stroke-width="2.4" stroke-linejoin="round" stroke-linecap="round" aria-hidden="true">
<path d="M12 3h8M13.5 3v8L6 25.2A2.6 2.6 0 0 0 8.3 29h15.4a2.6 2.6 0 0 0 2.3-3.8L18.5 11V3"/>
<path d="M9.5 20h13"/></svg><h1>Distill Studio</h1></div>"""
_CONFIRM = """(name) => { if (!confirm(`Move the workspace “${name}” with all its data to the
trash?`)) throw new Error('kept'); return name; }"""


@dataclass(frozen=True)
class Header:
    """The header's components."""

    workspace: gr.Dropdown
    who: gr.HTML
    manage: gr.Button
    drawer: gr.Row
    new_name: gr.Textbox
    create: gr.Button
    delete: gr.Button
    is_open: gr.State

    def wire(self, ui: Ui) -> None:
        """Make the drawer, New and Delete work."""

        @guarded
        def on_create(request: gr.Request, name: str) -> tuple[Any, str]:
            made = ui.studio.create_workspace(ui.actor(request), name.strip().lower())
            gr.Info(f"Workspace {made} is open.", duration=4)
            return gr.Dropdown(choices=ui.studio.workspace_names(), value=made), ""

        @guarded
        def on_delete(request: gr.Request, name: str) -> Any:  # noqa: ANN401
            ui.studio.delete_workspace(ui.actor(request), name)
            names = ui.studio.workspace_names()
            gr.Info(f"{name} was moved to the trash folder of your data folder.", duration=8)
            return gr.Dropdown(choices=names, value=names[0])

        self.manage.click(
            lambda is_open: (gr.Row(visible=not is_open), not is_open),
            self.is_open,
            [self.drawer, self.is_open],
            **QUIET,
        )
        made = [self.workspace, self.new_name]
        self.create.click(on_create, self.new_name, made, **SAYING)
        self.new_name.submit(on_create, self.new_name, made, **SAYING)
        self.delete.click(on_delete, self.workspace, self.workspace, js=_CONFIRM, **SAYING)


def who_html(actor: Actor, *, may_leave: bool) -> str:
    """The acting user's name and role, and the way out where people log in."""
    role = actor.role.name.lower()
    leave = (
        '<form method="post" action="/logout"><button type="submit">Log out</button></form>'
        if may_leave
        else ""
    )
    is_said = role != actor.user.casefold()
    return (
        f'<div class="ds-who"><span class="ds-who-name" title="Your decisions carry this name">'
        f"{esc(actor.user, 40)}</span>{f'<span>{esc(role)}</span>' if is_said else ''}{leave}</div>"
    )


def build_header(studio: Studio) -> Header:
    """Brand, workspace chooser, and a drawer with New and Delete, which only owners may open."""
    names = studio.workspace_names()
    with gr.Row(elem_id="ds-top"):
        gr.HTML(_BRAND, elem_id="ds-brand", apply_default_css=False)
        workspace = gr.Dropdown(
            names,
            value=names[0],
            label="Workspace",
            show_label=False,
            container=False,
            elem_id="ds-workspace",
            scale=0,
            interactive=True,
        )
        manage = gr.Button(  # for owners: seen once the page knows who looks
            "Workspaces", size="sm", elem_id="ds-manage", scale=0, min_width=120, visible=False
        )
        who = gr.HTML(elem_id="ds-who", apply_default_css=False)
    with gr.Row(visible=False, elem_id="ds-drawer", equal_height=True) as drawer:
        new_name = gr.Textbox(
            label="New workspace",
            placeholder="small letters, digits, - and _",
            max_lines=1,
            elem_id="ds-new-name",
        )
        create = gr.Button("Create", elem_id="ds-create", scale=0, min_width=120)
        delete = gr.Button(
            "Delete this workspace",
            elem_id="ds-delete",
            elem_classes="ds-danger",
            scale=0,
            min_width=220,
        )
    return Header(workspace, who, manage, drawer, new_name, create, delete, gr.State(False))

"""The page: header with the workspace chooser, a tab per stage, and the API endpoints.

A tab's address is `?tab=<word>&workspace=<name>`; the address follows what is chosen.
"""

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.events import api as gr_api
from starlette.requests import HTTPConnection

from distill_studio.core.actor import Actor
from distill_studio.services import operations
from distill_studio.services.studio import Studio
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET
from distill_studio.ui.header import build_header
from distill_studio.ui.tabs import TABS
from distill_studio.ui.theme import css, theme

# The address follows what is chosen, but only once the page has opened what its address names.
# The browser's back button goes to the tab before: its address is there already, so no new entry.
_READY = """() => { window.dsReady = true; window.addEventListener('popstate', () => {
const word = new URL(location).searchParams.get('tab') || 'home';
document.getElementById('ds-tab-' + word + '-button')?.click(); }); }"""
_FOLLOW_TAB = """(...args) => { if (!window.dsReady) return args; const u = new URL(location);
const isThere = (u.searchParams.get('tab') || 'home') === '%s'; u.searchParams.set('tab', '%s');
history[isThere ? 'replaceState' : 'pushState'](null, '', u); return args; }"""
_FOLLOW_WORKSPACE = """(...args) => { if (!window.dsReady) return args; const u = new URL(location);
u.searchParams.set('workspace', args[0]); history.replaceState(null, '', u); return args; }"""


def mount_options() -> dict[str, Any]:
    """Look and switches for `gr.mount_gradio_app`."""
    return {
        "theme": theme(),
        "css": css(),
        "footer_links": [],
        "run_history": False,
        "ssr_mode": False,
        "show_error": True,
    }


def build(studio: Studio, identify: Callable[[HTTPConnection], Actor | None]) -> gr.Blocks:
    """The whole page over an open studio; `identify` says who a request comes from."""
    views: dict[str, TabView] = {}
    page = gr.Blocks(title="Distill Studio", analytics_enabled=False)
    with page:
        header = build_header(studio)
        with gr.Tabs(elem_id="ds-tabs") as tabs:
            ui = Ui(studio, identify, header.workspace, tabs)
            items: dict[str, gr.Tab] = {}
            for word, module in TABS.items():
                with gr.Tab(module.LABEL, id=word, elem_id=f"ds-tab-{word}") as item:
                    views[word] = module.build(ui)
                items[word] = item
        header.wire(ui)
        for word, item in items.items():
            _wire(ui, item, word, views[word])
        _wire_load(page, ui)
        _add_endpoints(ui)
    return page


def _wire(ui: Ui, item: gr.Tab, word: str, view: TabView) -> None:
    """Fill a tab when it opens and when the workspace changes."""
    inputs = [ui.workspace, *view.inputs]
    show = guarded(view.show)
    outputs = list(view.outputs)

    def show_if_in_view(request: gr.Request, workspace: str, *values: Any) -> Any:  # noqa: ANN401
        if request.query_params.get("tab", "home") != word:
            return [gr.skip()] * len(outputs)  # it fills when it opens
        return show(request, workspace, *values)

    item.select(show, inputs, outputs, js=_FOLLOW_TAB % (word, word), **QUIET)
    follow = _FOLLOW_WORKSPACE if word == "home" else None  # once for all tabs
    ui.workspace.change(show_if_in_view, inputs, outputs, js=follow, **QUIET)


def _wire_load(page: gr.Blocks, ui: Ui) -> None:
    """Open the page on the tab and workspace that its address names (which also fills the tab)."""

    @guarded
    def on_load(request: gr.Request) -> tuple[Any, ...]:
        names = ui.studio.workspace_names()
        wanted = request.query_params.get("workspace", "")
        name = wanted if wanted in names else names[0]
        word = request.query_params.get("tab", "")
        # without a word the page stays where it is: a person may have clicked already
        tab = gr.Tabs(selected=word) if word in TABS else gr.skip()
        return gr.Dropdown(choices=names, value=name), tab

    opened = page.load(on_load, None, [ui.workspace, ui.tabs], **QUIET)
    opened.then(None, None, None, js=_READY, **QUIET)


def _add_endpoints(ui: Ui) -> None:
    """Every operation as a named endpoint: `predict(workspace, arguments, api_name="/name")`."""
    for operation in operations.operations().values():
        fields = ", ".join(operation.arguments.model_fields) or "none"
        gr_api(
            _endpoint(ui, operation.name),
            api_name=operation.name,
            api_description=f"{operation.summary} Arguments: {fields}.",
            queue=False,
        )


def _endpoint(ui: Ui, name: str) -> Callable[..., Any]:
    @guarded
    def endpoint(workspace: str, arguments: dict, request: gr.Request) -> Any:  # noqa: ANN401
        opened, actor = ui.open(request, workspace)
        return operations.call(opened, actor, name, arguments or {})

    return endpoint

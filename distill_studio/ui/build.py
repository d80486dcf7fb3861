"""The page: header with the workspace chooser, a tab per stage, and the API endpoints.

A tab's address is `?tab=<word>&workspace=<name>`; the address follows what is chosen.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.events import api as gr_api
from starlette.requests import HTTPConnection

from distill_studio.core.actor import Actor, Role
from distill_studio.services import operations
from distill_studio.services.studio import Studio
from distill_studio.ui.bench import scripts
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET
from distill_studio.ui.header import Header, build_header, who_html
from distill_studio.ui.tabs import TABS
from distill_studio.ui.theme import css, theme

# The address follows what is chosen, but only once the page has opened what its address names.
# The browser's back button goes to the tab before. Its address is there already: until that tab has
# opened (`dsGoingTo`; a tab in view does not open again, so a second at most), tabs that were
# passed on the way and open late leave the address alone.
_READY = """() => { window.dsReady = true;
document.documentElement.classList.remove('ds-arriving');
window.addEventListener('popstate', () => {
const word = new URL(location).searchParams.get('tab') || 'home';
window.dsGoingTo = word; clearTimeout(window.dsArrives);
window.dsArrives = setTimeout(() => { window.dsGoingTo = ''; }, 1000);
document.getElementById('ds-tab-' + word + '-button')?.click(); }); }"""
_FOLLOW_TAB = """(...args) => { const word = '%s', to = window.dsGoingTo; window.dsTab = word;
if (!window.dsReady) return args;
if (to) { if (to === word) window.dsGoingTo = ''; return args; }
const u = new URL(location), isThere = (u.searchParams.get('tab') || 'home') === word;
u.searchParams.set('tab', word);
history[isThere ? 'replaceState' : 'pushState'](null, '', u); return args; }"""
# Until the page has opened what its address names, what it shows is something else: not to be used.
_ARRIVING = """<style>.ds-arriving #ds-tabs { opacity: .35; pointer-events: none; }
.ds-arriving { cursor: progress; }</style><script>
if (/[?&](tab|workspace)=/.test(location.search)) {
  const root = document.documentElement; root.classList.add('ds-arriving');
  setTimeout(() => root.classList.remove('ds-arriving'), 30000); }</script>"""
_FOLLOW_WORKSPACE = """(...args) => { if (!window.dsReady) return args; const u = new URL(location);
u.searchParams.set('workspace', args[0]); history.replaceState(null, '', u); return args; }"""
# A tab out of view fills when it opens. An error ends an event before the server is asked.
_ONLY_IN_VIEW = """(...args) => {
const named = new URL(location).searchParams.get('tab') || 'home';  // may lag behind, or run ahead
if (![named, window.dsTab].includes('%s')) throw new Error('not in view');
return args; }"""
_PAGES_REMEMBERED = 2000


def mount_options() -> dict[str, Any]:
    """Look and switches for `gr.mount_gradio_app`."""
    return {
        "theme": theme(),
        "css": css(),
        "head": f"{_ARRIVING}<script>{scripts('logged_out.js')}</script>",
        "footer_links": [],
        "run_history": False,
        "ssr_mode": False,
        "show_error": True,
    }


def build(
    studio: Studio,
    identify: Callable[[HTTPConnection], Actor | None],
    has_login: Callable[[], bool] = lambda: False,
) -> gr.Blocks:
    """The whole page over an open studio.

    Args:
        studio: The data folder's.
        identify: Says who a request comes from.
        has_login: Whether people log in now, and so may log out.
    """
    views: dict[str, TabView] = {}
    page = gr.Blocks(title="Distill Studio", analytics_enabled=False)
    with page:
        unseen = gr.HTML(visible="hidden", elem_id="ds-unseen")
        header = build_header(studio)
        with gr.Tabs(elem_id="ds-tabs") as tabs:
            ui = Ui(studio, identify, header.workspace, tabs, has_login)
            items: dict[str, gr.Tab] = {}
            for word, module in TABS.items():
                with gr.Tab(module.LABEL, id=word, elem_id=f"ds-tab-{word}") as item:
                    views[word] = module.build(ui)
                items[word] = item
        header.wire(ui)
        ui.workspace.change(None, ui.workspace, None, js=_FOLLOW_WORKSPACE, **QUIET)
        fills = _Fills()
        for word, item in items.items():
            _wire(ui, item, word, views[word], fills)
        _wire_load(page, ui, header)
        _add_endpoints(page, ui)
    _lighten(page, unseen)
    return page


def _lighten(page: gr.Blocks, unseen: gr.HTML) -> None:
    """Have each event show its progress on one component.

    At each step of any event Gradio's page visits every component that an event has ever shown its
    progress on, and looks for each from the top of the page: with all outputs of all tabs, a
    quarter of a second. Where no progress is to be seen it is the first component of the page.
    """
    for event in page.fns.values():
        if event.show_progress == "hidden":
            event.show_progress_on = [unseen]
        elif event.show_progress_on is None:
            facts = [one for one in event.outputs if isinstance(one, gr.HTML)]
            event.show_progress_on = facts[:1] or [unseen]


class _Fills:
    """Which tab of which workspace each page filled last.

    A page that opens on a tab fills it as the tab opens; that the workspace of its address is not
    the first one is a change of workspace as well, but no reason to fill the tab again: what comes
    late would undo what a person has begun.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[str, tuple[str, str]] = OrderedDict()  # session -> tab, workspace
        self._guard = threading.Lock()

    def note(self, request: gr.Request, word: str, workspace: str) -> None:
        """This page is filling this tab."""
        page = request.session_hash or ""
        with self._guard:
            self._last[page] = word, workspace
            self._last.move_to_end(page)
            while len(self._last) > _PAGES_REMEMBERED:
                self._last.popitem(last=False)

    def is_last(self, request: gr.Request, word: str, workspace: str) -> bool:
        """True when this page filled just this tab last."""
        with self._guard:
            return self._last.get(request.session_hash or "") == (word, workspace)


def _wire(ui: Ui, item: gr.Tab, word: str, view: TabView, fills: _Fills) -> None:
    """Fill a tab when it opens and when the workspace changes."""
    inputs = [ui.workspace, *view.inputs]
    show = guarded(view.show)
    outputs = list(view.outputs)

    def show_now(request: gr.Request, workspace: str, *values: Any) -> Any:  # noqa: ANN401
        fills.note(request, word, workspace)
        return show(request, workspace, *values)

    def show_once(request: gr.Request, workspace: str, *values: Any) -> Any:  # noqa: ANN401
        if fills.is_last(request, word, workspace):
            return [gr.skip()] * len(outputs) if len(outputs) > 1 else gr.skip()
        return show_now(request, workspace, *values)

    item.select(show_now, inputs, outputs, js=_FOLLOW_TAB % word, **QUIET)
    ui.workspace.change(show_once, inputs, outputs, js=_ONLY_IN_VIEW % word, **QUIET)


def _wire_load(page: gr.Blocks, ui: Ui, header: Header) -> None:
    """Open the page on the tab and workspace that its address names (which also fills the tab)."""

    @guarded
    def on_load(request: gr.Request) -> tuple[Any, ...]:
        names = ui.studio.workspace_names()
        wanted = request.query_params.get("workspace", "")
        name = wanted if wanted in names else names[0]
        word = request.query_params.get("tab", "")
        # without a word the page stays where it is: a person may have clicked already
        tab = gr.Tabs(selected=word) if word in TABS else gr.skip()
        actor = ui.actor(request)
        who = who_html(actor, may_leave=ui.has_login())
        manage = gr.Button(visible=actor.role >= Role.OWNER)
        return gr.Dropdown(choices=names, value=name), tab, who, manage

    filled = [ui.workspace, ui.tabs, header.who, header.manage]
    opened = page.load(on_load, None, filled, **QUIET)
    opened.then(None, None, None, js=_READY, **QUIET)


def _add_endpoints(page: gr.Blocks, ui: Ui) -> None:
    """Every operation as a named endpoint: `predict(workspace, arguments, api_name="/name")`.

    Gradio makes three components for each endpoint; all of them share those of the first, or they
    would be more than a third of the page.
    """
    others = set(page.fns)
    for operation in operations.operations().values():
        fields = ", ".join(operation.arguments.model_fields) or "none"
        gr_api(
            _endpoint(ui, operation.name),
            api_name=operation.name,
            api_description=f"{operation.summary} Arguments: {fields}.",
            queue=False,
        )
    first, *rest = (event for number, event in page.fns.items() if number not in others)
    for event in rest:
        for part in (*event.inputs, *event.outputs):
            part.unrender()
        event.inputs, event.outputs = first.inputs, first.outputs


def _endpoint(ui: Ui, name: str) -> Callable[..., Any]:
    @guarded
    def endpoint(workspace: str, arguments: dict, request: gr.Request) -> Any:  # noqa: ANN401
        opened, actor = ui.open(request, workspace)
        return operations.call(opened, actor, name, arguments or {})

    return endpoint

"""The accordion that starts, watches and stops vLLM servers. Start from `build_server_panel`."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.errors import InvalidInput
from distill_studio.services.servers import ServerState, ServerStatus
from distill_studio.teachers.vllm_server import Dtype, ServerOptions
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import chip, esc, note

_TICK_S = 2.0
_KINDS = {
    ServerState.READY: "good",
    ServerState.STARTING: "info",
    ServerState.SILENT: "warn",
    ServerState.FAILED: "bad",
    ServerState.STOPPED: "",
}


@dataclass(frozen=True)
class ServerPanel:
    """The panel's ready server, and the workspace it is of."""

    ui: Ui
    ready: gr.Textbox

    def after_ready(
        self, handler: Callable[..., Any], inputs: list[Any], outputs: list[Any]
    ) -> list[Any]:
        """Run `handler(request, workspace, name, *inputs)` when another server is ready."""
        given = [self.ui.workspace, self.ready, *inputs]
        return [self.ready.change(handler, given, outputs, **QUIET)]


def build_server_panel(ui: Ui) -> ServerPanel:
    """Make the accordion; it polls while it is open."""
    with gr.Accordion(
        "A vLLM server on this machine", open=False, elem_id="generate-server"
    ) as accordion:
        gr.HTML(
            note(
                "vLLM answers many requests at once, far faster than the app itself."
                " A ready server becomes a teacher. Install it with: make vllm"
            )
        )
        with gr.Row(elem_classes="ds-options"):
            model = gr.Textbox(
                "smollm2-135m-instruct",
                label="Model",
                info="A starter model, a model folder, or a Hub id.",
                scale=2,
                elem_id="generate-server-model",
            )
            name = gr.Textbox(
                label="Name", placeholder="vLLM and the model", elem_id="generate-server-name"
            )
        with gr.Row(elem_classes="ds-options"):
            dtype = gr.Dropdown(
                [d.value for d in Dtype], value="auto", label="Number format",
                elem_id="generate-server-dtype",
            )  # fmt: skip
            max_length = gr.Number(
                0,
                label="Context, tokens (0 = the model's)",
                minimum=0,
                precision=0,
                elem_id="generate-server-max-length",
            )
        with gr.Row(elem_classes="ds-options"):
            tensor = gr.Number(
                1, label="GPUs per copy", minimum=1, precision=0, elem_id="generate-server-tensor"
            )
            copies = gr.Number(
                1, label="Copies", minimum=1, precision=0, elem_id="generate-server-copies"
            )
            flight = gr.Number(
                32, label="Requests at a time", minimum=1, maximum=1024, precision=0,
                elem_id="generate-server-concurrency",
            )  # fmt: skip
        with gr.Row(elem_classes="ds-options"):
            revision = gr.Textbox(
                label="Revision on the Hub",
                placeholder="the newest",
                elem_id="generate-server-revision",
            )
            extra = gr.Textbox(
                label="More arguments",
                info="As in a shell: --max-num-seqs 64",
                max_lines=4,
                elem_id="generate-server-extra",
            )
        keep = gr.Checkbox(
            False, label="Keep it running when the app stops", elem_id="generate-server-keep"
        )
        with gr.Row():
            start = gr.Button("Start the server", size="md", elem_id="generate-server-start")
            chosen = gr.Dropdown(
                [], label="Server", show_label=False, container=False, visible=False,
                elem_id="generate-server-chosen",
            )  # fmt: skip
            stop = gr.Button("Stop it", size="md", visible=False, elem_id="generate-server-stop")
            forget = gr.Button(
                "Forget it", size="md", visible=False, elem_id="generate-server-forget",
                elem_classes="ds-danger",
            )  # fmt: skip
        view = gr.HTML(elem_id="generate-server-view", apply_default_css=False)
    # A State tells nobody of a change by an unqueued event; this is hidden by the style sheet.
    ready = gr.Textbox("", container=False, show_label=False, elem_id="generate-server-ready")
    timer = gr.Timer(_TICK_S, active=False)
    fields = [model, name, revision, dtype, max_length, tensor, copies, flight, extra, keep]
    outputs = [view, chosen, stop, forget, ready, timer]

    def poll(request: gr.Request, workspace: str, now: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        servers = opened.servers.page(actor)
        shown = next((s for s in servers if s.name == now), servers[0] if servers else None)
        log = opened.servers.log(actor, shown.name, 12) if shown else ""
        is_up = shown is not None and shown.pid is not None
        names = [s.name for s in servers]
        teachers = {teacher.name for teacher in opened.teachers.page(actor)}  # ready a moment later
        return (
            servers_html(servers, shown, log),
            gr.Dropdown(names, value=shown.name if shown else None, visible=len(names) > 1),
            gr.Button(visible=is_up),
            gr.Button(visible=shown is not None and not is_up),
            next((n for n in _ready(servers) if n in teachers), ""),
            gr.Timer(_TICK_S, active=True),
        )

    @guarded
    def on_start(request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        opened, actor = ui.open(request, workspace)
        options = options_from(*values)
        opened.servers.start(actor, options)
        gr.Info(f"{options.teacher} starts. Loading takes a minute or more.")
        return poll(request, workspace, options.teacher)

    @guarded
    def on_stop(request: gr.Request, workspace: str, now: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        opened.servers.stop(actor, now)
        return poll(request, workspace, now)

    @guarded
    def on_forget(request: gr.Request, workspace: str, now: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        opened.servers.delete(actor, now)
        return poll(request, workspace, "")

    where = [ui.workspace, chosen]
    accordion.expand(guarded(poll), where, outputs, **QUIET)
    accordion.collapse(lambda: gr.Timer(_TICK_S, active=False), None, timer, **QUIET)
    timer.tick(guarded(poll), where, outputs, **QUIET)
    chosen.input(guarded(poll), where, outputs, **LATEST)
    start.click(on_start, [ui.workspace, *fields], outputs, **SAYING)
    stop.click(on_stop, where, outputs, concurrency_limit=8, api_visibility="private")
    forget.click(on_forget, where, outputs, **SAYING)
    return ServerPanel(ui, ready)


def _ready(servers: Sequence[ServerStatus]) -> list[str]:
    return [s.name for s in servers if s.state is ServerState.READY]


def options_from(
    model: str,
    name: str,
    revision: str,
    dtype: str,
    max_length: float,
    tensor: float,
    copies: float,
    flight: float,
    extra: str,
    keep: bool,
) -> ServerOptions:
    """What the fields say."""
    model = (model or "").strip()
    if not model:
        raise InvalidInput("No model is named.", "Give a starter model's id, a folder or a Hub id.")
    try:
        more = tuple(shlex.split(extra or ""))
    except ValueError as err:
        raise InvalidInput("The extra arguments have a quote that does not end.") from err
    return ServerOptions(
        model=model,
        name=(name or "").strip(),
        revision=(revision or "").strip(),
        dtype=Dtype(dtype),
        max_length=int(max_length) if max_length else None,
        tensor_parallel=int(tensor or 1),
        data_parallel=int(copies or 1),
        concurrency=int(flight or 32),
        extra=more,
        keep_running=bool(keep),
    )


def servers_html(servers: Sequence[ServerStatus], shown: ServerStatus | None, log: str) -> str:
    """Each server with its state, and the end of one's log."""
    if shown is None:
        return ""
    rows = "".join(
        f'<li class="ds-server">{chip(s.state.value, _KINDS[s.state])}'
        f"<strong>{esc(s.name)}</strong>"
        f'<span class="ds-note">{esc(s.base_url if s.pid else s.error, 300)}</span></li>'
        for s in servers
    )
    said = f'<pre class="ds-request ds-mono">{esc(log[-6000:])}</pre>' if log else ""
    return f'<ul class="ds-servers" aria-live="polite">{rows}</ul>{said}'

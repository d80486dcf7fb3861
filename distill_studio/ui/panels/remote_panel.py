"""The accordion that trains on a rented GPU, or sends a run to another machine."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.errors import InvalidInput, StudioError
from distill_studio.distill.spec import TrainSpec
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import note
from distill_studio.ui.panels.distill_form import DistillForm, spec_of
from distill_studio.ui.panels.remote_html import flavor_choices, quote_html, said_again
from distill_studio.ui.panels.run_live import RunsPanel

_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
_INTRO = (
    "The same training, with the settings above, where there is a GPU. The frozen rows, and models"
    " that the Hub does not have, go to a private repository of yours; curves come back here, and"
    " the model at the end. Stages and grids train here."
)

_CONFIRM_AGAIN = """(...args) => { const [machine, minutes] = args.slice(-2);
if (!confirm(`Start the run below again on ${machine || 'its machine'}, for `
  + `${minutes || 'as many as before'} minutes at most? Each begun minute is paid on the Hub.`))
  throw new Error('kept');
return args; }"""


@dataclass(frozen=True)
class RemotePanel:
    """The box; `wire` is called when the list of runs is there."""

    ui: Ui
    form: DistillForm
    box: gr.Accordion
    account: gr.HTML
    token: gr.Textbox
    give: gr.Button
    flavor: gr.Dropdown
    limit: gr.Textbox
    quote: gr.HTML
    look: gr.Button
    rent: gr.Button
    send: gr.Button
    again: gr.Button

    def wire(self, runs: RunsPanel) -> None:
        """What its buttons do."""
        view = _View(self.ui, runs)
        here = [self.ui.workspace]
        asked = [*here, self.flavor, self.limit, *self.form.inputs]
        filled = [self.account, self.token, self.flavor]
        name = self.form.fields["name"]
        self.box.expand(guarded(view.open), here, filled, **_SLOW)
        self.give.click(guarded(view.give), [*here, self.token], filled, **_SLOW)
        self.look.click(guarded(view.quote), asked, [self.quote, self.rent], **_SLOW)
        for control in (self.flavor, self.limit, *self.form.watched):
            control.change(_unquoted, None, [self.quote, self.rent], **QUIET)
        for text in self.form.texts:  # the price was of other settings
            text.input(_unquoted, None, [self.quote, self.rent], **LATEST)
        self.rent.click(guarded(view.rent), asked, [name, *runs.outputs], **SAYING)
        chosen = [*here, runs.chosen, self.flavor, self.limit]
        self.again.click(guarded(view.again), chosen, runs.outputs, js=_CONFIRM_AGAIN, **SAYING)
        sent = [*here, *self.form.inputs]
        self.send.click(guarded(view.send), sent, [name, *runs.outputs], **SAYING)


def build_remote_panel(ui: Ui, form: DistillForm) -> RemotePanel:
    """Make the accordion; it asks the Hub when it opens."""
    with gr.Accordion(
        "On a rented GPU, or another machine", open=False, elem_id="distill-remote"
    ) as box:
        gr.HTML(note(_INTRO))
        account = gr.HTML(elem_id="distill-remote-account", apply_default_css=False)
        with gr.Row(elem_classes="ds-fields"):
            token = gr.Textbox(
                label="Token for this session",
                type="password",
                placeholder="hf_…",
                max_lines=1,
                scale=3,
                elem_id="distill-remote-token",
            )
            give = gr.Button("Use it", size="md", min_width=120, elem_id="distill-remote-give")
        with gr.Row(elem_classes="ds-fields"):
            flavor = gr.Dropdown(
                [], label="Machine of Hugging Face Jobs", scale=3, elem_id="distill-remote-flavor"
            )
            limit = gr.Textbox(
                label="Ended after, minutes",
                placeholder="by the estimate",
                max_lines=1,
                elem_id="distill-remote-limit",
            )
        with gr.Row():
            look = gr.Button("What would it cost?", size="md", elem_id="distill-remote-look")
            rent = gr.Button(
                "Start as a Job (paid)", size="md", variant="primary", interactive=False,
                elem_id="distill-remote-rent",
            )  # fmt: skip
            send = gr.Button(
                "Send it, show the command for another machine", size="md",
                elem_id="distill-remote-send",
            )  # fmt: skip
            again = gr.Button(
                "Start the run below again, on this machine", size="md",
                elem_id="distill-remote-again",
            )  # fmt: skip
        quote = gr.HTML(elem_id="distill-remote-quote", apply_default_css=False)
    return RemotePanel(
        ui, form, box, account, token, give, flavor, limit, quote, look, rent, send, again
    )


class _View:
    """What the panel shows and does."""

    def __init__(self, ui: Ui, runs: RunsPanel) -> None:
        self._ui = ui
        self._runs = runs

    def open(self, request: gr.Request, workspace: str) -> tuple[Any, ...]:
        """Whose token is used, and the machines with their prices."""
        opened, actor = self._ui.open(request, workspace)
        try:
            account = opened.hub.account(actor)
            flavors = opened.remote.flavors(actor)
        except StudioError as err:
            return note(f"{err.user_message} {err.hint}", "warn"), "", gr.Dropdown([])
        options = flavor_choices(flavors)
        value = next((one.name for one in flavors if one.gpus), None)
        said = f"Paid by {account.user} on the Hub, by the begun minute."
        return note(said), "", gr.Dropdown(options, value=value)

    def give(self, request: gr.Request, workspace: str, token: str) -> tuple[Any, ...]:
        """Take a token for this session."""
        opened, actor = self._ui.open(request, workspace)
        opened.hub.token(actor, token)
        return self.open(request, workspace)

    def quote(
        self,
        request: gr.Request,
        workspace: str,
        flavor: str,
        limit: str,
        *values: Any,  # noqa: ANN401
    ) -> tuple[str, gr.Button]:
        """Time and price; only then it can be started."""
        opened, actor = self._ui.open(request, workspace)
        quoted = opened.remote.estimate(actor, _spec(values), _chosen(flavor), _minutes(limit))
        return quote_html(quoted), gr.Button(interactive=not quoted.is_refused)

    def rent(
        self,
        request: gr.Request,
        workspace: str,
        flavor: str,
        limit: str,
        *values: Any,  # noqa: ANN401
    ) -> tuple[Any, ...]:
        """Start a Job and open the run's page."""
        opened, actor = self._ui.open(request, workspace)
        run = opened.remote.start(actor, _spec(values), _chosen(flavor), _minutes(limit))
        return ("", *self._runs.view(request, workspace, run.name))

    def again(
        self,
        request: gr.Request,
        workspace: str,
        name: str,
        flavor: str,
        limit: str,
    ) -> tuple[Any, ...]:
        """Start a run that ended early there again, on this machine and with this limit."""
        opened, actor = self._ui.open(request, workspace)
        before = opened.remote.status(actor, name)
        opened.remote.resume(actor, name, flavor or "", _minutes(limit))
        status = opened.remote.status(actor, name)
        assert before is not None  # else it would have been refused
        assert status is not None
        gr.Info(said_again(before, status))
        return self._runs.view(request, workspace, name)

    def send(self, request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """Send the run, and open its page, which shows the command."""
        opened, actor = self._ui.open(request, workspace)
        run = opened.remote.start_elsewhere(actor, _spec(values))
        return ("", *self._runs.view(request, workspace, run.name))


def _unquoted() -> tuple[str, gr.Button]:
    return "", gr.Button(interactive=False)


def _spec(values: tuple[Any, ...]) -> TrainSpec:
    spec = spec_of(*values)
    if spec is None:
        raise InvalidInput("Choose a snapshot and a student first.")
    return spec


def _chosen(flavor: str | None) -> str:
    if not flavor:
        raise InvalidInput("Choose a machine first.", "The list is filled once there is a token.")
    return flavor


def _minutes(text: str | None) -> int:
    given = (text or "").strip()
    if given and not (given.isascii() and given.isdigit() and len(given) < 10):
        raise InvalidInput(f"'{given[:50]}' is no number of minutes.")
    return int(given or 0)

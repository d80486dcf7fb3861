"""Push to the Hub: an accordion under a snapshot or a finished run. It fills when it is opened."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import StudioError
from distill_studio.hub.licences import COMMON
from distill_studio.services.hub import JOB_KIND
from distill_studio.services.hub_upload import What
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import note
from distill_studio.ui.panels.hub_html import account_html, check_html, pushed_html
from distill_studio.ui.panels.jobs import JobsPanel, build_jobs_panel

_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
_FORMS = [("The whole model", "merged"), ("The adapter alone", "adapter")]


@dataclass(frozen=True)
class _Parts:
    """The components."""

    account: gr.HTML
    token: gr.Textbox
    give: gr.Button
    repo: gr.Textbox
    tag: gr.Textbox
    licence: gr.Dropdown
    form: gr.Radio
    private: gr.Checkbox
    found: gr.HTML
    anyway: gr.Checkbox
    push: gr.Button
    pushed: gr.HTML

    @property
    def asked(self) -> list[Any]:
        """What a check and a push depend on."""
        return [self.repo, self.private, self.form, self.licence, self.tag]

    @property
    def checked(self) -> list[Any]:
        """What a check fills."""
        return [self.found, self.anyway, self.push]


def build_hub_panel(ui: Ui, what: What, chosen: gr.State, prefix: str) -> gr.Accordion:
    """Make the accordion for the snapshot or run whose name is in `chosen`.

    Whoever shows another one closes it (`gr.Accordion(open=False)`): it fills when it opens.
    """
    box = gr.Accordion("Push to the Hub", open=False, elem_id=f"{prefix}-hub-box")
    with box:
        parts = _build(what, f"{prefix}-hub")
        jobs = build_jobs_panel(ui, [JOB_KIND], f"{prefix}-hub-jobs", limit=1)
    view = _View(ui, what, parts, jobs)
    here = [ui.workspace, chosen]
    opened = [
        *(parts.account, parts.repo, parts.tag, parts.licence, parts.form, parts.private),
        *(*parts.checked, parts.pushed, *jobs.outputs),
    ]
    box.expand(guarded(view.open), here, opened, **_SLOW)
    for control in (parts.private, parts.form, parts.licence):
        control.input(guarded(view.check), [*here, *parts.asked], parts.checked, **LATEST | SAYING)
    for text in (parts.repo, parts.tag):
        text.blur(guarded(view.check), [*here, *parts.asked], parts.checked, **SAYING)
    parts.anyway.input(lambda yes: gr.Button(interactive=yes), parts.anyway, parts.push, **LATEST)
    parts.give.click(
        guarded(view.give), [*here, parts.token, parts.repo],
        [parts.account, parts.token, parts.repo, *jobs.outputs], **SAYING,
    )  # fmt: skip
    parts.push.click(guarded(view.push), [*here, parts.anyway, *parts.asked], jobs.outputs, **_SLOW)
    jobs.state.change(guarded(view.links), here, parts.pushed, **QUIET)
    return box


def _build(what: What, elem_id: str) -> _Parts:
    account = gr.HTML(elem_id=f"{elem_id}-account", apply_default_css=False)
    with gr.Row(elem_classes="ds-fields"):
        token = gr.Textbox(
            label="Token for this session",
            type="password",
            placeholder="hf_…",
            max_lines=1,
            scale=3,
            elem_id=f"{elem_id}-token",
        )
        give = gr.Button("Use it", size="md", min_width=120, elem_id=f"{elem_id}-give")
    with gr.Row(elem_classes="ds-fields"):
        repo = gr.Textbox(
            label="Repository", info="owner/name", max_lines=1, scale=2, elem_id=f"{elem_id}-repo"
        )
        tag = gr.Textbox(
            label="Tag", info="Names this state for good.", max_lines=1, elem_id=f"{elem_id}-tag"
        )
        licence = gr.Dropdown(
            [("as known", ""), *((one, one) for one in COMMON[1:])],
            value="",
            label="Licence",
            info="In the card's head.",
            allow_custom_value=True,
            elem_id=f"{elem_id}-licence",
        )
    with gr.Row(elem_classes="ds-fields"):
        form = gr.Radio(
            _FORMS, value="merged", label="What goes", visible=what == "model",
            elem_id=f"{elem_id}-form",
        )  # fmt: skip
        private = gr.Checkbox(
            value=True,
            label="Private",
            info="Only you, or the organisation, can see it.",
            elem_id=f"{elem_id}-private",
        )
    found = gr.HTML(elem_id=f"{elem_id}-found", apply_default_css=False)
    anyway = gr.Checkbox(
        label="I have looked at this: push all the same",
        visible=False,
        elem_id=f"{elem_id}-anyway",
    )
    push = gr.Button("Push", variant="primary", interactive=False, elem_id=f"{elem_id}-push")
    pushed = gr.HTML(elem_id=f"{elem_id}-pushed", apply_default_css=False)
    return _Parts(
        account, token, give, repo, tag, licence, form, private, found, anyway, push, pushed
    )


class _View:
    """What the panel shows."""

    def __init__(self, ui: Ui, what: What, parts: _Parts, jobs: JobsPanel) -> None:
        self._ui = ui
        self._what: What = what
        self._parts = parts
        self._jobs = jobs

    def open(self, request: gr.Request, workspace: str, name: str) -> tuple[Any, ...]:
        """Everything, for what is chosen now."""
        opened, actor = self._ui.open(request, workspace)
        actor.require(Role.OWNER)
        account, user = _account(opened, actor)
        found = opened.hub.check(actor, self._what, name)
        repo = f"{user}/{found.repo}" if user else found.repo
        has_adapter = self._what == "model" and bool(
            opened.distill.get(actor, name).config.get("lora")
        )
        return (
            account,
            repo,
            found.tag,
            gr.Dropdown(value=""),
            gr.Radio(value="merged", visible=has_adapter),
            True,
            check_html(found),
            gr.Checkbox(value=False, visible=found.needs_yes),
            gr.Button(interactive=not found.needs_yes),
            self.links(request, workspace, name),
            *self._jobs.poll(request, workspace),
        )

    def check(
        self,
        request: gr.Request,
        workspace: str,
        name: str,
        *values: Any,  # noqa: ANN401  (values of the controls)
    ) -> tuple[Any, ...]:
        """What would go and what to look at first; an earlier yes is not one to this."""
        opened, actor = self._ui.open(request, workspace)
        try:
            found = opened.hub.check(actor, self._what, name, **_arguments(*values))
        except StudioError as err:
            said = note(str(err), "bad")
            return said, gr.Checkbox(value=False, visible=False), gr.Button(interactive=False)
        return (
            check_html(found),
            gr.Checkbox(value=False, visible=found.needs_yes),
            gr.Button(interactive=not found.needs_yes),
        )

    def give(
        self, request: gr.Request, workspace: str, name: str, token: str, repo: str
    ) -> tuple[Any, ...]:
        """Take a token for the session."""
        opened, actor = self._ui.open(request, workspace)
        account = opened.hub.token(actor, token or "")
        whole = f"{account.user}/{repo}" if account.user and repo and "/" not in repo else repo
        return account_html(account), "", whole, *self._jobs.poll(request, workspace)

    def push(
        self,
        request: gr.Request,
        workspace: str,
        name: str,
        anyway: bool,
        *values: Any,  # noqa: ANN401  (values of the controls)
    ) -> tuple[Any, ...]:
        """Start the push."""
        opened, actor = self._ui.open(request, workspace)
        opened.hub.push(actor, self._what, name, anyway=bool(anyway), **_arguments(*values))
        return self._jobs.poll(request, workspace)

    def links(self, request: gr.Request, workspace: str, name: str) -> str:
        """Where it is already."""
        opened, actor = self._ui.open(request, workspace)
        done = opened.hub.page(actor, limit=200)
        return pushed_html([one for one in done if (one.what, one.name) == (self._what, name)])


def _account(opened: Workspace, actor: Actor) -> tuple[str, str]:
    """Whose token, in words, and their name; what is wrong with it where there is something."""
    try:
        account = opened.hub.account(actor)
    except StudioError as err:
        return note(str(err), "bad"), ""
    return account_html(account), account.user


def _arguments(
    repo: str, private: bool, form: str, licence: str | None, tag: str
) -> dict[str, Any]:
    return {
        "repo": repo or "",
        "private": bool(private),
        "form": form or "merged",
        "licence": licence or "",
        "tag": tag or "",
    }

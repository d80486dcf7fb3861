"""The accordion that adds, tests and changes teachers. Start from `build_teacher_form`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import TeacherConfig, TeacherKind
from distill_studio.services.teacher_testing import TeacherTest
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import chip, esc, note
from distill_studio.ui.panels.teacher_limits import (
    LimitParts,
    build_limits,
    limit_values,
    limits_from,
    price_words,
)

_SLOW: dict[str, Any] = {"concurrency_limit": 8, "api_visibility": "private"}
_NEW = "a new teacher"
_OTHER = "Another address"
_HERE = "In this app: a model folder or Hub id"
_OF_NOBODY = "() => ['', '', {__type__: 'update', visible: false}]"


@dataclass(frozen=True)
class _Parts:
    """The components of the accordion."""

    saved: gr.Dropdown
    preset: gr.Dropdown
    url: gr.Textbox
    key: gr.Textbox
    key_env: gr.Textbox
    model: gr.Dropdown
    fetch: gr.Button
    name: gr.Textbox
    flight: gr.Number
    timeout_s: gr.Number
    licence: gr.Textbox
    limits: LimitParts
    test: gr.Button
    save: gr.Button
    delete: gr.Button
    result: gr.HTML

    @property
    def fields(self) -> list[Any]:
        """What `teacher_from` reads, in its order."""
        first = [self.name, self.model, self.url, self.key_env]
        return [*first, self.flight, self.timeout_s, self.licence, *self.limits.fields]


class TeacherForm:
    """Handlers of the accordion.

    `show(request, workspace)` fills `outputs`; `after_change` wires what follows a change.
    """

    def __init__(self, ui: Ui, parts: _Parts) -> None:
        self._ui = ui
        self._parts = parts
        self.outputs = [parts.saved, parts.preset]
        self._changes = self._wire()

    def show(self, request: gr.Request, workspace: str) -> tuple[Any, ...]:
        """The lists as they are now; what is entered stays."""
        opened, actor = self._ui.open(request, workspace)
        labels = [_OTHER, *(p["label"] for p in opened.teachers.presets(actor)), _HERE]
        return gr.Dropdown(self._saved(opened, actor)), gr.Dropdown(labels)

    def _saved(self, opened: Workspace, actor: Actor) -> list[tuple[str, str]]:
        names = [t.name for t in opened.teachers.page(actor)[1:]]
        return [(_NEW, ""), *((name, name) for name in names)]

    def after_change(
        self, handler: Callable[..., Any], inputs: list[Any], outputs: list[Any]
    ) -> list[Any]:
        """Run `handler(request, workspace, name in the form, *inputs)` after a change."""
        given = [self._ui.workspace, self._parts.name, *inputs]
        return [event.success(handler, given, outputs, **QUIET) for event in self._changes]

    def on_preset(self, request: gr.Request, workspace: str, label: str) -> tuple[Any, ...]:
        """A well-known address was picked."""
        opened, actor = self._ui.open(request, workspace)
        presets = {p["label"]: p for p in opened.teachers.presets(actor)}
        chosen = presets.get(label, {"base_url": "", "key_env": "", "note": ""})
        has_url = label != _HERE
        return (
            gr.Textbox(value=chosen["base_url"], visible=has_url),
            gr.Textbox(visible=has_url),
            gr.Textbox(value=chosen["key_env"], visible=has_url),
            chosen["note"],
            gr.Button(visible=has_url),
            label if label in presets else gr.skip(),
        )

    def on_saved(self, request: gr.Request, workspace: str, chosen: str) -> tuple[Any, ...]:
        """A saved teacher was picked, to be changed."""
        opened, actor = self._ui.open(request, workspace)
        t = next((t for t in opened.teachers.page(actor) if t.name == chosen), None)
        if t is None:
            rest = [gr.skip()] * (len(self._parts.fields) - 1)
            return ("", *rest, gr.Button(visible=False))  # else Save would replace the old one
        values = (t.name, t.model, t.base_url, t.key_env, t.concurrency, t.timeout_s)
        return (*values, t.licence_note, *limit_values(t), gr.Button(visible=True))

    def on_fetch(
        self, request: gr.Request, workspace: str, url: str, key: str, key_env: str, now: str
    ) -> tuple[Any, str]:
        """Ask the server which models it has."""
        opened, actor = self._ui.open(request, workspace)
        ids = opened.teachers.models(actor, url or "", key or "", key_env or "")
        chosen = now if now in ids else next(iter(ids), "")
        words = f"The server offers {len(ids)} model{'' if len(ids) == 1 else 's'}."
        return gr.Dropdown(ids, value=chosen), note(words, "good")

    def on_test(self, request: gr.Request, workspace: str, key: str, *fields: Any) -> str:  # noqa: ANN401
        """Ask the teacher one short question."""
        opened, actor = self._ui.open(request, workspace)
        asked = teacher_from(*fields)
        return outcome_html(opened.teachers.test(actor, teacher=asked, session_key=key or ""))

    def on_save(
        self,
        request: gr.Request,
        workspace: str,
        key: str,
        *fields: Any,  # noqa: ANN401
    ) -> tuple[Any, ...]:
        """Keep the teacher; the key field is emptied."""
        opened, actor = self._ui.open(request, workspace)
        kept = opened.teachers.save(actor, teacher_from(*fields), key or "")
        saved = gr.Dropdown(self._saved(opened, actor), value=kept.name)
        price = next(p for p in opened.teachers.prices(actor) if p.teacher == kept.name)
        said = note(f"{kept.name} is saved and chosen above. {price_words(price)}", "good")
        return "", kept.name, saved, said, gr.Button(visible=True)

    def on_delete(self, request: gr.Request, workspace: str, chosen: str) -> tuple[Any, ...]:
        """Forget the teacher; its answers stay."""
        opened, actor = self._ui.open(request, workspace)
        opened.teachers.delete(actor, chosen)
        saved = gr.Dropdown(self._saved(opened, actor), value="")
        return saved, note(f"{chosen} is deleted; its answers stay."), gr.Button(visible=False)

    def _wire(self) -> list[Any]:
        p, where = self._parts, self._ui.workspace
        target = [p.url, p.key, p.key_env, p.licence, p.fetch, p.name]
        p.preset.input(guarded(self.on_preset), [where, p.preset], target, **LATEST)
        changed = [*p.fields, p.delete]
        p.saved.input(guarded(self.on_saved), [where, p.saved], changed, **LATEST)
        asked = [where, p.url, p.key, p.key_env, p.model]
        p.fetch.click(guarded(self.on_fetch), asked, [p.model, p.result], **_SLOW)
        given = [where, p.key, *p.fields]
        p.test.click(guarded(self.on_test), given, p.result, **_SLOW)
        after = [p.saved, p.result, p.delete]
        where.change(None, None, after, js=_OF_NOBODY, **QUIET)  # another workspace, other teachers
        return [
            p.save.click(guarded(self.on_save), given, [p.key, p.name, *after], **SAYING),
            p.delete.click(guarded(self.on_delete), [where, p.saved], after, **SAYING),
        ]


def build_teacher_form(ui: Ui) -> TeacherForm:
    """Make the accordion."""
    with gr.Accordion("Add or change a teacher", open=False, elem_id="generate-teacher-form"):
        with gr.Row():
            saved = gr.Dropdown(
                [(_NEW, "")], value="", label="Change", elem_id="generate-teacher-saved"
            )
            preset = gr.Dropdown(
                [_OTHER], value=_OTHER, label="Where it runs", elem_id="generate-preset"
            )
        url = gr.Textbox(
            label="Address",
            placeholder="http://127.0.0.1:8000/v1",
            info="Any OpenAI-compatible API. Prompts and the key are sent there.",
            elem_id="generate-url",
        )
        with gr.Row():
            key = gr.Textbox(
                label="Key for this session",
                type="password",
                info="In memory only, until the app stops.",
                elem_id="generate-key",
            )
            key_env = gr.Textbox(
                label="Or the variable that holds it",
                placeholder="OPENAI_API_KEY",
                info="Read where the app was started.",
                elem_id="generate-key-env",
            )
        with gr.Row(elem_classes="ds-fields"):
            model = gr.Dropdown(
                [], label="Model", allow_custom_value=True, scale=3, elem_id="generate-model"
            )
            fetch = gr.Button("Fetch the list", size="md", elem_id="generate-fetch", min_width=120)
        with gr.Row():
            name = gr.Textbox(label="Name", elem_id="generate-teacher-name")
            flight = gr.Number(
                8,
                label="Requests at a time",
                minimum=1,
                maximum=1024,
                precision=0,
                elem_id="generate-concurrency",
            )
            timeout_s = gr.Number(
                120, label="Time-out, s", minimum=1, maximum=3600, elem_id="generate-timeout"
            )
        licence = gr.Textbox(
            label="What its terms say of training on its answers", elem_id="generate-licence"
        )
        limits = build_limits()
        with gr.Row():
            test = gr.Button("Test the connection", size="md", elem_id="generate-test")
            save = gr.Button("Save the teacher", size="md", elem_id="generate-save")
            delete = gr.Button(
                "Delete it",
                size="md",
                visible=False,
                elem_id="generate-delete",
                elem_classes="ds-danger",
            )
        result = gr.HTML(elem_id="generate-test-result", apply_default_css=False)
    parts = _Parts(
        saved, preset, url, key, key_env, model, fetch, name, flight, timeout_s, licence,
        limits, test, save, delete, result,
    )  # fmt: skip
    return TeacherForm(ui, parts)


def teacher_from(
    name: str,
    model: str,
    url: str,
    key_env: str,
    flight: float,
    timeout_s: float,
    licence: str,
    *limits: Any,  # noqa: ANN401
) -> TeacherConfig:
    """The configuration that the fields describe; without an address it runs in this app.

    `limits` are the values of `LimitParts.fields`.
    """
    model = (model or "").strip()
    if not model:
        raise InvalidInput("No model is chosen.", "Fetch the list and pick one, or type its name.")
    has_url = bool((url or "").strip())
    return TeacherConfig(
        name=(name or "").strip() or model,
        kind=TeacherKind.OPENAI if has_url else TeacherKind.LOCAL,
        model=model,
        base_url=url or "",
        key_env=key_env or "",
        concurrency=int(flight or 8),
        timeout_s=float(timeout_s or 120),
        licence_note=licence or "",
        **limits_from(*limits),
    )


def outcome_html(result: TeacherTest) -> str:
    """What came of a connection test; of several addresses, each."""
    if len(result.urls) > 1:
        return _addresses_html(result)
    if not result.ok:
        return (
            f'<div class="ds-test">{chip("no answer", "bad")}<strong>{esc(result.message)}</strong>'
            f"{note(result.hint)}</div>"
        )
    return (
        f'<div class="ds-test">{chip("works", "good")}<strong>{esc(result.message)}</strong>'
        f'<span class="ds-note">{esc(_took(result.latency_ms))}</span>'
        f'<blockquote class="ds-txt">{esc(result.sample)}</blockquote></div>'
    )


def _addresses_html(result: TeacherTest) -> str:
    is_whole = all(each.ok for each in result.urls)
    head = chip("works", "good") if is_whole else chip("works in part", "warn")
    if not result.ok:
        head = chip("no answer", "bad")
    items = "".join(
        f"<li>{chip('ok', 'good') if each.ok else chip('error', 'bad')}<code>{esc(each.url)}</code>"
        f'<span class="ds-note">{esc(_took(each.latency_ms) if each.ok else "")}</span>'
        f"<div>{esc(' '.join(filter(None, (each.message, each.hint))))}</div></li>"
        for each in result.urls
    )
    said = f'<blockquote class="ds-txt">{esc(result.sample)}</blockquote>' if result.ok else ""
    return (
        f'<div class="ds-test">{head}<strong>{esc(result.message)}</strong>{said}</div>'
        f'<ul class="ds-urls">{items}</ul>'
    )


def _took(latency_ms: float | None) -> str:
    return f"{latency_ms or 0:,.0f} ms"

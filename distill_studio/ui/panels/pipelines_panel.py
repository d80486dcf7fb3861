"""Saved pipelines on the Curate tab: save the settings, load, run again, delete, export."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from distill_studio.core import embedding_models
from distill_studio.core.actor import Actor
from distill_studio.curate.reports import CurateSettings
from distill_studio.services.pipelines import JOB_KIND, Pipeline
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded, in_view
from distill_studio.ui.events import QUIET, SAYING
from distill_studio.ui.html import chip, esc, note, table
from distill_studio.ui.panels.jobs import build_jobs_panel

ToForm = Callable[[Workspace, Actor, CurateSettings], tuple[Any, ...]]
_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}


class PipelinesPanel:
    """The accordion. `show` gives the values of `all_outputs`; `wire` connects it with the tab."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        with gr.Accordion("Saved pipelines", open=False, elem_id="curate-pipelines-box"):
            gr.HTML(
                note(
                    "All settings above under a name. Run one again when rows came: it measures"
                    " what is new and applies its settings to everything. Undo takes it back."
                )
            )
            with gr.Row(elem_id="curate-pipelines-row"):
                self.choice = gr.Dropdown(
                    [], label="Pipeline", elem_id="curate-pipeline", scale=3, min_width=260
                )
                self.run = _button("Run", "run", variant="primary")
                self.load = _button("Load into the form", "load")
                self.delete = _button("Delete", "delete")
            self.jobs = build_jobs_panel(ui, [JOB_KIND], "curate-pipelines-jobs", limit=1)
            self.list = gr.HTML(elem_id="curate-pipelines-list")
            with gr.Row(elem_id="curate-pipelines-save-row"):
                self.name = gr.Textbox(
                    label="Save the settings above as", max_length=60, scale=3, min_width=260,
                    elem_id="curate-pipeline-name",
                )  # fmt: skip
                self.save = _button("Save", "save")
                self.upload = gr.UploadButton(
                    "Import a file", file_types=[".json"], size="md", scale=0, min_width=150,
                    elem_id="curate-pipeline-import",
                )  # fmt: skip

    @property
    def outputs(self) -> list[Any]:
        """What `fill` fills."""
        return [self.choice, self.list, self.run, self.load, self.delete]

    @property
    def all_outputs(self) -> list[Any]:
        """What `show` fills."""
        return [*self.outputs, *self.jobs.shown]

    def fill(self, opened: Workspace, actor: Actor, chosen: str | None) -> tuple[Any, ...]:
        """The pipelines, with one chosen: the one asked for, in force, or the first."""
        found = opened.pipelines.page(actor)
        names = [one.name for one in found]
        in_force = next((one.name for one in found if one.is_in_force), None)
        value = chosen if chosen in names else in_force or next(iter(names), None)
        texts = {name: opened.pipelines.export_text(actor, name) for name in names}
        buttons = [gr.Button(interactive=bool(names))] * 3
        return gr.Dropdown(names, value=value), pipelines_html(found, texts), *buttons

    def show(self, request: gr.Request, workspace: str) -> tuple[Any, ...]:
        """Everything, when the tab opens."""
        return (
            *self.fill(*self._ui.open(request, workspace), None),
            *self.jobs.show(request, workspace),
        )

    def wire(
        self,
        refresh: Any,  # noqa: ANN401
        arguments: Callable[[Sequence[Any]], dict[str, Any]],
        to_form: ToForm,
        settings: Sequence[Any],
        shown: Sequence[Any],
    ) -> None:
        """Connect it.

        Args:
            refresh: `refresh(request, workspace, *settings)` fills `shown` after a run.
            arguments: What `pipelines.save` takes, from the values of `settings`.
            to_form: Values of `settings` and `shown` for settings that are loaded.
            settings: The tab's settings.
            shown: What depends on them.
        """
        ui, where = self._ui, [self._ui.workspace, self.choice]
        inputs = [ui.workspace, *settings]

        @guarded
        def on_save(request: gr.Request, workspace: str, name: str, *values: Any) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            saved = opened.pipelines.save(actor, name, **arguments(values))
            gr.Info(f"Saved “{saved.name}”.")
            return self.fill(opened, actor, saved.name)

        @guarded
        def on_load(request: gr.Request, workspace: str, name: str | None) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            found = [one for one in opened.pipelines.page(actor) if one.name == name]
            return to_form(opened, actor, found[0].settings) if found else _skip(settings, shown)

        @guarded
        def on_job(request: gr.Request, workspace: str, name: str | None) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            if opened.jobs.page(actor, kinds=[JOB_KIND], active=True):
                return [gr.skip()] * len(self.outputs)
            return self.fill(opened, actor, name)

        self.save.click(on_save, [ui.workspace, self.name, *settings], self.outputs, **_SLOW)
        self.load.click(on_load, where, [*settings, *shown], **_SLOW)
        self.run.click(self._on_run(), where, self.jobs.outputs, **SAYING)
        self.delete.click(self._on_delete(), where, self.outputs, **SAYING)
        self.upload.upload(self._on_import(), [ui.workspace, self.upload], self.outputs, **_SLOW)
        ended = self.jobs.state.change(on_job, where, self.outputs, **QUIET)
        ended.then(refresh, inputs, list(shown), **QUIET)

    def _on_run(self) -> Any:  # noqa: ANN401
        @guarded
        def on_run(request: gr.Request, workspace: str, name: str | None) -> Any:  # noqa: ANN401
            opened, actor = self._ui.open(request, workspace)
            opened.pipelines.run(actor, name or "")
            return self.jobs.poll(request, workspace)

        return on_run

    def _on_delete(self) -> Any:  # noqa: ANN401
        @guarded
        def on_delete(request: gr.Request, workspace: str, name: str | None) -> Any:  # noqa: ANN401
            opened, actor = self._ui.open(request, workspace)
            opened.pipelines.delete(actor, name or "")
            return self.fill(opened, actor, None)

        return on_delete

    def _on_import(self) -> Any:  # noqa: ANN401
        @guarded
        def on_import(request: gr.Request, workspace: str, path: str | None) -> Any:  # noqa: ANN401
            opened, actor = self._ui.open(request, workspace)
            text = Path(in_view(path, "file")).read_bytes().decode("utf-8", errors="replace")
            saved = opened.pipelines.import_text(actor, text)
            gr.Info(f"Imported “{saved.name}”.")
            return self.fill(opened, actor, saved.name)

        return on_import


def pipelines_html(found: Sequence[Pipeline], texts: dict[str, str]) -> str:
    """The pipelines with what they do, and a link each that saves its JSON."""
    rows = [
        [
            esc(one.name) + (" " + chip("in force", "good") if one.is_in_force else ""),
            esc(_does(one)),
            esc(one.user),
            f"{one.changed_at:%Y-%m-%d %H:%M}" if one.changed_at else "",
            _export_link(one.name, texts[one.name]),
        ]
        for one in found
    ]
    return table(
        ["Name", "Does", "Saved by", "When (UTC)", ""], rows, empty="Nothing is saved so far."
    )


def _does(one: Pipeline) -> str:
    dropping = sum(c.is_on and not c.only_warns for c in one.settings.filters)
    near = f"near from {one.settings.threshold:g}" if one.compares else "equal texts only"
    if one.compares and one.settings.model != embedding_models.FULL:
        near += f" by {embedding_models.label(one.settings.model)}"
    return f"{dropping} filters, {near}"


def _export_link(name: str, text: str) -> str:
    content = b64encode(text.encode()).decode()
    return (
        f"<a class='ds-link' download='{esc(name)}.json' "
        f"href='data:application/json;base64,{content}'>Export</a>"
    )


def _button(label: str, name: str, variant: Any = "secondary") -> gr.Button:  # noqa: ANN401
    return gr.Button(
        label, size="md", variant=variant, scale=0, min_width=130, elem_id=f"curate-pipeline-{name}"
    )


def _skip(settings: Sequence[Any], shown: Sequence[Any]) -> list[Any]:
    return [gr.skip()] * (len(settings) + len(shown))

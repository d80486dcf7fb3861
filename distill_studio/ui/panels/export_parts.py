"""The parts of the Export tab: answers, preferences, snapshots, students; each with its own result.

A part's `connect` lets its button export. Its `made` tells of the file, until what was exported is
no longer what its fields say.
"""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from distill_studio.core.records import Curation, PairStatus
from distill_studio.services.export import ExportFile, ExportPreview
from distill_studio.store.pairs import PairQuery
from distill_studio.store.preferences import PreferenceQuery
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET
from distill_studio.ui.html import note
from distill_studio.ui.panels.export_html import preview_html
from distill_studio.ui.panels.gguf_panel import build_gguf_panel
from distill_studio.ui.panels.import_html import counted

Done = Callable[[gr.Request, str, ExportFile], tuple[str, str]]  # HTML of the file, of all files
_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
_ALL = ("all", "")
_FACETS = ("teacher", "recipe", "topic", "source")
_STYLES = [
    ("Conversations (messages)", "messages"),
    ("Prompt and completion", "prompt_completion"),
    ("Alpaca (instruction, output)", "alpaca"),
    ("ShareGPT (conversations)", "sharegpt"),
]
_TABLES = [("JSON Lines", "jsonl"), ("Parquet", "parquet")]


def clear_on_change(controls: Sequence[Any], made: gr.HTML) -> None:
    """A file that was made goes from view when one of the controls says something else."""
    for control in controls:
        control.change(None, None, made, js="() => ''", **QUIET)


class _Preview:
    """How many rows would be written, and the first of them."""

    def __init__(self, name: str) -> None:
        self.count = gr.HTML(elem_id=f"{name}-count")
        with gr.Accordion("The first rows as they will be written"):
            self.rows = gr.HTML(elem_id=f"{name}-first", apply_default_css=False)

    @staticmethod
    def filled(found: ExportPreview, one: str, many: str) -> tuple[Any, ...]:
        """Count, rows and button."""
        return (
            note(f"{counted(found.rows, one, many)}."),
            preview_html(found.first),
            gr.Button(interactive=found.rows > 0),
        )


class PairPart:
    """Which answers, in which form."""

    def __init__(self) -> None:
        with gr.Row(elem_classes="ds-parts"):
            status = gr.Dropdown(
                [_ALL, *((s.value, s.value) for s in PairStatus)],
                value=PairStatus.ACCEPTED.value,
                label="Decided",
                elem_id="export-status",
            )
            curation = gr.Dropdown(
                [_ALL, *((c.value, c.value) for c in Curation)],
                value=Curation.KEPT.value,
                label="Curation",
                elem_id="export-curation",
            )
            self._facets = [
                gr.Dropdown([_ALL], value="", label=f.capitalize(), elem_id=f"export-{f}")
                for f in _FACETS
            ]
            search = gr.Textbox(label="Search", elem_id="export-search")
        with gr.Row(elem_classes="ds-fields"):
            style = gr.Dropdown(_STYLES, value="messages", label="Form", elem_id="export-style")
            self._table = gr.Radio(_TABLES, value="jsonl", label="File", elem_id="export-table")
            think = gr.Checkbox(label="Reasoning in <think>", elem_id="export-think")
        self._preview = _Preview("export")
        self._button = gr.Button("Export answers", variant="primary", elem_id="export-pairs")
        self.made = gr.HTML(elem_id="export-pairs-made")
        self.inputs: list[Any] = [style, think, *self._facets, status, curation, search]

    @property
    def outputs(self) -> list[Any]:
        """What `show` fills."""
        return [*self._facets, *self._previewed]

    @property
    def _previewed(self) -> list[Any]:
        return [self._preview.count, self._preview.rows, self._button]

    def connect(self, ui: Ui, done: Done, files: gr.HTML) -> None:
        """Let the fields count and the button export."""

        @guarded
        def on_change(request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
            return self._preview_of(ui, request, workspace, *values)

        @guarded
        def on_click(
            request: gr.Request, workspace: str, table: str, style: str, think: bool, *values: str
        ) -> tuple[str, str]:
            opened, actor = ui.open(request, workspace)
            file = opened.export.pairs(actor, table, _query(*values), style, None, think)  # type: ignore[arg-type]
            return done(request, workspace, file)

        for control in self.inputs:
            control.change(on_change, [ui.workspace, *self.inputs], self._previewed, **QUIET)
        clear_on_change([self._table, *self.inputs], self.made)
        asked = [ui.workspace, self._table, *self.inputs]
        self._button.click(on_click, asked, [self.made, files], **_SLOW)

    def show(
        self,
        ui: Ui,
        request: gr.Request,
        workspace: str,
        style: str,
        think: bool,
        *values: str,
    ) -> tuple[Any, ...]:
        """Values of `outputs`; a facet's value that is gone becomes `all`."""
        opened, actor = ui.open(request, workspace)
        facets = opened.review.facets(actor)
        kept = [v if v in facets[f] else "" for f, v in zip(_FACETS, values[:4], strict=True)]
        dropdowns = [
            gr.Dropdown([_ALL, *((v, v) for v in facets[f])], value=value)
            for f, value in zip(_FACETS, kept, strict=True)
        ]
        found = self._preview_of(ui, request, workspace, style, think, *kept, *values[4:])
        return (*dropdowns, *found)

    def _preview_of(
        self, ui: Ui, request: gr.Request, workspace: str, style: str, think: bool, *values: str
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        found = opened.export.preview_pairs(actor, _query(*values), style, think)  # type: ignore[arg-type]
        return self._preview.filled(found, "answer matches", "answers match")


class PreferencePart:
    """Which preferences."""

    def __init__(self) -> None:
        with gr.Row(elem_classes="ds-fields"):
            self._outcome = gr.Dropdown(
                [("with a winner", "win"), ("ties", "tie"), ("both bad", "both_bad"), _ALL],
                value="win",
                label="Outcome",
                elem_id="export-outcome",
            )
            self._table = gr.Radio(
                _TABLES, value="jsonl", label="File", elem_id="export-preference-table"
            )
        self._preview = _Preview("export-preferences")
        self._button = gr.Button(
            "Export preferences", variant="primary", elem_id="export-preferences"
        )
        self.made = gr.HTML(elem_id="export-preferences-made")
        self.inputs: list[Any] = [self._outcome]
        self.outputs: list[Any] = [self._preview.count, self._preview.rows, self._button]

    def connect(self, ui: Ui, done: Done, files: gr.HTML) -> None:
        """Let the outcome count and the button export."""

        @guarded
        def on_change(request: gr.Request, workspace: str, outcome: str) -> tuple[Any, ...]:
            return self.show(ui, request, workspace, outcome)

        @guarded
        def on_click(
            request: gr.Request, workspace: str, outcome: str, table: str
        ) -> tuple[str, str]:
            opened, actor = ui.open(request, workspace)
            query = PreferenceQuery(outcome=outcome or "")
            file = opened.export.preferences(actor, table, query)  # type: ignore[arg-type]
            return done(request, workspace, file)

        self._outcome.change(on_change, [ui.workspace, self._outcome], self.outputs, **QUIET)
        clear_on_change([self._outcome, self._table], self.made)
        asked = [ui.workspace, self._outcome, self._table]
        self._button.click(on_click, asked, [self.made, files], **_SLOW)

    def show(self, ui: Ui, request: gr.Request, workspace: str, outcome: str) -> tuple[Any, ...]:
        """Values of `outputs`."""
        opened, actor = ui.open(request, workspace)
        found = opened.export.preview_preferences(actor, PreferenceQuery(outcome=outcome or ""))
        return self._preview.filled(found, "preference matches", "preferences match")


class SnapshotPart:
    """Which snapshot, as what."""

    def __init__(self) -> None:
        with gr.Row(elem_classes="ds-fields"):
            self._name = gr.Dropdown([], label="Snapshot", elem_id="export-snapshot-name")
            self._form = gr.Radio(
                [("Folder as ZIP", "zip"), *_TABLES],
                value="zip",
                label="File",
                elem_id="export-snapshot-form",
            )
        self._button = gr.Button("Export snapshot", variant="primary", elem_id="export-snapshot")
        self.made = gr.HTML(elem_id="export-snapshot-made")
        self.outputs: list[Any] = [self._name, self._button]

    def connect(self, ui: Ui, done: Done, files: gr.HTML) -> None:
        """Let the button export."""

        @guarded
        def on_click(request: gr.Request, workspace: str, name: str, form: str) -> tuple[str, str]:
            opened, actor = ui.open(request, workspace)
            file = opened.export.snapshot(actor, name or "", form)  # type: ignore[arg-type]
            return done(request, workspace, file)

        clear_on_change([self._name, self._form], self.made)
        asked = [ui.workspace, self._name, self._form]
        self._button.click(on_click, asked, [self.made, files], **_SLOW)

    @staticmethod
    def filled(names: list[str]) -> tuple[Any, ...]:
        """Choices and button."""
        value = names[0] if names else None
        return gr.Dropdown(names, value=value), gr.Button(interactive=bool(names))


class StudentPart:
    """Which trained student, merged or as an adapter."""

    def __init__(self, ui: Ui) -> None:
        with gr.Row(elem_classes="ds-fields"):
            self._run = gr.Dropdown([], label="Student", elem_id="export-run")
            self._kind = gr.Radio(
                [("Whole model", "merged"), ("LoRA adapter", "adapter")],
                value="merged",
                label="As",
                elem_id="export-kind",
            )
        hint = gr.HTML()
        self._button = gr.Button("Export student", variant="primary", elem_id="export-model")
        self.made = gr.HTML(elem_id="export-model-made")
        self.gguf = build_gguf_panel(ui, self._run, "export")
        self.outputs: list[Any] = [self._run, self._button, hint, self.gguf.box]

    def connect(self, ui: Ui, done: Done, files: gr.HTML) -> None:
        """Let the button export."""

        @guarded
        def on_click(request: gr.Request, workspace: str, run: str, kind: str) -> tuple[str, str]:
            opened, actor = ui.open(request, workspace)
            return done(request, workspace, opened.export.student(actor, run or "", kind))  # type: ignore[arg-type]

        clear_on_change([self._run, self._kind], self.made)
        self._run.change(lambda: gr.Accordion(open=False), None, self.gguf.box, **QUIET)
        asked = [ui.workspace, self._run, self._kind]
        self._button.click(on_click, asked, [self.made, files], **_SLOW)

    @staticmethod
    def filled(names: list[str]) -> tuple[Any, ...]:
        """Choices, button, what to do when there is none, and the other form."""
        value = names[0] if names else None
        hint = "" if names else note("No student is trained yet. Train one in Distill.")
        button, gguf = gr.Button(interactive=bool(names)), gr.Accordion(visible=bool(names))
        return gr.Dropdown(names, value=value), button, hint, gguf


def _query(
    teacher: str, recipe: str, topic: str, source: str, status: str, curation: str, search: str
) -> PairQuery:
    return PairQuery(
        teacher=teacher or "",
        recipe=recipe or "",
        topic=topic or "",
        source=source or "",
        status=PairStatus(status) if status else None,
        curation=Curation(curation) if curation else None,
        search=search or "",
    )

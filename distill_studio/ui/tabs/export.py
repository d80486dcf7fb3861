"""The Export tab: pairs, preferences, snapshots and students as files."""

from typing import Any

import gradio as gr

from distill_studio.core.records import Curation, PairStatus
from distill_studio.services.export import ExportFile
from distill_studio.store.pairs import PairQuery
from distill_studio.store.preferences import PreferenceQuery
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET
from distill_studio.ui.html import note, page_head
from distill_studio.ui.panels.export_html import file_link, files_html
from distill_studio.ui.panels.import_html import counted
from distill_studio.ui.panels.neighbour_panel import NeighbourPart

LABEL = "Export"
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
_DELETE = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-delete]');
  if (button && confirm('Delete ' + button.dataset.delete + '?'))
    trigger('select', {index: 0, value: button.dataset.delete});
});
"""


def build(ui: Ui) -> TabView:
    """Make the tab."""
    gr.HTML(page_head("Export: take it away", "What is exported is exactly what is counted here."))
    with gr.Tabs(elem_id="export-what"):
        with gr.Tab("Answers"):
            pair_part = _PairPart()
        with gr.Tab("Preferences"):
            preference_part = _PreferencePart()
        with gr.Tab("Snapshots"):
            snapshot_part = _SnapshotPart()
        with gr.Tab("Other trainers"):
            neighbour_part = NeighbourPart()
        with gr.Tab("Students"):
            model_part = _ModelPart()
    made = gr.HTML(elem_id="export-made")
    gr.HTML('<h3 class="ds-h3">Files</h3>')
    files = gr.HTML(elem_id="export-files", js_on_load=_DELETE, apply_default_css=False)

    def done(request: gr.Request, workspace: str, file: ExportFile) -> tuple[str, str]:
        return file_link(workspace, file), _files(ui, request, workspace)

    def count(
        request: gr.Request,
        workspace: str,
        *values: str,
    ) -> tuple[str, Any]:
        opened, actor = ui.open(request, workspace)
        number = opened.review.count(actor, _query(*values))
        words = f"{counted(number, 'answer matches', 'answers match')}."
        return note(words), gr.Button(interactive=number > 0)

    @guarded
    def on_pairs(
        request: gr.Request, workspace: str, style: str, table: str, think: bool, *values: str
    ) -> tuple[str, str]:
        opened, actor = ui.open(request, workspace)
        file = opened.export.pairs(actor, table, _query(*values), style, None, think)  # type: ignore[arg-type]
        return done(request, workspace, file)

    @guarded
    def on_preferences(
        request: gr.Request, workspace: str, outcome: str, table: str
    ) -> tuple[str, str]:
        opened, actor = ui.open(request, workspace)
        query = PreferenceQuery(outcome=outcome or "")
        file = opened.export.preferences(actor, table, query)  # type: ignore[arg-type]
        return done(request, workspace, file)

    @guarded
    def on_snapshot(request: gr.Request, workspace: str, name: str, form: str) -> tuple[str, str]:
        opened, actor = ui.open(request, workspace)
        file = opened.export.snapshot(actor, name or "", form)  # type: ignore[arg-type]
        return done(request, workspace, file)

    @guarded
    def on_model(request: gr.Request, workspace: str, run: str, kind: str) -> tuple[str, str]:
        opened, actor = ui.open(request, workspace)
        return done(request, workspace, opened.export.student(actor, run or "", kind))  # type: ignore[arg-type]

    @guarded
    def on_delete(request: gr.Request, workspace: str, event: gr.SelectData) -> tuple[str, str]:
        opened, actor = ui.open(request, workspace)
        opened.export.delete(actor, str(event.value))
        return "", _files(ui, request, workspace)

    counting = [ui.workspace, *pair_part.filters]
    counted_to = [pair_part.count, pair_part.button]
    for control in pair_part.filters:
        control.change(guarded(count), counting, counted_to, **QUIET)
    outputs = [made, files]
    pair_part.button.click(
        on_pairs,
        [ui.workspace, pair_part.style, pair_part.table, pair_part.think, *pair_part.filters],
        outputs,
        **_SLOW,
    )
    preference_part.button.click(
        on_preferences,
        [ui.workspace, preference_part.outcome, preference_part.table],
        outputs,
        **_SLOW,
    )
    snapshot_part.button.click(
        on_snapshot, [ui.workspace, snapshot_part.name, snapshot_part.form], outputs, **_SLOW
    )
    neighbour_part.connect(ui, done, outputs)
    model_part.button.click(
        on_model, [ui.workspace, model_part.run, model_part.kind], outputs, **_SLOW
    )
    files.select(on_delete, ui.workspace, outputs, **QUIET)
    ui.workspace.change(lambda: "", None, made, **QUIET)

    def show(request: gr.Request, workspace: str, *values: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        facets = opened.review.facets(actor)
        kept, dropdowns = _fill(values, facets)
        snapshots = [snapshot.name for snapshot in opened.freeze.page(actor, limit=200)]
        students = opened.export.students(actor)
        return (
            *dropdowns,
            *count(request, workspace, *kept, *values[4:]),
            preference_part.counted(opened.overview.counts(actor)["preferences"]),
            *snapshot_part.filled(snapshots),
            *neighbour_part.filled(snapshots),
            *model_part.filled(students),
            _files(ui, request, workspace),
        )

    return TabView(
        show=show,
        inputs=pair_part.filters,
        outputs=[
            *pair_part.filters[:4],
            *counted_to,
            preference_part.count,
            snapshot_part.name,
            snapshot_part.button,
            neighbour_part.name,
            neighbour_part.button,
            neighbour_part.hint,
            model_part.run,
            model_part.button,
            model_part.hint,
            files,
        ],
    )


def _files(ui: Ui, request: gr.Request, workspace: str) -> str:
    opened, actor = ui.open(request, workspace)
    return files_html(workspace, opened.export.page(actor))


class _PairPart:
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
            facets = [
                gr.Dropdown([_ALL], value="", label=f.capitalize(), elem_id=f"export-{f}")
                for f in _FACETS
            ]
            search = gr.Textbox(label="Search", elem_id="export-search")
        with gr.Row(elem_classes="ds-fields"):
            self.style = gr.Dropdown(
                _STYLES, value="messages", label="Form", elem_id="export-style"
            )
            self.table = gr.Radio(_TABLES, value="jsonl", label="File", elem_id="export-table")
            self.think = gr.Checkbox(label="Reasoning in <think>", elem_id="export-think")
        self.count = gr.HTML(elem_id="export-count")
        self.button = gr.Button("Export answers", variant="primary", elem_id="export-pairs")
        self.filters: list[Any] = [*facets, status, curation, search]


class _PreferencePart:
    """Which preferences."""

    def __init__(self) -> None:
        with gr.Row(elem_classes="ds-fields"):
            self.outcome = gr.Dropdown(
                [("with a winner", "win"), ("ties", "tie"), ("both bad", "both_bad"), _ALL],
                value="win",
                label="Outcome",
                elem_id="export-outcome",
            )
            self.table = gr.Radio(
                _TABLES, value="jsonl", label="File", elem_id="export-preference-table"
            )
        self.count = gr.HTML()
        self.button = gr.Button(
            "Export preferences", variant="primary", elem_id="export-preferences"
        )

    @staticmethod
    def counted(count: int) -> str:
        """How many there are."""
        return note(f"{counted(count, 'preference')} in this workspace.")


class _SnapshotPart:
    """Which snapshot, as what."""

    def __init__(self) -> None:
        with gr.Row(elem_classes="ds-fields"):
            self.name = gr.Dropdown([], label="Snapshot", elem_id="export-snapshot-name")
            self.form = gr.Radio(
                [("Folder as ZIP", "zip"), *_TABLES],
                value="zip",
                label="File",
                elem_id="export-snapshot-form",
            )
        self.button = gr.Button("Export snapshot", variant="primary", elem_id="export-snapshot")

    @staticmethod
    def filled(names: list[str]) -> tuple[Any, ...]:
        """Choices and button."""
        value = names[0] if names else None
        return gr.Dropdown(names, value=value), gr.Button(interactive=bool(names))


class _ModelPart:
    """Which trained student, merged or as an adapter."""

    def __init__(self) -> None:
        with gr.Row(elem_classes="ds-fields"):
            self.run = gr.Dropdown([], label="Student", elem_id="export-run")
            self.kind = gr.Radio(
                [("Whole model", "merged"), ("LoRA adapter", "adapter")],
                value="merged",
                label="As",
                elem_id="export-kind",
            )
        self.hint = gr.HTML()
        self.button = gr.Button("Export student", variant="primary", elem_id="export-model")

    @staticmethod
    def filled(names: list[str]) -> tuple[Any, ...]:
        """Choices, button and what to do when there is none."""
        value = names[0] if names else None
        hint = "" if names else note("No student is trained yet. Train one in Distill.")
        return gr.Dropdown(names, value=value), gr.Button(interactive=bool(names)), hint


def _fill(
    values: tuple[str, ...], facets: dict[str, list[str]]
) -> tuple[list[str], list[gr.Dropdown]]:
    """The facet filters' values (one that is gone becomes `all`) and the filters themselves."""
    kept = [v if v in facets[f] else "" for f, v in zip(_FACETS, values[:4], strict=True)]
    return kept, [
        gr.Dropdown([_ALL, *((v, v) for v in facets[f])], value=value)
        for f, value in zip(_FACETS, kept, strict=True)
    ]


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

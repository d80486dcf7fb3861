"""Upload, look, correct the columns, import: the upper half of the Seeds tab."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from distill_studio.seeds.columns import PARTS, ColumnMapping
from distill_studio.seeds.documents import TEXT_ENDINGS
from distill_studio.seeds.passages import MAX_WORDS
from distill_studio.services.importing import ImportPreview, ImportReport
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET
from distill_studio.ui.panels import import_html
from distill_studio.ui.panels.jobs import JobsPanel, build_jobs_panel

_LABELS = {
    "prompt": "Prompt",
    "input": "More of the prompt",
    "answer": "Answer",
    "messages": "Conversation",
    "instances": "List of input and output",
    "system": "System prompt",
    "history": "Earlier turns",
    "chosen": "Better answer",
    "rejected": "Worse answer",
    "verdict": "Which is better",
    "topic": "Topic",
    "teacher": "Who wrote the answer",
    "rejected_teacher": "Who wrote the worse one",
    "reference": "Right answer",
    "reasoning": "Reasoning",
}
_TYPES = [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".zip", *TEXT_ENDINGS]
_TOKENS = 2048  # Vicuna's length
_JOB_FROM_BYTES = 8 * 1024 * 1024
_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}


Refresh = Callable[..., tuple[Any, ...]]


@dataclass(frozen=True)
class SeedsImport:
    """The panel: its jobs, and `wire(refresh, outputs)` to say what an import changes."""

    jobs: JobsPanel
    wire: Callable[[Refresh, list[Any]], None]


def build_seeds_import(ui: Ui) -> SeedsImport:
    """Make it. After an import, `refresh(request, workspace)` fills the outputs wired to it."""
    upload_id = gr.State("")
    file = gr.File(
        label="Prompts (JSONL, JSON, CSV, Parquet), or documents (text, Markdown, a ZIP of them)",
        file_types=_TYPES,
        file_count="multiple",
        elem_id="seeds-upload",
        height=132,
    )
    result = gr.HTML(elem_id="seeds-result")
    with gr.Column(visible=False, elem_id="seeds-preview", elem_classes="ds-card") as panel:
        summary = gr.HTML(elem_id="seeds-summary")
        with gr.Column() as columns:
            gr.HTML('<h3 class="ds-h3">Which column is what</h3>')
            with gr.Row(elem_classes="ds-parts", elem_id="seeds-columns"):
                parts = [_part(name) for name in PARTS]
        with gr.Row(elem_classes="ds-fields"):
            topic = gr.Textbox(label="Topic, where the file names none", elem_id="seeds-topic")
            with gr.Column() as writer:
                teacher = gr.Textbox(
                    label="Who wrote the answers, where it does not say", elem_id="seeds-teacher"
                )
            with gr.Column(visible=False) as passages:
                words = gr.Number(
                    MAX_WORDS,
                    label="Words in a passage, about",
                    precision=0,
                    minimum=20,
                    elem_id="seeds-words",
                )
        with gr.Row(elem_classes="ds-fields") as answers:
            accepted = gr.Checkbox(
                label="Mark the answers as accepted",
                info="They need no review; of two compared answers, the better one.",
                elem_id="seeds-accepted",
            )
            thinking = gr.Checkbox(
                label="Take <think> blocks out of answers",
                info="They are kept as the answer's reasoning.",
                elem_id="seeds-thinking",
            )
        with gr.Row(elem_classes="ds-fields", visible=False) as splitting:
            is_split = gr.Checkbox(
                label="Split long conversations",
                info="Cut between an answer and the next request; each part is a row of its own.",
                elem_id="seeds-split",
            )
            tokens = gr.Number(
                _TOKENS,
                label="Tokens in a part, about",
                precision=0,
                minimum=64,
                elem_id="seeds-split-tokens",
            )
        with gr.Row():
            start = gr.Button("Import", variant="primary", elem_id="seeds-import")
            leave = gr.Button("Do not import", elem_id="seeds-leave")
        problems = gr.HTML(elem_id="seeds-problems", apply_default_css=False)
        examples = gr.HTML(elem_id="seeds-examples", apply_default_css=False)
    jobs = build_jobs_panel(ui, ["import"], "seeds-jobs", limit=1)

    settings: list[Any] = [*parts, topic, teacher, thinking, is_split, tokens, words]
    watched: list[Any] = [*parts, thinking, accepted, is_split]
    kinds = [columns, writer, answers, passages, splitting]
    shown = [panel, summary, examples, problems, start, *kinds, *parts]

    @guarded
    def on_upload(request: gr.Request, workspace: str, paths: list[str]) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        stored = ui.studio.uploads.add_files([Path(path) for path in paths])
        preview = opened.seeds.preview(actor, stored)
        shown = _shown(preview, accept=False)
        return (stored, "", "", "", False, False, False, _TOKENS, MAX_WORDS, *shown)

    @guarded
    def on_change(
        request: gr.Request,
        workspace: str,
        stored: str,
        accept: bool,
        *values: Any,  # noqa: ANN401  (values of the controls)
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        return _shown(opened.seeds.preview(actor, stored, _mapping(*values)), accept)

    @guarded
    def on_leave() -> tuple[Any, ...]:
        return None, gr.Column(visible=False)

    file.upload(
        on_upload,
        [ui.workspace, file],
        [upload_id, result, topic, teacher, accepted, thinking, is_split, tokens, words, *shown],
        **_SLOW,
    )
    file.clear(lambda: gr.Column(visible=False), None, panel, **QUIET)
    leave.click(on_leave, None, [file, panel], **QUIET)
    for control in watched:
        control.input(on_change, [ui.workspace, upload_id, accepted, *settings], shown, **_SLOW)
    for box in (topic, teacher, tokens, words):
        box.blur(on_change, [ui.workspace, upload_id, accepted, *settings], shown, **QUIET)

    def wire(refresh: Refresh, outputs: list[Any]) -> None:
        @guarded
        def on_import(
            request: gr.Request,
            workspace: str,
            stored: str,
            accept: bool,
            *values: Any,  # noqa: ANN401  (values of the controls)
        ) -> tuple[Any, ...]:
            opened, actor = ui.open(request, workspace)
            arguments = (actor, stored, _mapping(*values), accept)
            if ui.studio.uploads.path(stored).stat().st_size < _JOB_FROM_BYTES:
                said = _said(opened.seeds.import_file(*arguments))
            else:
                opened.seeds.import_start(*arguments)
                said = ""
            polled = jobs.poll(request, workspace)
            return (None, gr.Column(visible=False), said, *polled, *refresh(request, workspace))

        start.click(
            on_import,
            [ui.workspace, upload_id, accepted, *settings],
            [file, panel, result, *jobs.outputs, *outputs],
            **_SLOW,
        )
        jobs.view.change(guarded(refresh), ui.workspace, outputs, **QUIET)

    return SeedsImport(jobs, wire)


def _part(name: str) -> gr.Dropdown:
    return gr.Dropdown(
        [("none", "")], value="", label=_LABELS[name], elem_id=f"seeds-part-{name}", min_width=150
    )


def _mapping(*values: Any) -> ColumnMapping:  # noqa: ANN401  (values of the controls)
    *parts, topic, teacher, thinking, is_split, tokens, words = values
    chosen = {name: value or "" for name, value in zip(PARTS, parts, strict=True)}
    return ColumnMapping(
        **chosen,
        default_topic=(topic or "").strip(),
        default_teacher=(teacher or "").strip(),
        split_thinking=bool(thinking),
        split_tokens=int(tokens or _TOKENS) if is_split else 0,
        passage_words=int(words or 0),
    )


def _shown(preview: ImportPreview, accept: bool) -> tuple[Any, ...]:
    choices = [("none", ""), *((name, name) for name in preview.columns)]
    row_word, is_documents = import_html.row_word(preview), import_html.is_documents(preview)
    return (
        gr.Column(visible=True),
        import_html.summary_html(preview),
        import_html.examples_html(preview),
        import_html.problems_html(preview.counts, row_word),
        gr.Button(
            import_html.button_text(preview, accept),
            interactive=import_html.is_importable(preview, accept),
        ),
        *(gr.Column(visible=not is_documents) for _ in ("columns", "writer")),
        gr.Row(visible=not is_documents),
        gr.Column(visible=is_documents),
        gr.Row(visible=bool(preview.mapping.messages)),
        *(gr.Dropdown(choices, value=getattr(preview.mapping, name)) for name in PARTS),
    )


def _said(report: ImportReport) -> str:
    return import_html.result_html(report.file_name, report.counts)

"""Bring in, look, correct the columns, import: the upper half of the Seeds tab."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.core.records import JobState
from distill_studio.seeds.columns import PARTS, ColumnMapping
from distill_studio.seeds.documents import TEXT_ENDINGS
from distill_studio.seeds.passages import MAX_WORDS
from distill_studio.services.hub_data import HubPlace
from distill_studio.services.importing import ImportPreview, ImportReport
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.panels import import_html
from distill_studio.ui.panels.jobs import JobsPanel, build_jobs_panel
from distill_studio.ui.panels.seeds_hub import SeedsHub

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
    "judge": "Judge of the two",
    "reference": "Right answer",
    "reasoning": "Reasoning",
}
_TYPES = [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".zip", *TEXT_ENDINGS]
_TOKENS = 2048  # Vicuna's length
_JOB_KINDS = ["import", "import_hub"]
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
    given = gr.State({})  # {"upload_id": ...} of a file, or {"place": ...} on the Hub
    file = gr.File(
        label="Prompts (JSONL, JSON, CSV, Parquet), or documents (text, Markdown, a ZIP of them)",
        file_types=_TYPES,
        file_count="multiple",
        elem_id="seeds-upload",
        height=132,
    )
    hub = SeedsHub(ui)
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
            with gr.Column(visible=False) as judging:
                judge = gr.Textbox(
                    label="Which model judged them, where it does not say",
                    info="Its name keeps these votes apart from people's.",
                    elem_id="seeds-judge",
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
    jobs = build_jobs_panel(ui, _JOB_KINDS, "seeds-jobs", limit=1)

    settings: list[Any] = [*parts, topic, teacher, judge, thinking, is_split, tokens, words]
    watched: list[Any] = [*parts, thinking, accepted, is_split]
    kinds = [columns, writer, answers, passages, splitting, judging]
    shown = [panel, summary, examples, problems, start, *kinds, *parts]

    def fresh(what: dict[str, Any], preview: ImportPreview) -> tuple[Any, ...]:
        """Everything as for a file or dataset just brought in."""
        shown = _shown(preview, accept=False)
        return (what, "", "", "", "", False, False, False, _TOKENS, MAX_WORDS, *shown)

    @guarded
    def on_upload(request: gr.Request, workspace: str, paths: list[str]) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        stored = ui.keep(actor, paths)
        return fresh({"upload_id": stored}, opened.seeds.preview(actor, stored))

    @guarded
    def on_change(
        request: gr.Request,
        workspace: str,
        what: dict[str, Any],
        accept: bool,
        *values: Any,  # noqa: ANN401  (values of the controls)
    ) -> tuple[Any, ...]:
        return _shown(_preview(*ui.open(request, workspace), what, _mapping(*values)), accept)

    @guarded
    def on_leave() -> tuple[Any, ...]:
        return None, gr.Column(visible=False)

    all_of_it = [
        *(given, result, topic, teacher, judge),
        *(accepted, thinking, is_split, tokens, words),
        *shown,
    ]
    file.upload(on_upload, [ui.workspace, file], all_of_it, **_SLOW)
    hub.wire(lambda place, seen: (None, *fresh({"place": place}, seen)), [file, *all_of_it])
    file.clear(lambda: gr.Column(visible=False), None, panel, **QUIET)
    leave.click(on_leave, None, [file, panel], **QUIET)
    asked = [ui.workspace, given, accepted, *settings]
    for control in watched:
        control.input(on_change, asked, shown, **LATEST | SAYING)
    for box in (topic, teacher, judge, tokens, words):
        box.blur(on_change, asked, shown, **QUIET)

    def wire(refresh: Refresh, outputs: list[Any]) -> None:
        @guarded
        def on_import(
            request: gr.Request,
            workspace: str,
            what: dict[str, Any],
            accept: bool,
            *values: Any,  # noqa: ANN401  (values of the controls)
        ) -> tuple[Any, ...]:
            opened, actor = ui.open(request, workspace)
            said = _import(opened, actor, what, _mapping(*values), accept)
            polled = jobs.poll(request, workspace)
            return (None, gr.Column(visible=False), said, *polled, *refresh(request, workspace))

        start.click(
            on_import,
            [ui.workspace, given, accepted, *settings],
            [file, panel, result, *jobs.outputs, *outputs],
            **_SLOW,
        )

        @guarded
        def on_job(request: gr.Request, workspace: str) -> tuple[Any, ...]:
            said = _said_of_job(*ui.open(request, workspace))
            return (said, *refresh(request, workspace))

        jobs.state.change(on_job, ui.workspace, [result, *outputs], **QUIET)

    return SeedsImport(jobs, wire)


def _preview(
    opened: Workspace, actor: Actor, what: dict[str, Any], mapping: ColumnMapping
) -> ImportPreview:
    if "place" in what:
        return opened.seeds.hub_preview(actor, HubPlace(**what["place"]), mapping)
    return opened.seeds.preview(actor, what.get("upload_id", ""), mapping)


def _import(
    opened: Workspace, actor: Actor, what: dict[str, Any], mapping: ColumnMapping, accept: bool
) -> str:
    """Import a small file at once and say what came of it; begin a job for all else."""
    if "place" in what:
        opened.seeds.hub_import(actor, HubPlace(**what["place"]), mapping, accept)
        return ""
    upload_id = what.get("upload_id", "")
    if opened.studio.uploads.path(upload_id).stat().st_size < _JOB_FROM_BYTES:
        return _said(opened.seeds.import_file(actor, upload_id, mapping, accept))
    opened.seeds.import_start(actor, upload_id, mapping, accept)
    return ""


def _said_of_job(opened: Workspace, actor: Actor) -> Any:  # noqa: ANN401  (text, or a skip)
    """What the newest import did, once it is done."""
    for job in opened.jobs.page(actor, kinds=_JOB_KINDS, limit=1):
        if job.state is JobState.DONE:
            return _said(ImportReport(**job.result))
    return gr.skip()


def _part(name: str) -> gr.Dropdown:
    return gr.Dropdown(
        [("none", "")], value="", label=_LABELS[name], elem_id=f"seeds-part-{name}", min_width=150
    )


def _mapping(*values: Any) -> ColumnMapping:  # noqa: ANN401  (values of the controls)
    *parts, topic, teacher, judge, thinking, is_split, tokens, words = values
    chosen = {name: value or "" for name, value in zip(PARTS, parts, strict=True)}
    return ColumnMapping(
        **chosen,
        default_topic=(topic or "").strip(),
        default_teacher=(teacher or "").strip(),
        default_judge=(judge or "").strip()[:200],
        split_thinking=bool(thinking),
        split_tokens=int(tokens or _TOKENS) if is_split else 0,
        passage_words=int(words or 0),
    )


def _shown(preview: ImportPreview, accept: bool) -> tuple[Any, ...]:
    choices = [("none", ""), *((name, name) for name in preview.columns)]
    offered = offered_parts(preview)
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
        gr.Column(visible=bool(preview.mapping.chosen)),
        *(
            gr.Dropdown(choices, value=column, visible=name in offered)
            for name, column in _columns(preview.mapping).items()
        ),
    )


def _columns(mapping: ColumnMapping) -> dict[str, str]:
    """The column of each part; '' where it has none."""
    return {name: getattr(mapping, name) for name in PARTS}


def offered_parts(preview: ImportPreview) -> set[str]:
    """The parts that a column can be chosen for.

    All of them while a column has no part. Else those that have one, and the commonest: whoever
    takes the column away from a part has all to choose from.
    """
    used = {name for name, column in _columns(preview.mapping).items() if column}
    is_spare = set(preview.columns) - set(_columns(preview.mapping).values())
    return set(PARTS) if is_spare else {"prompt", "answer"} | used


def _said(report: ImportReport) -> str:
    return import_html.result_html(report.file_name, report.counts)

"""Benchmark leaks on the Curate tab: add a benchmark, check, look at the finds, judge the queue."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.services.leaks import JOB_KINDS
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET, SAYING
from distill_studio.ui.html import note
from distill_studio.ui.panels import leaks_html as draw
from distill_studio.ui.panels.jobs import build_jobs_panel

Verdict = Literal["leak", "not_leak", "clear"]
_TYPES = [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet"]
_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
_VERDICTS: tuple[tuple[Verdict, str], ...] = (
    ("leak", "It is a leak"),
    ("not_leak", "Not a leak"),
    ("clear", "Take it back"),
)


class LeaksPanel:
    """The accordion. `fill` gives the values of `outputs`; `wire` says what else a find changes."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        with gr.Accordion("Benchmark leaks", open=False, elem_id="curate-leaks-box"):
            gr.HTML(
                note(
                    "Rows that hold a test question make the test worthless. What is there word for"
                    " word goes with Remove below; what only resembles a question waits for you."
                )
            )
            self._build_add()
            self.packs = gr.HTML(elem_id="curate-leaks-packs")
            self.jobs = build_jobs_panel(ui, JOB_KINDS, "curate-leaks-jobs", limit=1)
            with gr.Column(visible=False) as self.body:
                self._build_body()
                self._build_queue()
        self._wire_add()

    @property
    def outputs(self) -> list[Any]:
        """What `fill` fills."""
        return [self.packs, self.body, self.pack, self.report, self.which, *self.queue_view]

    @property
    def queue_view(self) -> list[Any]:
        """What one candidate fills."""
        return [self.at, self.current, self.position, self.pair, *self.verdicts.values()]

    @property
    def choice(self) -> list[Any]:
        """What `fill` needs: the benchmark in view, the list, the place in it."""
        return [self.pack, self.which, self.at]

    def fill(
        self, opened: Workspace, actor: Actor, name: str | None, which: str, at: int
    ) -> tuple[Any, ...]:
        """Everything shown, for a benchmark (else the first one)."""
        names = [pack.name for pack in opened.leaks.packs(actor)]
        name = name if name in names else next(iter(names), "")
        reports = [opened.leaks.report(actor, one, limit=12 if one == name else 1) for one in names]
        shown = next((draw.report_html(one) for one in reports if one.pack.name == name), "")
        return (
            draw.packs_html(reports),
            gr.Column(visible=bool(names)),
            gr.Dropdown(names, value=name or None),
            shown,
            which,
            *self._queue(opened, actor, name, which, at),
        )

    @property
    def all_outputs(self) -> list[Any]:
        """What `show` fills."""
        return [*self.outputs, *self.jobs.outputs]

    def show(self, request: gr.Request, workspace: str) -> tuple[Any, ...]:
        """Everything, when the tab opens: the first benchmark, the queue from its beginning."""
        opened, actor = self._ui.open(request, workspace)
        view, timer = self.jobs.poll(request, workspace)
        # A timer that another event started is never stopped from here: it stops by itself.
        jobs = view, timer if timer.active else gr.skip()
        return (*self.fill(opened, actor, None, "open", 0), *jobs)

    def wire(self, refresh: Any, inputs: Sequence[Any], shown: Sequence[Any]) -> None:  # noqa: ANN401
        """After a check and a verdict, `refresh(request, *inputs)` fills `shown` as well."""
        ui, where = self._ui, [self._ui.workspace, *self.choice]

        @guarded
        def on_job(request: gr.Request, workspace: str, *choice: Any) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            if opened.jobs.page(actor, kinds=list(JOB_KINDS), active=True):
                return [gr.skip()] * len(self.outputs)
            return self.fill(opened, actor, *choice)

        changed = self.jobs.view.change(on_job, where, self.outputs, **QUIET)
        changed.then(refresh, list(inputs), list(shown), **QUIET)
        for verdict, button in self.verdicts.items():
            judged = button.click(
                _judging(self, verdict), [*where, self.current], self.outputs, **QUIET
            )
            judged.then(refresh, list(inputs), list(shown), **QUIET)
        deleted = self.delete.click(self._on_delete(), where, self.outputs, **SAYING)
        deleted.then(refresh, list(inputs), list(shown), **QUIET)

    # -- making ---------------------------------------------------------------------------

    def _build_add(self) -> None:
        with gr.Accordion("Add a benchmark", open=False, elem_id="curate-leaks-add-box"), gr.Row():
            with gr.Column(min_width=320):
                self.file = gr.File(
                    label="From a file (JSONL, JSON, CSV, Parquet)",
                    file_types=_TYPES,
                    elem_id="curate-leaks-upload",
                    height=110,
                )
                self.name = gr.Textbox(label="Name", elem_id="curate-leaks-name")
                with gr.Row():
                    self.question = gr.Dropdown(
                        [], label="Column of questions", elem_id="curate-leaks-question"
                    )
                    self.answer = gr.Dropdown(
                        [], label="Column of known answers", elem_id="curate-leaks-answer"
                    )
                self.add = gr.Button(
                    "Add this file",
                    variant="primary",
                    interactive=False,
                    elem_id="curate-leaks-add",
                )
            with gr.Column(min_width=320):
                self.dataset = gr.Textbox(
                    label="From the Hugging Face Hub",
                    placeholder="openai/gsm8k",
                    info="Needs a network. No code of the dataset is run.",
                    elem_id="curate-leaks-dataset",
                )
                with gr.Row():
                    self.config = gr.Textbox(
                        label="Configuration", placeholder="main", elem_id="curate-leaks-config"
                    )
                    self.split = gr.Textbox("test", label="Split", elem_id="curate-leaks-split")
                self.get = gr.Button("Get it", elem_id="curate-leaks-get")
        self.said = gr.HTML(elem_id="curate-leaks-said")
        self.upload_id = gr.State("")
        self.mapping = gr.State(None)

    def _build_body(self) -> None:
        with gr.Row(elem_id="curate-leaks-actions"):
            self.check = gr.Button(
                "Check rows", variant="primary", size="md", elem_id="curate-leaks-check"
            )
            self.find = gr.Button("Find reworded questions", size="md", elem_id="curate-leaks-find")
        with gr.Row(elem_id="curate-leaks-pack-row"):
            self.pack = gr.Dropdown([], label="Report on", elem_id="curate-leaks-pack", scale=3)
            self.delete = _small_button("Forget this benchmark", "curate-leaks-delete", 190)
        self.report = gr.HTML(elem_id="curate-leaks-report")

    def _build_queue(self) -> None:
        gr.HTML('<h3 class="ds-h3">The same in other words?</h3>')
        with gr.Row(elem_id="curate-leaks-nav"):
            self.which = gr.Radio(
                [("To judge", "open"), ("Judged", "judged")],
                value="open",
                show_label=False,
                elem_id="curate-leaks-which",
                min_width=260,
            )
            self.position = gr.HTML(elem_id="curate-leaks-position", min_width=90)
            self.back = _small_button("Previous", "curate-leaks-previous", 110)
            self.forth = _small_button("Next", "curate-leaks-next", 110)
        self.pair = gr.HTML(elem_id="curate-leaks-pair")
        with gr.Row(elem_id="curate-leaks-verdicts"):
            self.verdicts = {
                verdict: gr.Button(label, size="sm", elem_id=f"curate-leaks-{verdict}")
                for verdict, label in _VERDICTS
            }
        self.at = gr.State(0)
        self.current = gr.State(None)

    # -- events ---------------------------------------------------------------------------

    def _wire_add(self) -> None:
        ui, where = self._ui, [self._ui.workspace, *self.choice]
        form = [self.upload_id, self.mapping, self.name, self.question, self.answer]

        @guarded
        def on_upload(request: gr.Request, workspace: str, path: str) -> tuple[Any, ...]:
            opened, actor = ui.open(request, workspace)
            stored = ui.studio.uploads.add(Path(path))
            found = opened.seeds.preview(actor, stored)
            columns, guess = [("none", ""), *((c, c) for c in found.columns)], found.mapping
            question = guess.prompt or guess.messages or guess.chosen
            return (
                stored,
                guess.model_dump(),
                Path(found.file_name).stem,
                gr.Dropdown(columns, value=question),
                gr.Dropdown(columns, value=guess.answer or guess.reference),
                gr.Button(interactive=True),
            )

        @guarded
        def on_add(request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
            *choice, stored, guess, name, question, answer = values
            opened, actor = ui.open(request, workspace)
            mapping = _mapping(guess, question or "", answer or "")
            added = opened.leaks.add(actor, stored, name or "", mapping)
            filled = self.fill(opened, actor, added.pack.name, *choice[1:])
            return (draw.added_html(added), None, gr.Button(interactive=False), *filled)

        @guarded
        def on_get(
            request: gr.Request, workspace: str, dataset: str, config: str, split: str
        ) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            opened.leaks.add_hub(actor, dataset, config=config, split=split)
            return self.jobs.poll(request, workspace)

        @guarded
        def on_show(request: gr.Request, workspace: str, *choice: Any) -> tuple[Any, ...]:  # noqa: ANN401
            return self.fill(*ui.open(request, workspace), *choice)

        self.file.upload(on_upload, [ui.workspace, self.file], [*form, self.add], **_SLOW)
        added = [self.said, self.file, self.add, *self.outputs]
        self.add.click(on_add, [*where, *form], added, **_SLOW)
        hub = [ui.workspace, self.dataset, self.config, self.split]
        self.get.click(on_get, hub, self.jobs.outputs, **SAYING)
        self.check.click(self._on_start("check"), ui.workspace, self.jobs.outputs, **SAYING)
        self.find.click(self._on_start("find"), ui.workspace, self.jobs.outputs, **SAYING)
        gr.on([self.pack.input, self.which.input], on_show, where, self.outputs, **QUIET)
        for button, by in ((self.back, -1), (self.forth, 1)):
            button.click(self._stepping(by), where, self.queue_view, **QUIET)

    def _on_start(self, what: str) -> Any:  # noqa: ANN401
        @guarded
        def on_start(request: gr.Request, workspace: str) -> Any:  # noqa: ANN401
            opened, actor = self._ui.open(request, workspace)
            start = opened.leaks.check if what == "check" else opened.leaks.find_candidates
            start(actor)
            return self.jobs.poll(request, workspace)

        return on_start

    def _on_delete(self) -> Any:  # noqa: ANN401
        @guarded
        def on_delete(
            request: gr.Request, workspace: str, name: str, which: str, at: int
        ) -> tuple[Any, ...]:
            opened, actor = self._ui.open(request, workspace)
            opened.leaks.delete(actor, name)
            gr.Info("Forgot the benchmark. Verdicts stay, for when it comes again.")
            return self.fill(opened, actor, None, which, at)

        return on_delete

    def _stepping(self, by: int) -> Any:  # noqa: ANN401
        @guarded
        def step(
            request: gr.Request, workspace: str, name: str, which: str, at: int
        ) -> tuple[Any, ...]:
            return self._queue(*self._ui.open(request, workspace), name, which, at + by)

        return step

    def _queue(
        self, opened: Workspace, actor: Actor, name: str, which: str, at: int
    ) -> tuple[Any, ...]:
        """Place, candidate, heading, HTML and the buttons."""
        is_judged = which == "judged"
        found = opened.leaks.queue(actor, name, is_judged, limit=1, offset=0)
        total = found.judged if is_judged else found.open
        at = at % total if total else 0
        if total and at:
            found = opened.leaks.queue(actor, name, is_judged, limit=1, offset=at)
        if not found.candidates:
            text = "No verdicts yet." if is_judged else "Nothing to judge."
            return 0, None, "", note(text), *[gr.Button(interactive=False)] * 3
        one = found.candidates[0]
        current = {"name": one.pack, "item": one.item, "text_hash": one.text_hash}
        position = f"<span class='ds-note'>{at + 1} of {total}</span>"
        buttons = [gr.Button(interactive=v != "clear" or is_judged) for v, _ in _VERDICTS]
        return at, current, position, draw.candidate_html(one), *buttons


def _small_button(label: str, elem_id: str, min_width: int) -> gr.Button:
    return gr.Button(label, size="sm", elem_id=elem_id, scale=0, min_width=min_width)


def _judging(panel: LeaksPanel, verdict: Verdict) -> Any:  # noqa: ANN401
    @guarded
    def judge(
        request: gr.Request,
        workspace: str,
        name: str,
        which: str,
        at: int,
        current: dict[str, Any],
    ) -> tuple[Any, ...]:
        opened, actor = panel._ui.open(request, workspace)
        opened.leaks.judge(actor, current["name"], current["item"], current["text_hash"], verdict)
        return panel.fill(opened, actor, name, which, at)

    return judge


def _mapping(guess: dict[str, Any] | None, question: str, answer: str) -> ColumnMapping:
    """The guess where its columns were left as they were, else what was chosen."""
    guessed = ColumnMapping(**(guess or {}))
    was = guessed.prompt or guessed.messages or guessed.chosen
    if question == was and answer == (guessed.answer or guessed.reference):
        return guessed
    return ColumnMapping(prompt=question, answer=answer)

"""Public benchmarks, on the Evaluate tab: choose models and tasks, watch, see them side by side."""

from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.core.records.benchmark import BenchmarkSettings, ServerApi
from distill_studio.services.benchmarks import KINDS, MOST_MODELS, MOST_TASKS
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import esc, note
from distill_studio.ui.panels import benchmarks_html as draw
from distill_studio.ui.panels.jobs import build_jobs_panel

_ID = "evaluate-bench"
_TYPES = [".yaml", ".yml", ".jsonl", ".json", ".csv", ".parquet"]
_APIS = [
    ("As a chat: tasks answered in text", ServerApi.CHAT),
    ("By completions: weighs given answers, too", ServerApi.COMPLETIONS),
]
_HUB = (
    "Tasks with a data set on the Hub download it at their first run. Tasks that run code a model"
    " wrote (HumanEval, MBPP) are not here: make them a suite scored by unit tests, in the sandbox."
)
_MOST_DETAILS, _LOG_LINES = 12, 40
_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}


class BenchmarksPanel:
    """The accordion; `show` gives the values of `outputs`."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        with gr.Accordion(
            "Public benchmarks: GSM8K, ARC, MMLU and others",
            open=False,
            elem_id=f"{_ID}-box",
        ):
            self.missing = gr.HTML(elem_id=f"{_ID}-missing", apply_default_css=False)
            self._build_form()
            with gr.Accordion("Add tasks of your own", open=False, elem_id=f"{_ID}-own"):
                self._build_own()
            self.run = gr.Button(
                "Start", variant="primary", elem_id=f"{_ID}-run", min_width=140, scale=0
            )
            self.jobs = build_jobs_panel(ui, KINDS, f"{_ID}-jobs", limit=MOST_MODELS)
            self.way = gr.Dropdown(
                [], label="Asked in the same way", elem_id=f"{_ID}-way", visible=False
            )
            self.board = gr.HTML(elem_id=f"{_ID}-board", apply_default_css=False)
            self.details = gr.HTML(elem_id=f"{_ID}-details", apply_default_css=False)
            with gr.Accordion("What the harness printed last", open=False, elem_id=f"{_ID}-said"):
                self.log = gr.HTML(elem_id=f"{_ID}-log", apply_default_css=False)
                self.look = gr.Button(
                    "Look again", size="sm", elem_id=f"{_ID}-look", scale=0, min_width=140
                )
        self._wire()

    @property
    def view(self) -> list[Any]:
        """What a choice of way, or the end of a job, fills."""
        return [self.way, self.board, self.details, self.log]

    @property
    def outputs(self) -> list[Any]:
        """What `show` fills."""
        return [self.missing, self.tasks, self.models, *self.view, *self.jobs.shown]

    @property
    def inputs(self) -> list[Any]:
        """What stands in the panel and stays."""
        return [self.tasks, self.models, self.way]

    def show(
        self,
        request: gr.Request,
        workspace: str,
        tasks: list[str] | None,
        models: list[str] | None,
        way: str | None,
    ) -> tuple[Any, ...]:
        """The whole panel; what was chosen stays."""
        opened, actor = self._ui.open(request, workspace)
        cards = opened.evaluate.models(actor)
        known = {card.id for card in cards}
        chosen = [name for name in models or [] if name in known]
        missing = opened.benchmarks.missing(actor)
        return (
            note(missing, "warn") if missing else "",
            self._tasks(opened, actor, tasks or []),
            gr.Dropdown(
                [(card.label, card.id) for card in cards],
                value=chosen or opened.evaluate.defaults(actor),
            ),
            *self._view(opened, actor, way),
            *self.jobs.show(request, workspace),
        )

    # -- layout ---------------------------------------------------------------------------

    def _build_form(self) -> None:
        self.tasks = gr.Dropdown(
            [],
            label=f"Tasks (1 to {MOST_TASKS}); any name of lm-evaluation-harness may be typed",
            multiselect=True,
            max_choices=MOST_TASKS,
            allow_custom_value=True,
            elem_id=f"{_ID}-tasks",
        )
        gr.HTML(note(_HUB), apply_default_css=False)
        self.models = gr.Dropdown(
            [],
            label=f"Models (1 to {MOST_MODELS})",
            multiselect=True,
            max_choices=MOST_MODELS,
            elem_id=f"{_ID}-models",
        )
        with gr.Row(equal_height=True):
            self.limit = gr.Number(
                0,
                label="First questions (0: all)",
                precision=0,
                minimum=0,
                elem_id=f"{_ID}-limit",
            )
            self.shots = gr.Number(
                -1,
                label="Examples (-1: the task's own)",
                precision=0,
                minimum=-1,
                maximum=64,
                elem_id=f"{_ID}-shots",
            )
            self.seed = gr.Number(
                1234, label="Seed", precision=0, minimum=0, elem_id=f"{_ID}-seed", min_width=100
            )
            self.batch = gr.Number(
                8, label="Rows at once", precision=0, minimum=1, elem_id=f"{_ID}-batch",
                min_width=100,
            )  # fmt: skip
        with gr.Row(equal_height=True):
            self.chat = gr.Checkbox(
                True,
                label="Chat template",
                info="Off for models that were never taught to chat.",
                elem_id=f"{_ID}-chat",
            )
            self.api = gr.Dropdown(
                _APIS, value=ServerApi.CHAT, label="Teachers behind a URL", elem_id=f"{_ID}-api"
            )

    def _build_own(self) -> None:
        self.files = gr.File(
            label="Task files of the harness (YAML) with their rows (JSONL, JSON, CSV, Parquet)",
            file_count="multiple",
            file_types=_TYPES,
            elem_id=f"{_ID}-files",
            height=150,
        )
        self.add = gr.Button("Add these tasks", elem_id=f"{_ID}-add", scale=0, min_width=180)
        self.added = gr.HTML(elem_id=f"{_ID}-added", apply_default_css=False)

    # -- events ---------------------------------------------------------------------------

    def _wire(self) -> None:
        workspace = self._ui.workspace
        look = guarded(self._on_look), [workspace, self.way], self.view
        settings = [self.limit, self.shots, self.seed, self.batch, self.chat, self.api]
        asked = [workspace, self.tasks, self.models, *settings]
        self.run.click(guarded(self._on_run), asked, self.jobs.outputs, **SAYING)
        self.jobs.state.change(guarded(self._on_ended), workspace, self.view, **QUIET)
        self.way.input(*look, **LATEST)
        self.look.click(*look, **QUIET)
        self.add.click(
            guarded(self._on_add),
            [workspace, self.files, self.tasks],
            [self.added, self.files, self.tasks],
            **_SLOW,
        )

    def _on_run(
        self,
        request: gr.Request,
        workspace: str,
        tasks: list[str] | None,
        models: list[str] | None,
        *settings: Any,  # noqa: ANN401  (see `_settings`)
    ) -> tuple[Any, ...]:
        opened, actor = self._ui.open(request, workspace)
        opened.benchmarks.run(actor, models or [], tasks or [], _settings(*settings))
        return self.jobs.poll(request, workspace)

    def _on_look(self, request: gr.Request, workspace: str, way: str | None) -> tuple[Any, ...]:
        return self._view(*self._ui.open(request, workspace), way)

    def _on_ended(self, request: gr.Request, workspace: str) -> tuple[Any, ...]:
        return self._view(*self._ui.open(request, workspace), None)

    def _on_add(
        self,
        request: gr.Request,
        workspace: str,
        files: list[str] | None,
        chosen: list[str] | None,
    ) -> tuple[Any, ...]:
        opened, actor = self._ui.open(request, workspace)
        if not files:
            gr.Info("Choose files first.")
            return (gr.skip(),) * 3
        sent = [self._ui.keep(actor, [file]) for file in files]
        made = opened.benchmarks.add_tasks(actor, sent)
        names = [task.name for task in made]
        said = note(f"Added: {', '.join(names) or 'rows without a task'}.", "good")
        wanted = list(dict.fromkeys([*(chosen or []), *names]))
        return said, None, self._tasks(opened, actor, wanted)

    # -- values ---------------------------------------------------------------------------

    @staticmethod
    def _tasks(opened: Workspace, actor: Actor, chosen: list[str]) -> gr.Dropdown:
        choices = []
        for task in opened.benchmarks.tasks(actor):
            where = f"{task.questions:,} questions, {task.data} on the Hub" if task.data else ""
            said = ", ".join(part for part in (task.about, where) if part)
            choices.append((f"{task.name}: {said}", task.name))
        return gr.Dropdown(choices, value=chosen)

    @staticmethod
    def _view(opened: Workspace, actor: Actor, way: str | None) -> tuple[Any, ...]:
        """The menu of ways, the table of the one in view (else the newest), runs, the log."""
        ways = opened.benchmarks.ways(actor)
        keys = [one.key for one in ways]
        key = way if way in keys else next(iter(keys), None)
        choices = [(draw.settings_text(one.settings), one.key) for one in ways]
        board = opened.benchmarks.table(actor, key or "")
        used = {cell.run_id for row in board.rows for cell in row.cells.values()}
        runs = [opened.benchmarks.get(actor, one) for one in sorted(used)[-_MOST_DETAILS:]]
        newest = next(iter(opened.benchmarks.page(actor, limit=1)), None)
        log = opened.benchmarks.log(actor, newest.id, _LOG_LINES) if newest else ""
        return (
            gr.Dropdown(choices, value=key, visible=len(keys) > 1),
            draw.board_html(board),
            draw.runs_html([(run, opened.benchmarks.scores(actor, run.id)) for run in runs]),
            f"<pre class='ds-txt'>{esc(log)}</pre>" if log else note("Nothing yet."),
        )


def _settings(
    limit: float | None,
    shots: float | None,
    seed: float | None,
    batch: float | None,
    chat: bool,
    api: str,
) -> BenchmarkSettings:
    return BenchmarkSettings(
        limit=int(limit or 0),
        shots=None if shots is None or shots < 0 else int(shots),
        seed=int(seed or 0),
        batch=int(batch or 1),
        chat_template=chat,
        api=ServerApi(api),
    )

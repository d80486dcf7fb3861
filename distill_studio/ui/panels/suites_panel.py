"""Suites, on the Evaluate tab: add one, ask models, see how they did and what they wrote."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.core.records.suite import SuiteScorer
from distill_studio.services.suites import JOB_KIND, MOST_MODELS
from distill_studio.services.teacher_costs import Estimate
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import note
from distill_studio.ui.panels import suites_html as draw
from distill_studio.ui.panels.costs import show_cost
from distill_studio.ui.panels.export_html import file_link
from distill_studio.ui.panels.import_html import left_out_html
from distill_studio.ui.panels.jobs import build_jobs_panel

_ID = "evaluate-suite"
_TYPES = [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet"]
_SCORERS = [
    ("Mathematics: the final answer equals the reference", SuiteScorer.MATH),
    ("Number: the last number equals the reference", SuiteScorer.NUMERIC),
    ("Exact: the answer is the reference", SuiteScorer.EXACT),
    ("Code: the tests of each row pass, in the sandbox", SuiteScorer.UNIT_TESTS),
    ("Multiple choice: by likelihood, local models", SuiteScorer.CHOICE),
    (
        "Likelihood: how probable the reference is (held-out loss), local models",
        SuiteScorer.LIKELIHOOD,
    ),
    (
        "Agreement: how nearly a model says what the teacher says (KL), local models",
        SuiteScorer.AGREEMENT,
    ),
    ("Judge: a teacher scores each answer by a rubric", SuiteScorer.JUDGE),
    ("ROUGE-L: words in common with the reference (a diagnostic)", SuiteScorer.ROUGE_L),
]
_JUDGE = SuiteScorer.JUDGE
_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
_CONFIRM = """(...args) => { if (!confirm('Forget this suite and all its results?'))
throw new Error('kept'); return args; }"""
_EMPTY = "No suite yet. Add a file with prompts and references, such as a benchmark's test split."


class SuitesPanel:
    """The accordion; `show` gives the values of `outputs`."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        with gr.Accordion(
            "Suites: scores on prompts with known answers", open=False, elem_id=f"{_ID}-box"
        ):
            self.empty = gr.HTML(elem_id=f"{_ID}-empty", apply_default_css=False)
            with gr.Accordion("Add a suite", open=False, elem_id=f"{_ID}-new"):
                self._build_add()
            with gr.Column(visible=False) as self.body:
                self._build_run()
                self.jobs = build_jobs_panel(ui, [JOB_KIND], f"{_ID}-jobs", limit=1)
                self._build_result()
        self._wire()

    @property
    def view(self) -> list[Any]:
        """What a choice of suite or trial fills."""
        return [
            *(self.judge, self.warning, self.trial, self.result, self.price),
            *(self.again, self.report, self.sent, *self.one),
        ]

    @property
    def one(self) -> list[Any]:
        """What one prompt fills."""
        return [self.at, self.prompt, self.back, self.forth]

    @property
    def outputs(self) -> list[Any]:
        """What `show` fills."""
        return [self.empty, self.body, self.suite, self.models, *self.view, *self.jobs.shown]

    @property
    def inputs(self) -> list[Any]:
        """What stands in the panel and stays."""
        return [self.suite, self.models, self.trial]

    def show(
        self,
        request: gr.Request,
        workspace: str,
        suite: str | None,
        models: list[str] | None,
        trial: str | None,
    ) -> tuple[Any, ...]:
        """The whole panel; what was chosen stays."""
        opened, actor = self._ui.open(request, workspace)
        cards = opened.evaluate.models(actor)
        known = {card.id for card in cards}
        chosen = [name for name in models or [] if name in known]
        return (
            *self._suites(opened, actor, suite),
            gr.Dropdown(
                [(card.label, card.id) for card in cards],
                value=chosen or opened.suites.defaults(actor),
            ),
            *self._view(opened, actor, self._name(opened, actor, suite), trial),
            *self.jobs.show(request, workspace),
        )

    # -- layout ---------------------------------------------------------------------------

    def _build_add(self) -> None:
        with gr.Row(equal_height=False):
            self.file = gr.File(
                label="Prompts with references (JSONL, JSON, CSV, Parquet)",
                file_types=_TYPES,
                elem_id=f"{_ID}-file",
                height=170,
            )
            with gr.Column():
                self.scorer = gr.Dropdown(
                    _SCORERS, value=SuiteScorer.MATH, label="Scored by", elem_id=f"{_ID}-scorer"
                )
                self.name = gr.Textbox(
                    label="Name", placeholder="as the file", elem_id=f"{_ID}-name", max_lines=1
                )
                self.add = gr.Button("Add this suite", elem_id=f"{_ID}-add")
        self.said = gr.HTML(elem_id=f"{_ID}-said", apply_default_css=False)

    def _build_run(self) -> None:
        with gr.Row(equal_height=True):
            self.suite = gr.Dropdown([], label="Suite", elem_id=f"{_ID}-which", scale=2)
            self.models = gr.Dropdown(
                [],
                label=f"Models (1 to {MOST_MODELS}); the first teacher is the measure",
                multiselect=True,
                max_choices=MOST_MODELS,
                elem_id=f"{_ID}-models",
                scale=4,
            )
        self.judge = gr.Dropdown(
            [], label="Judge: the teacher that scores", visible=False, elem_id=f"{_ID}-judge"
        )
        self.warning = gr.HTML(elem_id=f"{_ID}-warning", apply_default_css=False)
        self.beside = _small("Add what is missing beside the student", "beside", visible=False)
        with gr.Row(equal_height=True):
            self.most = gr.Number(
                0, label="First prompts (0: all)", precision=0, minimum=0, elem_id=f"{_ID}-most"
            )
            self.samples = gr.Number(
                1, label="Samples", precision=0, minimum=1, maximum=64, elem_id=f"{_ID}-samples"
            )
            self.temperature = gr.Slider(
                0, 2, 0, step=0.05, label="Temperature (0 is greedy)", elem_id=f"{_ID}-temp"
            )
            self.longest = gr.Slider(
                8, 4096, 512, step=8, label="Longest answer, in tokens", elem_id=f"{_ID}-tokens"
            )
        self.cost = gr.HTML(elem_id=f"{_ID}-cost", apply_default_css=False)
        self.run = gr.Button(
            "Score", variant="primary", elem_id=f"{_ID}-run", min_width=140, scale=0
        )

    def _build_result(self) -> None:
        with gr.Row():
            self.trial = gr.Dropdown([], label="Result", elem_id=f"{_ID}-trial", scale=4)
            self.again = _small("Ask again what failed", "again", visible=False)
            self.report = _small("As a file to send", "report", visible=False)
            self.delete = _small("Forget this suite", "delete")
        self.sent = gr.HTML(elem_id=f"{_ID}-report-file", apply_default_css=False)
        self.result = gr.HTML(elem_id=f"{_ID}-result", apply_default_css=False)
        self.price = gr.Number(
            None,
            label="This machine costs, in USD an hour",
            info="For the cost of local models' answers. Empty: no price known. Enter sets it.",
            minimum=0,
            visible=False,
            elem_id=f"{_ID}-price",
        )
        self.at = gr.State(-1)
        with gr.Row():
            self.back = _small("Previous prompt", "previous", visible=False)
            self.forth = _small("Next prompt", "next", visible=False)
        self.prompt = gr.HTML(elem_id=f"{_ID}-prompt", apply_default_css=False)

    # -- events ---------------------------------------------------------------------------

    def _wire(self) -> None:
        workspace = self._ui.workspace
        where = [workspace, self.suite, self.trial]
        suites = [self.empty, self.body, self.suite]
        self.add.click(
            guarded(self._on_add),
            [workspace, self.file, self.scorer, self.name],
            [self.said, self.file, self.name, *suites, *self.view],
            **_SLOW,
        )
        settings = [self.most, self.samples, self.temperature, self.longest]
        asked = [workspace, self.suite, self.models, self.judge, *settings]
        self.run.click(guarded(self._on_run), asked, self.jobs.outputs, **SAYING)
        priced = [self.suite, self.models, self.judge, self.most, self.samples, self.longest]
        show_cost(self._ui, priced, self._cost, self.cost)
        newest = guarded(self._on_newest), [workspace, self.suite], self.view
        self.suite.input(*newest, **LATEST)
        self.jobs.state.change(*newest, **QUIET)
        self.trial.input(guarded(self._on_look), where, self.view, **LATEST)
        named = [workspace, self.suite, self.models, self.judge]
        for menu in (self.judge, self.models):
            menu.input(guarded(self._on_models), named, [self.warning, self.beside], **LATEST)
        self.beside.click(
            guarded(self._on_beside), named, [self.models, self.warning, self.beside], **SAYING
        )
        self.price.submit(guarded(self._on_price), [*where, self.price], self.view, **SAYING)
        self.again.click(
            guarded(self._on_again), [workspace, self.trial], self.jobs.outputs, **SAYING
        )
        self.delete.click(
            guarded(self._on_delete),
            [workspace, self.suite],
            [*suites, *self.view],
            js=_CONFIRM,
            **SAYING,
        )
        self.report.click(guarded(self._on_report), [workspace, self.trial], self.sent, **SAYING)
        for button, by in ((self.back, -1), (self.forth, 1)):
            button.click(guarded(self._stepping(by)), [*where, self.at], self.one, **QUIET)

    def _on_add(
        self, request: gr.Request, workspace: str, path: str | None, scorer: str, name: str
    ) -> tuple[Any, ...]:
        opened, actor = self._ui.open(request, workspace)
        if not path:
            gr.Info("Choose a file first.")
            return (gr.skip(),) * (6 + len(self.view))
        stored = self._ui.keep(actor, [path])
        made = opened.suites.add(actor, stored, SuiteScorer(scorer), name or "")
        said = note(f"{made.name}: {made.item_count:,} prompts.", "good")
        row_word = "Row" if made.source.endswith(".parquet") else "Line"
        said += left_out_html(made.problems, made.left_out, row_word)
        suites = self._suites(opened, actor, made.name)
        return (said, None, "", *suites, *self._view(opened, actor, made.name, None))

    def _on_run(
        self,
        request: gr.Request,
        workspace: str,
        suite: str | None,
        models: list[str] | None,
        judge: str | None,
        most: float | None,
        samples: float | None,
        temperature: float,
        longest: float,
    ) -> tuple[Any, ...]:
        opened, actor = self._ui.open(request, workspace)
        found = opened.suites.get(actor, suite or "")
        opened.suites.run(
            actor,
            found.id,
            models or [],
            judge=(judge or "") if found.scorer is SuiteScorer.JUDGE else "",
            samples=int(samples or 1),
            most_items=int(most or 0),
            temperature=temperature,
            max_tokens=int(longest),
        )
        return self.jobs.poll(request, workspace)

    def _on_models(
        self,
        request: gr.Request,
        workspace: str,
        suite: str | None,
        models: list[str] | None,
        judge: str | None,
    ) -> tuple[Any, ...]:
        """What to bear in mind of these models and this judge; whether some could be added."""
        opened, actor = self._ui.open(request, workspace)
        missing = opened.suites.beside(actor, models or [])
        said = "".join(note(one.said) for one in missing)
        if judge and suite and opened.suites.get(actor, suite).scorer is _JUDGE:
            kin = opened.suites.judge_warning(actor, judge, models or [])
            said += note(kin, "warn") if kin else ""
        return said, gr.Button(visible=any(one.model for one in missing))

    def _on_beside(
        self,
        request: gr.Request,
        workspace: str,
        suite: str | None,
        models: list[str] | None,
        judge: str | None,
    ) -> tuple[Any, ...]:
        opened, actor = self._ui.open(request, workspace)
        more = [one.model for one in opened.suites.beside(actor, models or []) if one.model]
        chosen = list(dict.fromkeys([*(models or []), *more]))[:MOST_MODELS]
        return chosen, *self._on_models(request, workspace, suite, chosen, judge)

    def _on_price(
        self,
        request: gr.Request,
        workspace: str,
        suite: str | None,
        trial: str | None,
        usd: float | None,
    ) -> tuple[Any, ...]:
        opened, actor = self._ui.open(request, workspace)
        opened.suites.price(actor, trial or "", usd)
        return self._view(opened, actor, suite, trial)

    @staticmethod
    def _cost(
        opened: Workspace,
        actor: Actor,
        suite: str | None,
        models: list[str] | None,
        judge: str | None,
        most: float | None,
        samples: float | None,
        longest: float,
    ) -> list[Estimate]:
        return opened.suites.estimate(
            actor,
            suite or "",
            models or [],
            samples=int(samples or 1),
            most_items=int(most or 0),
            max_tokens=int(longest),
            judge=judge or "",
        )

    def _on_look(
        self, request: gr.Request, workspace: str, suite: str | None, trial: str | None
    ) -> tuple[Any, ...]:
        return self._view(*self._ui.open(request, workspace), suite, trial)

    def _on_newest(self, request: gr.Request, workspace: str, suite: str | None) -> tuple[Any, ...]:
        return self._view(*self._ui.open(request, workspace), suite, None)

    def _on_again(self, request: gr.Request, workspace: str, trial: str | None) -> tuple[Any, ...]:
        opened, actor = self._ui.open(request, workspace)
        opened.suites.again(actor, trial or "")
        return self.jobs.poll(request, workspace)

    def _on_report(self, request: gr.Request, workspace: str, trial: str | None) -> str:
        opened, actor = self._ui.open(request, workspace)
        return file_link(workspace, opened.suites.report(actor, trial or ""))

    def _on_delete(self, request: gr.Request, workspace: str, suite: str | None) -> tuple[Any, ...]:
        opened, actor = self._ui.open(request, workspace)
        gone = opened.suites.delete(actor, suite or "")
        gr.Info(f"Forgot {gone.name} with its results.")
        name = self._name(opened, actor, None)
        return (*self._suites(opened, actor, None), *self._view(opened, actor, name, None))

    def _stepping(self, by: int) -> Callable[..., tuple[Any, ...]]:
        def step(
            request: gr.Request, workspace: str, suite: str | None, trial: str | None, at: int
        ) -> tuple[Any, ...]:
            return self._one(*self._ui.open(request, workspace), suite, trial, at + by)

        return step

    # -- values ---------------------------------------------------------------------------

    @staticmethod
    def _name(opened: Workspace, actor: Actor, suite: str | None) -> str | None:
        names = [one.name for one in opened.suites.page(actor)]
        return suite if suite in names else next(iter(names), None)

    def _suites(self, opened: Workspace, actor: Actor, suite: str | None) -> tuple[Any, ...]:
        """The hint for none, the body, the menu."""
        found = opened.suites.page(actor)
        choices = [(f"{one.name} ({one.item_count:,})", one.name) for one in found]
        return (
            "" if found else note(_EMPTY),
            gr.Column(visible=bool(found)),
            gr.Dropdown(choices, value=self._name(opened, actor, suite)),
        )

    def _view(
        self, opened: Workspace, actor: Actor, suite: str | None, trial: str | None
    ) -> tuple[Any, ...]:
        """The results of a suite: the menu, the one in view (else the newest), its first prompt."""
        trials = opened.suites.trials(actor, suite) if suite else []
        shown = next((one for one in trials if one.id == trial), next(iter(trials), None))
        choices = [
            (f"{one.created_at:%d %b %H:%M}: {', '.join(c.label for c in one.models)}", one.id)
            for one in trials
        ]
        menu = gr.Dropdown(choices, value=shown.id if shown else None, visible=bool(trials))
        judge = self._judge(opened, actor, suite)
        if shown is None:
            hint = note("Choose models and score them: the results stay here.") if suite else ""
            hidden = gr.Button(visible=False)
            price = gr.Number(visible=False)
            return *judge, menu, hint, price, hidden, hidden, "", *self._nothing()
        found = opened.suites.standings(actor, shown.id)
        return (
            *judge,
            menu,
            draw.judge_html(shown) + draw.standings_html(found),
            gr.Number(shown.usd_per_hour, visible=any(r.tokens_per_s for r in found.rows)),
            gr.Button(visible=found.can_be_completed),
            gr.Button(visible=True),
            "",
            *self._one(opened, actor, suite, shown.id, 0),
        )

    @staticmethod
    def _judge(opened: Workspace, actor: Actor, suite: str | None) -> tuple[Any, ...]:
        """The menu of judges, in view where the suite asks for one; its warning as it is."""
        if not suite or opened.suites.get(actor, suite).scorer is not _JUDGE:
            return gr.Dropdown(visible=False), ""
        names = [config.name for config in opened.teachers.page(actor)]
        return gr.Dropdown(names, visible=True), gr.skip()

    def _one(
        self, opened: Workspace, actor: Actor, suite: str | None, trial: str | None, at: int
    ) -> tuple[Any, ...]:
        """The prompt of that number, or the nearest one that was answered."""
        if not suite or not trial:
            return self._nothing()
        answers = opened.suites.answers(actor, trial, after=max(at, 0) - 1, limit=1)
        if not answers:
            return gr.skip(), gr.skip(), gr.skip(), gr.Button(interactive=False)
        number = answers[0].number
        (item,) = opened.suites.items(actor, suite, after=number - 1, limit=1)
        cards = opened.suites.trial(actor, trial).models
        return (
            number,
            draw.prompt_html(item, answers, draw.labels_of(cards)),
            gr.Button(visible=True, interactive=number > 0),
            gr.Button(visible=True, interactive=True),
        )

    @staticmethod
    def _nothing() -> tuple[Any, ...]:
        return -1, "", gr.Button(visible=False), gr.Button(visible=False)


def _small(label: str, name: str, *, visible: bool = True) -> gr.Button:
    return gr.Button(
        label, size="sm", elem_id=f"{_ID}-{name}", scale=0, min_width=180, visible=visible
    )

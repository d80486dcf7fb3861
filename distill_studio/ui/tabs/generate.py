"""The Generate tab: who is asked, what, about which seeds; and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.core.errors import InvalidInput, StudioError
from distill_studio.generate.prompts import Prompts
from distill_studio.generate.recipes import RECIPES
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET, SAYING
from distill_studio.ui.html import empty_state, note, page_head
from distill_studio.ui.panels.form_memory import FormMemory
from distill_studio.ui.panels.generation_fields import FIELDS, asked, build_how, build_which
from distill_studio.ui.panels.generation_html import (
    count_html,
    estimates_html,
    preview_html,
    run_button,
    templates_html,
    try_button,
)
from distill_studio.ui.panels.generation_live import build_live_panel
from distill_studio.ui.panels.recipe_form import (
    OWN_TEACHER,
    RecipeForm,
    build_recipe_form,
    judge_choices,
    known_recipe,
)
from distill_studio.ui.panels.server_panel import ServerPanel, build_server_panel
from distill_studio.ui.panels.teacher_form import TeacherForm, build_teacher_form
from distill_studio.ui.panels.trial_panel import build_trial_panel

LABEL = "Generate"
_SCROLL = """() => document.getElementById('%s')
?.scrollIntoView({behavior: 'smooth', block: 'start'})"""
_TO_LIVE = _SCROLL % "generate-live-panel"
_TO_TRIAL = _SCROLL % "generate-trial-panel"
_TRY_FIRST = "Try it first: what it makes of some seeds shows below, nothing is stored."
_NO_REFERENCE = (
    "This recipe keeps only answers that prove right. Bring in seeds with a column reference (the"
    " right answer) or tests (code that checks it)."
)
_FACETS = ("topic", "source")
_TRY_AGAIN = "Changed since the dry run: {}. Try it again; nothing is stored."


@dataclass(frozen=True)
class _Form:
    """The form's components. `fields` are the arguments of `asked`, in its order."""

    whole: gr.Row
    fields: list[Any]
    count: gr.HTML
    preview: gr.HTML
    try_out: gr.Button
    run: gr.Button
    terms: gr.HTML
    n: gr.Slider
    recipe: RecipeForm
    teachers: TeacherForm
    servers: ServerPanel
    memory: FormMemory

    @property
    def by_name(self) -> dict[str, Any]:
        """The fields but the recipe's options."""
        return dict(zip(FIELDS, self.fields, strict=False))

    @property
    def facts(self) -> list[Any]:
        """What `describe` fills."""
        return [self.count, self.preview, self.try_out, self.run, self.n, self.terms]

    @property
    def lists(self) -> list[Any]:
        """Whose choices `show` fills, after the empty state."""
        by_name = self.by_name
        lists = [by_name["teachers"], *self.recipe.listed, *(by_name[name] for name in _FACETS)]
        return [self.whole, *lists]


def build(ui: Ui) -> TabView:
    """Make the tab."""
    gr.HTML(page_head("Generate", "Teachers answer your seeds. Each answer is stored as it comes."))
    with gr.Column(visible=False, elem_id="generate-empty") as empty:
        gr.HTML(empty_state("No seeds yet", "Teachers need prompts: bring some in first."))
        to_seeds = gr.Button("Go to Seeds", variant="primary", elem_id="generate-to-seeds")
    form = _build_form(ui)
    trial = build_trial_panel(ui)
    live = build_live_panel(ui)

    def show(
        request: gr.Request,
        workspace: str,
        chosen_job: str,
        kept: Any,  # noqa: ANN401
        shown_for: str,
        *values: Any,  # noqa: ANN401
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        sent = dict(zip(FIELDS, values, strict=True))
        names = [t.name for t in opened.teachers.page(actor)]
        facets = opened.generate.facets(actor)
        shown = form.memory.recalled(workspace, kept, shown_for) or sent
        wanted = fitting(shown, names, facets)
        has_seeds = opened.generate.count(actor)["seeds"] > 0
        return (
            *(gr.Column(visible=not has_seeds), gr.Row(visible=has_seeds)),
            gr.CheckboxGroup(names),
            *form.recipe.lists(opened, actor, wanted["recipe"]),
            *(gr.Dropdown([("all", ""), *((f, f) for f in facets[n])]) for n in _FACETS),
            form.memory.filling(workspace, shown_for, sent, wanted),
            *form.teachers.show(request, workspace),
            *trial.poll(request, workspace),
            *live.poll(request, workspace, chosen_job),
        )

    @guarded
    def on_change(request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        return describe(*ui.open(request, workspace), *values)

    @guarded
    def on_teachers(
        request: gr.Request, workspace: str, changed: str, chosen: list[str], recipe: str
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        teachers = opened.teachers.page(actor)
        names = [t.name for t in teachers]
        wanted = [n for n in dict.fromkeys([*chosen, changed]) if n in names]
        judges = judge_choices(RECIPES[known_recipe(recipe)].prompts, teachers)
        return gr.CheckboxGroup(names, value=wanted), gr.Dropdown(judges)

    @guarded
    def on_run(request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        opened, actor = ui.open(request, workspace)
        opened.generate.start(actor, asked(*values))
        return (
            *(*live.poll(request, workspace, ""), ""),
            *(*trial.poll(request, workspace), *describe(opened, actor, *values)),
        )

    @guarded
    def on_try(request: gr.Request, workspace: str, *values: Any) -> Any:  # noqa: ANN401
        opened, actor = ui.open(request, workspace)
        opened.generate.try_out(actor, asked(*values))
        return trial.poll(request, workspace)

    inputs = [ui.workspace, *form.fields]
    form.memory.wire(ui.workspace)
    changes = [*(field.change for field in form.fields), form.memory.filled.change]
    # Unchecked: the values of one recipe's fields may come when their bounds are the next one's;
    # `Option.checked` tells what does not fit.
    later: dict[str, Any] = {"trigger_mode": "always_last", "preprocess": False}
    gr.on(changes, on_change, inputs, form.facts, **later, **QUIET)
    form.recipe.after_edit(on_change, inputs, form.facts)
    trial.ticked.success(on_change, inputs, form.facts, **QUIET)  # Run may be free now
    tried = form.try_out.click(on_try, inputs, trial.outputs, **SAYING)
    tried.success(None, None, None, js=_TO_TRIAL, **QUIET)
    after_run = [*live.outputs, live.chosen, *trial.outputs, *form.facts]
    started = form.run.click(on_run, inputs, after_run, **SAYING)
    started.success(None, None, None, js=_TO_LIVE, **QUIET)
    for changed in (form.teachers.after_change, form.servers.after_ready):
        for event in changed(on_teachers, form.fields[:2], [form.fields[0], form.recipe.judge]):
            form.memory.keep_after(event, ui.workspace)
    to_seeds.click(lambda: gr.Tabs(selected="seeds"), None, ui.tabs, **QUIET)
    outputs = [
        *(empty, *form.lists, form.memory.fill, *form.teachers.outputs),
        *(*trial.outputs, *live.outputs),
    ]
    inputs = [live.chosen, *form.memory.state, *form.by_name.values()]
    return TabView(show=show, inputs=inputs, outputs=outputs)


def _build_form(ui: Ui) -> _Form:
    with gr.Row(elem_id="generate-form") as whole:
        with gr.Column(scale=3, min_width=420):
            gr.HTML('<h3 class="ds-h3">Who answers, and how</h3>')
            teachers = gr.CheckboxGroup([], label="Teachers", elem_id="generate-teachers")
            terms = gr.HTML(elem_id="generate-terms")
            teacher_form = build_teacher_form(ui)
            servers = build_server_panel(ui)
            recipe = build_recipe_form(ui)
            how = build_how()
        with gr.Column(scale=2, min_width=340, elem_id="generate-which"):
            gr.HTML('<h3 class="ds-h3">Which seeds</h3>')
            which = build_which()
            count = gr.HTML(elem_id="generate-count")
            with gr.Row():
                try_out = gr.Button("Try on 3 seeds", size="lg", elem_id="generate-try")
                run = gr.Button("Run", size="lg", interactive=False, elem_id="generate-run")
            with gr.Accordion(
                "The exact first request", open=False, elem_id="generate-preview-box"
            ):
                preview = gr.HTML(elem_id="generate-preview", apply_default_css=False)
    *how, examples, logprobs = how
    fields = [
        *(teachers, recipe.recipe, *how, *which),
        *(examples, logprobs, recipe.judge, *recipe.options),
    ]
    names = dict(zip(FIELDS, fields, strict=False))
    memory = FormMemory(LABEL.lower(), names, recipe.options)
    recipe.wire(ui, memory)
    return _Form(
        *(whole, fields, count, preview, try_out, run, terms, how[0]),
        *(recipe, teacher_form, servers, memory),
    )


def fitting(
    values: dict[str, Any], teachers: list[str], facets: Mapping[str, list[str]]
) -> dict[str, Any]:
    """The form's values, those that are no choice any more replaced."""
    return values | {
        "teachers": [t for t in values["teachers"] or [] if t in teachers] or teachers[:1],
        "recipe": known_recipe(values["recipe"]),
        "judge": values["judge"] if values["judge"] in teachers else OWN_TEACHER,
        **{name: values[name] if values[name] in facets[name] else "" for name in _FACETS},
    }


def describe(opened: Workspace, actor: Actor, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """What the form would do: counts, first request, the buttons, candidates, terms."""
    try:
        wish = asked(*values)
    except InvalidInput as err:  # said in place, beside the buttons that it blocks
        said = note(str(err), "warn")
        return said, said, try_button(0, 0, False), run_button(0, False, False), gr.skip(), ""
    counts = opened.generate.count(actor, wish.seeds)
    configs = {t.name: t for t in opened.teachers.page(actor)}
    terms = "".join(
        note(f"{name}: {configs[name].licence_note or 'no note on its terms'}")
        for name in wish.teachers
        if name in configs
    )
    requests, must_try, usable = 0, False, None
    prompts = RECIPES[wish.recipe].prompts if wish.recipe in RECIPES else None
    try:
        seen = opened.generate.preview(actor, wish)
    except StudioError as err:  # shown in place: the form is just not complete yet
        shown = note(str(err), "warn")
    else:
        shown, requests = preview_html(seen["first"]), seen["requests"]
        usable = seen["seeds"]
        must_try = seen["has_steps"] and not seen["tried"]
        terms += templates_html(seen["templates"])
        terms += note(seen["warning"], "warn") if seen["warning"] else ""
    words = count_html(counts, requests, wish.seeds.only_unanswered, prompts, usable)
    words += estimates_html(seen["estimates"]) if requests else ""
    if not requests and counts["chosen"]:
        words += note(_NO_REFERENCE, "warn") if _lacks_references(prompts, usable) else shown
    if requests and must_try:
        words += note(_try_words(seen["tried_otherwise"]))
    return (
        words,
        shown,
        try_button(usable or 0, requests, must_try),
        run_button(requests, prompts is not None and prompts.has_steps, must_try),
        _candidates(prompts),
        terms,
    )


def _lacks_references(prompts: Prompts | None, usable: int | None) -> bool:
    return prompts is not None and prompts.is_verified and usable == 0


def _try_words(differing: list[str]) -> str:
    return _TRY_AGAIN.format(", ".join(differing)) if differing else _TRY_FIRST


def _candidates(prompts: Prompts | None) -> Any:  # noqa: ANN401  (an update)
    if prompts is None or not prompts.has_samples:
        return gr.Slider(visible=False)
    return gr.Slider(visible=True, label=f"{prompts.samples_label} per seed and teacher")

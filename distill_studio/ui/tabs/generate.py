"""The Generate tab: who is asked, what, about which seeds; and what comes back."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.core.errors import StudioError
from distill_studio.generate.recipes import RECIPES
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET, SAYING
from distill_studio.ui.html import empty_state, note, page_head
from distill_studio.ui.panels.form_memory import FormMemory, pooled
from distill_studio.ui.panels.generation_fields import FIELDS, asked, build_how, build_which
from distill_studio.ui.panels.generation_html import (
    count_html,
    estimates_html,
    preview_html,
    run_button,
)
from distill_studio.ui.panels.generation_live import build_live_panel
from distill_studio.ui.panels.recipe_form import (
    RecipeForm,
    build_recipe_form,
    recalled_options,
)
from distill_studio.ui.panels.server_panel import ServerPanel, build_server_panel
from distill_studio.ui.panels.teacher_form import TeacherForm, build_teacher_form
from distill_studio.ui.panels.trial_panel import build_trial_panel

LABEL = "Generate"
_SCROLL = """() => document.getElementById('%s')
?.scrollIntoView({behavior: 'smooth', block: 'start'})"""
_TO_LIVE = _SCROLL % "generate-live-panel"
_TO_TRIAL = _SCROLL % "generate-trial-panel"
_FILLED = ("teachers", "recipe", "topic", "source", "judge")  # as lists; n with the facts
_PLAIN = tuple(name for name in FIELDS if name not in (*_FILLED, "n"))


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
        """What `fill` fills, after the empty state."""
        by_name = self.by_name
        lists = [by_name["teachers"], *self.recipe.filled, by_name["topic"], by_name["source"]]
        return [self.whole, *lists]

    @property
    def recalled(self) -> list[Any]:
        """What `recall` fills."""
        plain = [self.by_name[name] for name in _PLAIN]
        return [self.memory.shown_for, *plain, *self.recipe.recalled]


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
        wanted, recalled = recall(form, opened, kept, shown_for, values)
        choices, fixed = fill(form.recipe, opened, actor, *wanted)
        count, preview, try_out, run, _, terms = describe(opened, actor, *fixed)
        return (
            *choices,
            *recalled,
            *form.teachers.show(request, workspace),
            *(count, preview, try_out, run, _candidates(fixed[1], value=fixed[2]), terms),
            *trial.poll(request, workspace),
            *live.poll(request, workspace, chosen_job),
        )

    @guarded
    def on_change(request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        return describe(*ui.open(request, workspace), *values)

    @guarded
    def on_teachers(request: gr.Request, workspace: str, changed: str, chosen: list[str]) -> Any:  # noqa: ANN401
        opened, actor = ui.open(request, workspace)
        names = [t.name for t in opened.teachers.page(actor)]
        wanted = [n for n in dict.fromkeys([*chosen, changed]) if n in names]
        return gr.CheckboxGroup(names, value=wanted)

    @guarded
    def on_run(request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        opened, actor = ui.open(request, workspace)
        opened.generate.start(actor, **asked(*values))
        return (*live.poll(request, workspace, ""), "", *describe(opened, actor, *values))

    @guarded
    def on_try(request: gr.Request, workspace: str, *values: Any) -> Any:  # noqa: ANN401
        opened, actor = ui.open(request, workspace)
        opened.generate.try_out(actor, **asked(*values))
        return trial.poll(request, workspace)

    inputs = [ui.workspace, *form.fields]
    form.memory.wire(ui.workspace)
    changes = [field.change for field in form.fields]
    gr.on(changes, on_change, inputs, form.facts, trigger_mode="always_last", **QUIET)
    form.recipe.after_edit(on_change, inputs, form.facts)
    trial.ticked.success(on_change, inputs, form.facts, **QUIET)  # Run may be free now
    tried = form.try_out.click(on_try, inputs, trial.outputs, **SAYING)
    tried.success(None, None, None, js=_TO_TRIAL, **QUIET)
    started = form.run.click(on_run, inputs, [*live.outputs, live.chosen, *form.facts], **SAYING)
    started.success(None, None, None, js=_TO_LIVE, **QUIET)
    for changed in (form.teachers.after_change, form.servers.after_ready):
        for event in changed(on_teachers, form.fields[:1], form.fields[:1]):
            form.memory.keep_after(event, ui.workspace)
    to_seeds.click(lambda: gr.Tabs(selected="seeds"), None, ui.tabs, **QUIET)
    outputs = [
        *(empty, *form.lists, *form.recalled, *form.teachers.outputs),
        *(*form.facts, *trial.outputs, *live.outputs),
    ]
    inputs = [live.chosen, *form.memory.state, *form.fields]
    return TabView(show=show, inputs=inputs, outputs=outputs)


def _build_form(ui: Ui) -> _Form:
    with gr.Row(elem_id="generate-form") as whole:
        with gr.Column(scale=3, min_width=420):
            teachers = gr.CheckboxGroup([], label="Teachers", elem_id="generate-teachers")
            terms = gr.HTML(elem_id="generate-terms")
            teacher_form = build_teacher_form(ui)
            servers = build_server_panel(ui)
            recipe = build_recipe_form(ui)
            how = build_how()
        with gr.Column(scale=2, min_width=340):
            which = build_which()
            count = gr.HTML(elem_id="generate-count")
            with gr.Row():
                try_out = gr.Button("Try on 3 seeds", size="lg", elem_id="generate-try")
                run = gr.Button("Run", variant="primary", size="lg", elem_id="generate-run")
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
    memory = FormMemory(LABEL.lower(), names, recipe.options, pooled_by="recipe")
    recipe.wire(ui, memory)
    return _Form(
        *(whole, fields, count, preview, try_out, run, terms, how[0]),
        *(recipe, teacher_form, servers, memory),
    )


def recall(
    form: _Form,
    opened: Workspace,
    kept: Any,  # noqa: ANN401
    shown_for: str,
    values: tuple[Any, ...],
) -> tuple[list[Any], list[Any]]:
    """The form's values, this browser's for another workspace; and those for `recalled`."""
    found = form.memory.recalled(opened.name, kept, shown_for)
    if found is None:
        return list(values), [gr.skip()] * len(form.recalled)
    recipe = found["recipe"] if found["recipe"] in RECIPES else next(iter(RECIPES))
    found["recipe"] = recipe
    options = recalled_options(RECIPES[recipe].prompts.options, pooled(kept, opened.name, recipe))
    plain = [found[name] for name in _PLAIN]
    shown = [opened.name, *plain, *form.recipe.recall(opened, recipe, options)]
    return [*found.values(), *options], shown


def fill(
    form: RecipeForm,
    opened: Workspace,
    actor: Actor,
    *values: Any,  # noqa: ANN401
) -> tuple[tuple[Any, ...], list[Any]]:
    """Choices of the lists as they are now, and the form's values made to fit them."""
    names = [t.name for t in opened.teachers.page(actor)]
    facets = opened.generate.facets(actor)
    has_seeds = opened.generate.count(actor)["seeds"] > 0
    now = dict(zip(FIELDS, values, strict=False))
    now["teachers"] = [t for t in now["teachers"] or [] if t in names] or names[:1]
    now["recipe"] = now["recipe"] or next(iter(RECIPES))
    for name in ("topic", "source"):
        now[name] = now[name] if now[name] in facets[name] else ""
    choices = (
        gr.Column(visible=not has_seeds),
        gr.Row(visible=has_seeds),
        gr.CheckboxGroup(names, value=now["teachers"]),
        *form.fill(opened, actor, now["recipe"], now["judge"] or ""),
        gr.Dropdown([("all", ""), *((t, t) for t in facets["topic"])], value=now["topic"]),
        gr.Dropdown([("all", ""), *((s, s) for s in facets["source"])], value=now["source"]),
    )
    return choices, [*now.values(), *values[len(FIELDS) :]]


def describe(opened: Workspace, actor: Actor, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """What the form would do: counts, first request, the buttons, candidates, terms."""
    arguments = asked(*values)
    counts = opened.generate.count(actor, arguments["seeds"])
    configs = {t.name: t for t in opened.teachers.page(actor)}
    terms = "".join(
        note(f"{name}: {configs[name].licence_note or 'no note on its terms'}")
        for name in arguments["teachers"]
        if name in configs
    )
    requests, must_try = 0, False
    try:
        seen = opened.generate.preview(actor, **arguments)
    except StudioError as err:  # shown in place: the form is just not complete yet
        shown = note(str(err), "warn")
    else:
        shown, requests = preview_html(seen["first"]), seen["requests"]
        must_try = seen["has_steps"] and not seen["tried"]
        terms += note(seen["warning"], "warn") if seen["warning"] else ""
    words = count_html(counts, requests, arguments["seeds"].only_unanswered)
    words += estimates_html(seen["estimates"]) if requests else ""
    if not requests and counts["chosen"]:
        words += shown
    if requests and must_try:
        words += note("Try it first: what it makes of three seeds shows below, nothing is stored.")
    return (
        words,
        shown,
        gr.Button(
            interactive=requests > 0, variant="primary" if requests and must_try else "secondary"
        ),
        run_button(requests, must_try),
        _candidates(values[1]),
        terms,
    )


def _candidates(recipe: str | None, **value: Any) -> Any:  # noqa: ANN401  (an update)
    found = RECIPES.get(recipe or "")
    return gr.Slider(visible=found is not None and found.prompts.has_samples, **value)

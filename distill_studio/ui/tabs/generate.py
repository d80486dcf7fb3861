"""The Generate tab: who is asked, what, about which seeds; and what comes back."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.core.errors import StudioError
from distill_studio.core.protocols import SamplingParams
from distill_studio.generate.recipes import RECIPES
from distill_studio.services.workspace import Workspace
from distill_studio.store.generation import SeedFilter
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET, SAYING
from distill_studio.ui.html import empty_state, note, page_head
from distill_studio.ui.panels.generation_fields import build_how, build_which
from distill_studio.ui.panels.generation_html import (
    count_html,
    estimates_html,
    preview_html,
    run_button,
)
from distill_studio.ui.panels.generation_live import build_live_panel
from distill_studio.ui.panels.recipe_form import RecipeForm, build_recipe_form, options_from
from distill_studio.ui.panels.server_panel import ServerPanel, build_server_panel
from distill_studio.ui.panels.teacher_form import TeacherForm, build_teacher_form
from distill_studio.ui.panels.trial_panel import build_trial_panel

LABEL = "Generate"
_SCROLL = """() => document.getElementById('%s')
?.scrollIntoView({behavior: 'smooth', block: 'start'})"""
_TO_LIVE = _SCROLL % "generate-live-panel"
_TO_TRIAL = _SCROLL % "generate-trial-panel"
_TOPIC = 9  # place of the first field about seeds
_JUDGE = 16


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

    @property
    def facts(self) -> list[Any]:
        """What `describe` fills."""
        return [self.count, self.preview, self.try_out, self.run, self.n, self.terms]

    @property
    def lists(self) -> list[Any]:
        """What `fill` fills, after the empty state."""
        topic, source = self.fields[_TOPIC : _TOPIC + 2]
        return [self.whole, self.fields[0], *self.recipe.filled, topic, source]


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
        *values: Any,  # noqa: ANN401
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        choices, fixed = fill(form.recipe, opened, actor, *values)
        return (
            *choices,
            *form.teachers.show(request, workspace),
            *describe(opened, actor, *fixed),
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
    changes = [field.change for field in form.fields]
    gr.on(changes, on_change, inputs, form.facts, trigger_mode="always_last", **QUIET)
    form.recipe.after_edit(on_change, inputs, form.facts)
    trial.ticked.success(on_change, inputs, form.facts, **QUIET)  # Run may be free now
    tried = form.try_out.click(on_try, inputs, trial.outputs, **SAYING)
    tried.success(None, None, None, js=_TO_TRIAL, **QUIET)
    started = form.run.click(on_run, inputs, [*live.outputs, live.chosen, *form.facts], **SAYING)
    started.success(None, None, None, js=_TO_LIVE, **QUIET)
    form.teachers.after_change(on_teachers, form.fields[:1], form.fields[:1])
    form.servers.after_ready(on_teachers, form.fields[:1], form.fields[:1])
    to_seeds.click(lambda: gr.Tabs(selected="seeds"), None, ui.tabs, **QUIET)
    outputs = [
        *(empty, *form.lists, *form.teachers.outputs),
        *(*form.facts, *trial.outputs, *live.outputs),
    ]
    return TabView(show=show, inputs=[live.chosen, *form.fields], outputs=outputs)


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
    return _Form(
        *(whole, fields, count, preview, try_out, run, terms, how[0]),
        *(recipe, teacher_form, servers),
    )


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
    teachers = [t for t in values[0] or [] if t in names] or names[:1]
    recipe = values[1] or next(iter(RECIPES))
    topic = values[_TOPIC] if values[_TOPIC] in facets["topic"] else ""
    source = values[_TOPIC + 1] if values[_TOPIC + 1] in facets["source"] else ""
    choices = (
        gr.Column(visible=not has_seeds),
        gr.Row(visible=has_seeds),
        gr.CheckboxGroup(names, value=teachers),
        *form.fill(opened, actor, recipe, values[_JUDGE] or ""),
        gr.Dropdown([("all", ""), *((t, t) for t in facets["topic"])], value=topic),
        gr.Dropdown([("all", ""), *((s, s) for s in facets["source"])], value=source),
    )
    return choices, [teachers, recipe, *values[2:_TOPIC], topic, source, *values[_TOPIC + 2 :]]


def asked(
    teachers: list[str],
    recipe: str,
    n: float,
    temperature: float,
    max_tokens: float,
    top_p: float,
    seed: float,
    stop: str,
    system: str,
    topic: str,
    source: str,
    search: str,
    limit: float,
    only_unanswered: bool,
    examples: float,
    top_logprobs: float,
    judge: str,
    *options: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """The form as arguments of `generate_start` and `generate_preview`."""
    return {
        "teachers": list(teachers or []),
        "recipe": recipe,
        "n": int(n or 1),
        "sampling": SamplingParams(
            temperature=temperature,
            max_tokens=int(max_tokens or 256),
            top_p=top_p,
            seed=int(seed or 0),
            stop=tuple(line for line in (stop or "").splitlines() if line),
            top_logprobs=int(top_logprobs or 0),
        ),
        "system_prompt": system or "",
        "seeds": SeedFilter(
            topic=topic or "",
            source=source or "",
            search=search or "",
            limit=int(limit or 0),
            only_unanswered=only_unanswered,
        ),
        "options": options_from(recipe, options),
        "judge": judge or "",
        "examples": int(examples or 0),
    }


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
    recipe = RECIPES.get(values[1] or "")
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
        gr.Slider(visible=recipe is not None and recipe.prompts.has_samples),
        terms,
    )

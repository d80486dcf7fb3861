"""Which recipe, with its own settings and its texts. Start from `build_recipe_form`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import TeacherConfig
from distill_studio.generate.prompts import Option, OptionValue, Prompts
from distill_studio.generate.recipes import RECIPES
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import chip, esc
from distill_studio.ui.panels.form_memory import FormMemory, pooled

# A recipe's options take the first fields of their kind; the rest stay hidden.
NUMBERS = 4
WORDS = 3
OWN_TEACHER = ""  # as the judge
# What the recipes are for. assets/generate.css writes each heading above the first of its group.
GROUPS: dict[str, tuple[str, ...]] = {
    "Answers to your seeds": ("direct", "verified", "explanation", "code", "multi_turn"),
    "New prompts with answers": (
        *("self_instruct", "evol_instruct", "magpie", "textbook", "back_translation"),
    ),
    "Several answers to compare": ("best_of_n", "preference", "ensemble"),
}


@dataclass(frozen=True)
class RecipeForm:
    """The components; `options` and `judge` belong to the arguments of a generation."""

    recipe: gr.Radio
    about: gr.HTML
    judge: gr.Dropdown
    options: list[Any]
    editor: "_Editor"

    def lists(self, opened: Workspace, actor: Actor, recipe: str) -> list[Any]:
        """The choices there are now, with this recipe; for `listed`."""
        known = {r.name: r for r in opened.recipes.page(actor)}
        grouped = [name for group in GROUPS.values() for name in group if name in known]
        recipes = [known[name] for name in [*grouped, *(n for n in known if n not in grouped)]]
        judges = judge_choices(RECIPES[recipe].prompts, opened.teachers.page(actor))
        return [gr.Radio([(r.label, r.name) for r in recipes]), gr.Dropdown(judges)]

    @property
    def listed(self) -> list[Any]:
        """What `lists` fills."""
        return [self.recipe, self.judge]

    def wire(self, ui: Ui, memory: FormMemory) -> None:
        """Show what belongs to the recipe that is chosen, its options as they were last."""

        @guarded
        def on_recipe(
            request: gr.Request,
            workspace: str,
            name: str | None,
            kept: Any,  # noqa: ANN401
        ) -> list[Any]:
            opened, actor = ui.open(request, workspace)
            name = known_recipe(name)
            prompts = RECIPES[name].prompts
            options = recalled_options(prompts.options, pooled(kept, workspace, name))
            return [
                about_html(prompts),
                gr.Dropdown(
                    judge_choices(prompts, opened.teachers.page(actor)),
                    visible=prompts.needs_judge or prompts.may_judge,
                ),
                *option_fields(prompts.options, options),
                name,
                *_editor_values(opened.recipes.in_force(name), None),
            ]

        inputs = [ui.workspace, self.recipe, memory.kept]
        outputs = [self.about, self.judge, *self.options, memory.pool_of, *self.editor.outputs]
        events = [self.recipe.change, memory.shown_for.change]
        gr.on(events, on_recipe, inputs, outputs, **LATEST)

    def after_edit(
        self, handler: Callable[..., Any], inputs: list[Any], outputs: list[Any]
    ) -> None:
        """Run `handler` after the recipe's texts have changed."""
        for event in self.editor.changes:
            event.success(handler, inputs, outputs, **QUIET)


@dataclass(frozen=True)
class _Editor:
    """The accordion with a recipe's texts."""

    whole: gr.Accordion
    choice: gr.Dropdown
    text: gr.Textbox
    version: gr.HTML
    reset: gr.Button
    changes: list[Any]

    @property
    def outputs(self) -> list[Any]:
        return [self.whole, self.choice, self.text, self.version, self.reset]


def build_recipe_form(ui: Ui) -> RecipeForm:
    """Make the components."""
    recipe = gr.Radio([], label="Recipe", elem_id="generate-recipe")
    about = gr.HTML(elem_id="generate-about", apply_default_css=False)
    options = _build_options()
    judge = gr.Dropdown(
        [("the teacher itself", OWN_TEACHER)],
        value=OWN_TEACHER,
        label="Judge",
        visible=False,
        elem_id="generate-judge",
    )
    return RecipeForm(recipe, about, judge, options, _build_editor(ui, recipe))


def _build_options() -> list[Any]:
    numbers: list[Any] = []
    with gr.Row(elem_classes="ds-options"):
        for n in range(NUMBERS):
            field = gr.Number(visible=False, min_width=150, elem_id=f"generate-number-{n}")
            numbers.append(field)
    words: list[Any] = []
    with gr.Row(elem_classes="ds-options"):
        for n in range(WORDS):
            chosen = gr.Dropdown(
                [""], value="", visible=False, min_width=180, elem_id=f"generate-word-{n}"
            )
            words.append(chosen)
    return [*numbers, *words]


def _build_editor(ui: Ui, recipe: gr.Radio) -> _Editor:
    whole = gr.Accordion("The recipe's texts", open=False, visible=False, elem_id="generate-texts")
    with whole:
        choice = gr.Dropdown([], label="Text", elem_id="generate-text-choice")
        text = gr.Textbox(
            label="What is sent",
            info="${name} stands for what the recipe fills in and must stay.",
            lines=8,
            max_lines=24,
            elem_id="generate-text",
        )
        version = gr.HTML(elem_id="generate-text-version", apply_default_css=False)
        with gr.Row(elem_classes="ds-live-actions"):
            save = gr.Button("Use this text", size="sm", elem_id="generate-text-save")
            reset = gr.Button(
                "Back to the shipped texts", size="sm", visible=False, elem_id="generate-text-reset"
            )

    @guarded
    def on_choice(request: gr.Request, workspace: str, name: str, which: str) -> list[Any]:
        opened, _ = ui.open(request, workspace)
        return _editor_values(opened.recipes.in_force(name), which)

    @guarded
    def on_save(
        request: gr.Request, workspace: str, name: str, which: str, words: str
    ) -> list[Any]:
        opened, actor = ui.open(request, workspace)
        prompts = opened.recipes.edit(actor, name, {which: words or ""})
        gr.Info(f"Later runs use it, as version {prompts.version}.")
        return _editor_values(prompts, which)

    @guarded
    def on_reset(request: gr.Request, workspace: str, name: str, which: str) -> list[Any]:
        opened, actor = ui.open(request, workspace)
        prompts = opened.recipes.reset(actor, name)
        gr.Info("The shipped texts are in force again.")
        return _editor_values(prompts, which)

    outputs = [whole, choice, text, version, reset]
    where = [ui.workspace, recipe, choice]
    choice.input(on_choice, where, outputs, **LATEST)
    saved = save.click(on_save, [*where, text], outputs, **SAYING)
    taken_back = reset.click(on_reset, where, outputs, **SAYING)
    return _Editor(whole, choice, text, version, reset, [saved, taken_back])


def _editor_values(prompts: Prompts, which: str | None) -> list[Any]:
    texts = {text.name: text for text in prompts.texts}
    if not texts:
        return [gr.Accordion(visible=False), *[gr.skip()] * 4]
    chosen = texts.get(which or "", prompts.texts[0])
    is_edited = "-edited-" in prompts.version
    label = chip(f"version {prompts.version}", "info" if is_edited else "")
    return [
        gr.Accordion(visible=True),
        gr.Dropdown([(t.label, t.name) for t in prompts.texts], value=chosen.name),
        chosen.text,
        f'<div class="ds-note">{label} It stands in the provenance of each answer.</div>',
        gr.Button(visible=is_edited),
    ]


def recalled_options(options: Sequence[Option], kept: Sequence[Any]) -> list[Any]:
    """Values for the pool of fields: those kept where they fit, else the defaults."""
    numbers, words = _by_kind(options)
    values: list[Any] = [None] * (NUMBERS + WORDS)
    for place, option in [*enumerate(numbers), *enumerate(words, start=NUMBERS)]:
        was = kept[place] if place < len(kept) else None
        try:
            values[place] = option.checked(was)
        except InvalidInput:
            values[place] = option.default
    return values


def option_fields(options: Sequence[Option], values: Sequence[Any]) -> list[Any]:
    """The pool of fields as the options want them, at these values (see `recalled_options`)."""
    numbers, words = _by_kind(options)
    fields: list[Any] = [_number_field(o, v) for o, v in zip(numbers, values, strict=False)]
    fields += [gr.Number(visible=False)] * (NUMBERS - len(numbers))
    fields += [
        gr.Dropdown(list(o.choices), value=v, label=o.label, info=o.info or None, visible=True)
        for o, v in zip(words, values[NUMBERS:], strict=False)
    ]
    return fields + [gr.Dropdown(visible=False)] * (WORDS - len(words))


def _by_kind(options: Sequence[Option]) -> tuple[list[Option], list[Option]]:
    return [o for o in options if not o.choices], [o for o in options if o.choices]


def _number_field(option: Option, value: Any) -> Any:  # noqa: ANN401  (an update of a component)
    return gr.Number(
        value=float(value),
        label=option.label,
        info=option.info or None,
        minimum=option.minimum,
        maximum=option.maximum,
        precision=0 if option.is_whole else None,
        step=1 if option.is_whole else 0.05,
        visible=True,
    )


def options_from(recipe: str, fields: Sequence[Any]) -> dict[str, OptionValue]:
    """The recipe's options out of the pool of fields; an empty field means the default."""
    options = RECIPES[recipe].prompts.options if recipe in RECIPES else ()
    numbers, words = _by_kind(options)
    given: dict[str, OptionValue] = {}
    for option, value in zip(numbers, fields[:NUMBERS], strict=False):
        if value is not None:
            given[option.name] = value
    for option, value in zip(words, fields[NUMBERS:], strict=False):
        if value in option.choices:
            given[option.name] = value
    return given


def judge_choices(prompts: Prompts, teachers: Sequence[TeacherConfig]) -> list[tuple[str, str]]:
    """Who can judge what a recipe makes, as (label, name)."""
    first = "the first teacher" if prompts.needs_judge else "the teacher itself"
    return [(first, OWN_TEACHER), *((t.name, t.name) for t in teachers)]


def known_recipe(name: str | None) -> str:
    """The recipe of that name, else the first of the form."""
    return name if name in RECIPES else next(iter(GROUPS.values()))[0]


def about_html(prompts: Prompts) -> str:
    """What the recipe does, and after whom."""
    source = f" <cite>{esc(prompts.source)}</cite>" if prompts.source else ""
    return f'<p class="ds-about">{esc(prompts.summary)}{source}</p>'

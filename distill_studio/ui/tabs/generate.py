"""The Generate tab: who is asked, what, about which seeds; and what comes back."""

import json
from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor
from distill_studio.core.errors import StudioError
from distill_studio.core.protocols import SamplingParams
from distill_studio.services.workspace import Workspace
from distill_studio.store.generation import SeedFilter
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET
from distill_studio.ui.html import empty_state, esc, note, number, page_head
from distill_studio.ui.panels.generation_live import build_live_panel
from distill_studio.ui.panels.server_panel import ServerPanel, build_server_panel
from distill_studio.ui.panels.teacher_form import TeacherForm, build_teacher_form

LABEL = "Generate"
_TO_LIVE = """() => document.getElementById('generate-live-panel')
?.scrollIntoView({behavior: 'smooth', block: 'start'})"""


@dataclass(frozen=True)
class _Form:
    """The form's components. `fields` are the arguments of `asked`, in its order."""

    whole: gr.Row
    fields: list[Any]
    count: gr.HTML
    preview: gr.HTML
    run: gr.Button
    terms: gr.HTML
    teachers: TeacherForm
    servers: ServerPanel

    @property
    def facts(self) -> list[Any]:
        """What `describe` fills."""
        return [self.count, self.preview, self.run, self.fields[2], self.terms]

    @property
    def lists(self) -> list[Any]:
        """What `fill` fills, after the empty state."""
        teachers, recipe, *_ = self.fields
        topic, source = self.fields[9:11]
        return [self.whole, teachers, recipe, topic, source]


def build(ui: Ui) -> TabView:
    """Make the tab."""
    gr.HTML(page_head("Generate", "Teachers answer your seeds. Each answer is stored as it comes."))
    with gr.Column(visible=False, elem_id="generate-empty") as empty:
        gr.HTML(empty_state("No seeds yet", "Teachers need prompts: bring some in first."))
        to_seeds = gr.Button("Go to Seeds", variant="primary", elem_id="generate-to-seeds")
    form = _build_form(ui)
    live = build_live_panel(ui)

    def show(
        request: gr.Request,
        workspace: str,
        chosen_job: str,
        *values: Any,  # noqa: ANN401
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        choices, fixed = fill(opened, actor, *values)
        return (
            *choices,
            *form.teachers.show(request, workspace),
            *describe(opened, actor, *fixed),
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

    inputs = [ui.workspace, *form.fields]
    changes = [field.change for field in form.fields]
    gr.on(changes, on_change, inputs, form.facts, trigger_mode="always_last", **QUIET)
    started = form.run.click(on_run, inputs, [*live.outputs, live.chosen, *form.facts], **QUIET)
    started.success(None, None, None, js=_TO_LIVE, **QUIET)
    form.teachers.after_change(on_teachers, form.fields[:1], form.fields[:1])
    form.servers.after_ready(on_teachers, form.fields[:1], form.fields[:1])
    to_seeds.click(lambda: gr.Tabs(selected="seeds"), None, ui.tabs, **QUIET)
    outputs = [empty, *form.lists, *form.teachers.outputs, *form.facts, *live.outputs]
    return TabView(show=show, inputs=[live.chosen, *form.fields], outputs=outputs)


def _build_form(ui: Ui) -> _Form:
    with gr.Row(elem_id="generate-form") as whole:
        with gr.Column(scale=3, min_width=420):
            teachers = gr.CheckboxGroup([], label="Teachers", elem_id="generate-teachers")
            terms = gr.HTML(elem_id="generate-terms")
            teacher_form = build_teacher_form(ui)
            servers = build_server_panel(ui)
            how = _build_how()
        with gr.Column(scale=2, min_width=340):
            which = _build_which()
            count = gr.HTML(elem_id="generate-count")
            run = gr.Button("Run", variant="primary", size="lg", elem_id="generate-run")
            with gr.Accordion(
                "The exact first request", open=False, elem_id="generate-preview-box"
            ):
                preview = gr.HTML(elem_id="generate-preview", apply_default_css=False)
    return _Form(whole, [teachers, *how, *which], count, preview, run, terms, teacher_form, servers)


def _build_how() -> list[Any]:
    """Recipe and sampling."""
    recipe = gr.Radio([], label="Recipe", elem_id="generate-recipe")
    n = gr.Slider(
        1,
        16,
        2,
        step=1,
        label="Candidates per seed and teacher",
        visible=False,
        elem_id="generate-n",
    )
    with gr.Row():
        temperature = gr.Slider(
            0, 2, 0.7, step=0.05, label="Temperature", elem_id="generate-temperature"
        )
        max_tokens = gr.Number(
            256,
            label="Longest answer, tokens",
            minimum=1,
            maximum=131072,
            precision=0,
            elem_id="generate-max-tokens",
        )
    with gr.Accordion("More settings", open=False, elem_id="generate-more"):
        with gr.Row():
            top_p = gr.Slider(0.05, 1, 0.95, step=0.05, label="Top p", elem_id="generate-top-p")
            seed = gr.Number(
                0, label="Random seed", precision=0, minimum=0, elem_id="generate-seed"
            )
        stop = gr.Textbox(
            label="Stop at", info="One string a line.", lines=1, elem_id="generate-stop-at"
        )
        system = gr.Textbox(
            label="System prompt",
            lines=2,
            elem_id="generate-system",
            info="Put before each seed that has none of its own.",
        )
    return [recipe, n, temperature, max_tokens, top_p, seed, stop, system]


def _build_which() -> list[Any]:
    """Which seeds."""
    with gr.Row():
        topic = gr.Dropdown([("all", "")], value="", label="Topic", elem_id="generate-topic")
        source = gr.Dropdown([("all", "")], value="", label="Source", elem_id="generate-source")
    with gr.Row():
        search = gr.Textbox(
            label="Search", placeholder="part of a prompt", elem_id="generate-search"
        )
        limit = gr.Number(
            0, label="At most (0 = all)", minimum=0, precision=0, elem_id="generate-limit"
        )
    unanswered = gr.Checkbox(
        True, label="Only seeds without an answer", elem_id="generate-unanswered"
    )
    return [topic, source, search, limit, unanswered]


def fill(opened: Workspace, actor: Actor, *values: Any) -> tuple[tuple[Any, ...], list[Any]]:  # noqa: ANN401
    """Choices of the lists as they are now, and the form's values made to fit them."""
    names = [t.name for t in opened.teachers.page(actor)]
    recipes = opened.recipes.page(actor)
    facets = opened.generate.facets(actor)
    has_seeds = opened.generate.count(actor)["seeds"] > 0
    teachers = [t for t in values[0] or [] if t in names] or names[:1]
    recipe = values[1] or recipes[0].name
    topic = values[9] if values[9] in facets["topic"] else ""
    source = values[10] if values[10] in facets["source"] else ""
    choices = (
        gr.Column(visible=not has_seeds),
        gr.Row(visible=has_seeds),
        gr.CheckboxGroup(names, value=teachers),
        gr.Radio([(r.label, r.name) for r in recipes], value=recipe),
        gr.Dropdown([("all", ""), *((t, t) for t in facets["topic"])], value=topic),
        gr.Dropdown([("all", ""), *((s, s) for s in facets["source"])], value=source),
    )
    return choices, [teachers, recipe, *values[2:9], topic, source, *values[11:]]


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
        ),
        "system_prompt": system or "",
        "seeds": SeedFilter(
            topic=topic or "",
            source=source or "",
            search=search or "",
            limit=int(limit or 0),
            only_unanswered=only_unanswered,
        ),
    }


def describe(opened: Workspace, actor: Actor, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """What the form would do: counts, first request, the button, candidates, terms."""
    arguments = asked(*values)
    counts = opened.generate.count(actor, arguments["seeds"])
    configs = {t.name: t for t in opened.teachers.page(actor)}
    recipes = opened.recipes.page(actor)
    terms = "".join(
        note(f"{name}: {configs[name].licence_note or 'no note on its terms'}")
        for name in arguments["teachers"]
        if name in configs
    )
    try:
        seen = opened.generate.preview(actor, **arguments)
    except StudioError as err:  # shown in place: the form is just not complete yet
        shown, requests = note(str(err), "warn"), 0
    else:
        shown, requests = preview_html(seen["first"]), seen["requests"]
    label = f"Run {requests:,} request{'' if requests == 1 else 's'}"
    return (
        count_html(counts, requests, arguments["seeds"].only_unanswered)
        + (shown if not requests and counts["chosen"] else ""),
        shown,
        gr.Button(label if requests else "Run", interactive=requests > 0),
        gr.Slider(visible=any(r.name == values[1] and r.has_samples for r in recipes)),
        terms,
    )


def count_html(counts: dict[str, int], requests: int, only_unanswered: bool) -> str:
    """How many seeds are chosen, in a sentence."""
    matching, free = counts["matching"], counts["unanswered"]
    seeds = f"{number(matching)} seed{'' if matching == 1 else 's'}"
    words = (
        f"<b>{number(free)}</b> of {seeds} {'has' if free == 1 else 'have'} no answer."
        if only_unanswered
        else f"<b>{seeds}</b>, answered or not."
    )
    if only_unanswered and matching and not free:
        words = f"None of {seeds} is left: each has an answer or is being asked."
    if counts["chosen"] < (free if only_unanswered else matching):
        words += f" The oldest {number(counts['chosen'])} are asked."
    if requests:
        words += f" That makes {number(requests)} request{'' if requests == 1 else 's'}."
    return f'<p class="ds-count">{words}</p>'


def preview_html(first: dict[str, Any] | None) -> str:
    """The first request as text."""
    if first is None:
        return note("No seed is chosen.")
    head = ""
    if "url" in first:
        lines = [f"{first['method']} {first['url']}"]
        lines += [f"{name}: {value}" for name, value in first["headers"].items()]
        head, first = "\n".join(lines) + "\n\n", first["body"]
    text = head + json.dumps(first, indent=2, ensure_ascii=False)
    return f'<pre class="ds-request ds-mono">{esc(text, 8000)}</pre>'

"""A generation while it runs: progress, the latest replies, failures, and what can be done."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.records import Job, JobState, Pair
from distill_studio.generate.recipes import RECIPES
from distill_studio.ui.bench import scripts
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded, in_view
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import chip, duration, esc, number, table
from distill_studio.ui.panels.generation_html import asked_html, asked_link
from distill_studio.ui.panels.jobs import job_html

_BUSY_S, _IDLE_S = 1.0, 5.0  # idle ticks show what another browser starts
_LATEST = 10


@dataclass(frozen=True)
class LivePanel:
    """The panel's components and its `poll(request, workspace, chosen job)`."""

    chosen: gr.Dropdown
    outputs: list[Any]
    poll: Callable[..., Any]


def build_live_panel(ui: Ui) -> LivePanel:
    """Make the panel. It follows the newest generation unless an older one is chosen."""
    with gr.Column(visible=False, elem_id="generate-live-panel") as panel:
        with gr.Row(elem_classes="ds-live-head"):
            gr.HTML('<h3 class="ds-h3">What happens</h3>')
            chosen = gr.Dropdown(
                [("The newest generation", "")],
                value="",
                show_label=False,
                container=False,
                elem_id="generate-job",
                min_width=260,
            )
        view = gr.HTML(elem_id="generate-live", apply_default_css=False)
        with gr.Row(elem_classes="ds-live-actions"):
            stop = gr.Button("Stop", size="sm", visible=False, elem_id="generate-stop")
            resume = gr.Button("Resume", size="sm", visible=False, elem_id="generate-resume")
            review = gr.Button("Review the answers", size="sm", elem_id="generate-to-review")
        with gr.Row(visible=False, elem_id="generate-key-row", elem_classes="ds-fields") as key_row:
            teacher = gr.Dropdown([], label="Teacher", elem_id="generate-key-teacher")
            key = gr.Textbox(label="Its key", type="password", elem_id="generate-key-again")
            give = gr.Button("Go on", variant="primary", elem_id="generate-key-give")
        replies = gr.HTML(
            elem_id="generate-replies",
            apply_default_css=False,
            js_on_load=scripts("bench.js", "made.js", "replies.js"),
        )
    with gr.Accordion(
        "What teachers were asked", open=False, visible=False, elem_id="generate-asked"
    ) as asked:
        ledger = gr.HTML(elem_id="generate-ledger", apply_default_css=False)
    timer = gr.Timer(_IDLE_S, active=False)
    outputs = [panel, chosen, view, stop, resume, key_row, teacher, replies, asked, timer]

    def poll(request: gr.Request, workspace: str, chosen_id: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        jobs = opened.generate.jobs(actor)
        job = next((j for j in jobs if j.id == chosen_id), jobs[0] if jobs else None)
        if job is None:
            is_asked = opened.generate.trials(actor) or opened.generate.asked(actor)
            was_asked = gr.Accordion(visible=bool(is_asked))
            nothing = [gr.skip()] * 7
            return (gr.Column(visible=False), *nothing, was_asked, gr.Timer(_IDLE_S, active=True))
        return (
            gr.Column(visible=True),
            gr.Dropdown(job_choices(jobs), visible=len(jobs) > 1),
            live_html(job, opened.generate.reasons(actor, job.id), opened.jobs.ahead(job))
            + asked_html(opened.generate.asked(actor, job.id)),
            *_buttons(job),
            replies_html(opened.generate.recent(actor, job.id, _LATEST), workspace),
            gr.Accordion(visible=True),
            gr.Timer(_BUSY_S if job.state.is_active else _IDLE_S, active=True),
        )

    @guarded
    def on_asked(request: gr.Request, workspace: str) -> str:
        opened, actor = ui.open(request, workspace)
        totals = opened.generate.asked(actor)
        shown = asked_html(totals, empty="Nothing yet.")
        return shown + asked_link(opened.generate.asked_csv(actor)) if totals else shown

    def act(request: gr.Request, workspace: str, chosen_id: str, verb: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        newest = next(iter(opened.generate.jobs(actor, limit=1)), None)
        job_id = chosen_id or in_view(newest, "run").id
        if verb == "stop":
            opened.jobs.cancel(actor, job_id)
        elif opened.jobs.get(actor, job_id).state is JobState.DONE:
            opened.generate.retry(actor, job_id)
        else:
            opened.jobs.resume(actor, job_id)
        return poll(request, workspace, chosen_id)

    @guarded
    def on_stop(request: gr.Request, workspace: str, chosen_id: str) -> tuple[Any, ...]:
        return act(request, workspace, chosen_id, "stop")

    @guarded
    def on_resume(request: gr.Request, workspace: str, chosen_id: str) -> tuple[Any, ...]:
        return act(request, workspace, chosen_id, "resume")

    @guarded
    def on_give(
        request: gr.Request, workspace: str, chosen_id: str, name: str, secret: str
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        opened.teachers.key(actor, name, secret or "")
        return ("", *poll(request, workspace, chosen_id))

    where = [ui.workspace, chosen]
    asked.expand(on_asked, ui.workspace, ledger, **QUIET)
    timer.tick(guarded(poll), where, outputs, **QUIET)
    chosen.input(guarded(poll), where, outputs, **LATEST)
    stop.click(on_stop, where, outputs, **SAYING)
    resume.click(on_resume, where, outputs, **SAYING)
    give.click(on_give, [*where, teacher, key], [key, *outputs], **SAYING)
    review.click(lambda: gr.Tabs(selected="review"), None, ui.tabs, **QUIET)
    return LivePanel(chosen, outputs, poll)


def job_choices(jobs: Sequence[Job]) -> list[tuple[str, str]]:
    """Generations to choose from, the newest by the empty id."""
    older = [(f"{job.created_at:%d %b %H:%M} · {job.title}", job.id) for job in jobs]
    return [("The newest generation", ""), *older]


def live_html(job: Job, reasons: Sequence[dict[str, Any]], ahead: Job | None = None) -> str:
    """Progress, figures and the reasons of failures; `ahead` is what the job waits for."""
    result = job.result
    recipe = RECIPES.get(job.params.get("recipe", ""))
    is_verified = recipe is not None and recipe.prompts.is_verified
    kept, lost = ("verified", "not kept") if is_verified else ("answered", "failed")
    figures = [
        (kept, number(result.get("answered"))),
        (lost, number(result.get("failed"))),
        ("tokens written", number(result.get("tokens"))),
    ]
    if recipe is not None and recipe.prompts.needs_judge:
        figures.append(("preferences", number(result.get("preferences"))))
    if result.get("cost_usd"):
        figures.append(("USD", f"{result['cost_usd']:.4f}"))
    if job.state.is_active:
        figures.append(("tokens/s", number(result.get("tokens_per_s"))))
        figures.append(("left", duration(result.get("eta_s"))))
    tiles = "".join(f"<div><b>{esc(value)}</b>{esc(name)}</div>" for name, value in figures)
    shown = job.model_copy(update={"note": ""})  # its figures stand below
    failed = table(
        [lost.capitalize(), "Teacher", "Why"],
        [[number(r["count"]), esc(r["teacher"]), _why_html(r)] for r in reasons],
    )
    return (
        f'<div class="ds-card ds-live">{job_html(shown, ahead)}'
        f'<div class="ds-gen-figures">{tiles}</div></div>'
        f"{failed}"
    )


def _why_html(reason: dict[str, Any]) -> str:
    """A reason, with one of the replies behind it to unfold."""
    why = esc(reason["reason"], 400)
    if not reason.get("text"):
        return why
    reply = f'<div class="ds-txt ds-reply-text">{esc(reason["text"], 4000)}</div>'
    return f"{why}<details><summary>One of these replies</summary>{reply}</details>"


def replies_html(pairs: Sequence[Pair], workspace: str) -> str:
    """The latest answers, newest first, as text; `replies.js` fills how each was made."""
    if not pairs:
        return ""
    items = "".join(
        f'<li><div class="ds-reply-top"><span class="ds-reply-prompt">{esc(p.prompt, 160)}</span>'
        f"{chip(p.teacher)}{chip('cut off', 'warn') if p.finish_reason == 'length' else ''}</div>"
        f'<div class="ds-txt ds-reply-text">{esc(p.answer, 600)}</div>'
        f'<details data-made="{esc(p.id)}" data-workspace="{esc(workspace)}">'
        '<summary>How this was made</summary><div class="ds-made"></div></details></li>'
        for p in pairs
    )
    return (
        '<h3 class="ds-h3">Latest answers</h3>'
        f'<ol class="ds-replies" aria-live="polite">{items}</ol>'
    )


def _buttons(job: Job) -> tuple[Any, ...]:
    can_retry = job.state is JobState.DONE and bool(job.result.get("failed"))
    can_resume = job.state in (JobState.CANCELLED, JobState.FAILED)
    needs_key = job.state is JobState.NEEDS_KEY
    names = [job.waits_for] if job.waits_for else list(job.params.get("teachers", []))
    return (
        gr.Button(visible=job.state.is_active and not job.cancel_requested),
        gr.Button("Retry the failed" if can_retry else "Resume", visible=can_retry or can_resume),
        gr.Row(visible=needs_key),
        gr.Dropdown(names, value=next(iter(names), None)) if needs_key else gr.skip(),
    )

"""A dry run on three seeds: what was sent, what came, what would be stored."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.records import Job, JobState
from distill_studio.services.generation_trial import TriedPair, TriedSeed, TriedStep
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET, SAYING
from distill_studio.ui.html import chip, counted, esc, note
from distill_studio.ui.panels.jobs import job_html

_BUSY_S = 1.0


@dataclass(frozen=True)
class TrialPanel:
    """The panel's components and its `poll(request, workspace)`."""

    outputs: list[Any]
    ticked: Any  # the event of each look at a dry run that goes on
    poll: Callable[..., Any]


def build_trial_panel(ui: Ui) -> TrialPanel:
    """Make the panel: hidden until there is a dry run."""
    with gr.Column(visible=False, elem_id="generate-trial-panel") as panel:
        with gr.Row(elem_classes="ds-live-head"):
            gr.HTML('<h3 class="ds-h3">Dry run</h3>')
            stop = gr.Button(
                "Stop",
                size="sm",
                visible=False,
                scale=0,
                min_width=110,
                elem_id="generate-try-stop",
            )
        view = gr.HTML(elem_id="generate-trial", apply_default_css=False)
    timer = gr.Timer(_BUSY_S, active=False)
    outputs = [panel, view, stop, timer]

    def poll(request: gr.Request, workspace: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        job = next(iter(opened.generate.trials(actor)), None)
        if job is None:
            return gr.Column(visible=False), "", gr.skip(), gr.Timer(active=False)
        is_active = job.state.is_active
        runs = opened.generate.jobs(actor, limit=1)
        is_past = bool(runs) and runs[0].created_at > job.created_at
        return (
            gr.Column(visible=True),
            trial_html(job, is_past, opened.jobs.ahead(job)),
            gr.Button(visible=is_active),
            gr.Timer(active=is_active),
        )

    @guarded
    def on_stop(request: gr.Request, workspace: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        for job in opened.generate.trials(actor):
            opened.jobs.cancel(actor, job.id)
        return poll(request, workspace)

    ticked = timer.tick(guarded(poll), ui.workspace, outputs, **QUIET)
    stop.click(on_stop, ui.workspace, outputs, **SAYING)
    return TrialPanel(outputs, ticked, poll)


def trial_html(job: Job, is_past: bool = False, ahead: Job | None = None) -> str:
    """The newest dry run: its state, then a block for each seed; folded after a run began."""
    if job.state is not JobState.DONE:
        return f'<div class="ds-card">{job_html(job, ahead)}</div>'
    tried = [TriedSeed(**each) for each in job.result.get("tried", [])]
    kept = sum(len(each.pairs) for each in tried)
    words = f"{counted(kept, 'answer')} from {counted(len(tried), 'seed')}; nothing is stored."
    head = f"{job.title}: {words}"
    seeds = f'<ol class="ds-replies">{"".join(map(_seed_html, tried))}</ol>'
    if is_past:
        return note(head) + f'<details class="ds-past"><summary>Show it</summary>{seeds}</details>'
    return note(head) + seeds


def _seed_html(tried: TriedSeed) -> str:
    count = len(tried.pairs)
    label = (
        chip("nothing kept", "warn") if tried.failure else chip(counted(count, "answer"), "good")
    )
    top = f'<span class="ds-reply-prompt">{esc(tried.prompt, 200)}</span>{label}'
    parts = [f'<div class="ds-reply-top">{top}</div>']
    if tried.failure:
        parts.append(note(tried.failure, "warn"))
    if tried.failed_text:
        parts.append(_unfold("The reply", _text(tried.failed_text)))
    if tried.preferences:
        parts.append(note(f"{counted(tried.preferences, 'preference')} of the judge."))
    elif tried.no_preference:
        parts.append(note(f"No preference: {tried.no_preference}", "warn"))
    parts += [_pair_html(pair, tried.prompt) for pair in tried.pairs]
    if tried.steps:
        steps = "".join(_step_html(step) for step in tried.steps)
        parts.append(_unfold(counted(len(tried.steps), "request"), f"<ol>{steps}</ol>"))
    return f"<li>{''.join(parts)}</li>"


def _pair_html(pair: TriedPair, seed_prompt: str) -> str:
    before = [m for m in pair.messages if m.content != seed_prompt]
    turns = "".join(
        f'<div class="ds-tried-turn"><b>{esc(m.role)}</b>{_text(m.content)}</div>' for m in before
    )
    facts = "".join(
        chip(words)
        for words in (
            pair.topic,
            "" if pair.judge_score is None else f"judged {pair.judge_score:g}",
            pair.teacher,
        )
        if words
    )
    answer = f'<div class="ds-tried-turn"><b>answer {facts}</b>{_text(pair.answer)}</div>'
    return f'<div class="ds-tried">{turns}{answer}</div>'


def _step_html(step: TriedStep) -> str:
    sent = "".join(
        f'<div class="ds-tried-turn"><b>{esc(m.role)}</b>{_text(m.content)}</div>'
        for m in step.sent
    )
    reply = f'<div class="ds-tried-turn"><b>reply</b>{_text(step.reply)}</div>'
    return f"<li><code>{esc(step.step)}</code> {chip(step.teacher)}{sent}{reply}</li>"


def _unfold(label: str, inner: str) -> str:
    return f"<details><summary>{esc(label)}</summary>{inner}</details>"


def _text(text: str) -> str:
    return f'<div class="ds-txt ds-reply-text">{esc(text, 6000)}</div>'

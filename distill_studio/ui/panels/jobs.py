"""A live list of jobs: polls while something runs, stays quiet otherwise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from distill_studio.core.records import Job, JobState
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.html import chip, duration, esc, note, number, progress_bar

_CHIPS = {
    JobState.QUEUED: ("waiting", "info"),
    JobState.RUNNING: ("running", "info"),
    JobState.NEEDS_KEY: ("needs a key", "warn"),
    JobState.DONE: ("done", "good"),
    JobState.FAILED: ("failed", "bad"),
    JobState.CANCELLED: ("stopped", "warn"),
}


def job_html(job: Job) -> str:
    """One job as a block: title, state, bar, note, error."""
    label, kind = _CHIPS[job.state]
    top = f"<strong>{esc(job.title or job.kind)}</strong>{chip(label, kind)}"
    if job.total:
        top += f'<span class="ds-note">{number(job.done)} of {number(job.total)}</span>'
    if job.started_at:
        end = job.ended_at or datetime.now(UTC)
        top += f'<span class="ds-note">{duration((end - job.started_at).total_seconds())}</span>'
    parts = [f'<div class="ds-job-top">{top}</div>']
    if job.state.is_active:
        parts.append(progress_bar(job.done, job.total, job.title))
    if job.note and job.state.is_active:
        parts.append(note(job.note))
    if job.error:
        parts.append(note(job.error, "bad"))
    return f'<div class="ds-job">{"".join(parts)}</div>'


@dataclass(frozen=True)
class JobsPanel:
    """The panel's components and its `poll(request, workspace)`, for a tab's `show`."""

    view: gr.HTML
    timer: gr.Timer
    poll: Callable[..., Any]

    @property
    def outputs(self) -> list[Any]:
        """What `poll` fills: view and timer."""
        return [self.view, self.timer]


def build_jobs_panel(
    ui: Ui,
    kinds: Sequence[str],
    elem_id: str,
    *,
    limit: int = 3,
    every_s: float = 1.0,
    empty: str = "",
) -> JobsPanel:
    """A panel over the newest jobs of `kinds`, with a Stop and a Resume button."""
    view = gr.HTML(elem_id=elem_id)
    with gr.Row():
        stop = gr.Button(
            "Stop", size="sm", elem_id=f"{elem_id}-stop", visible=False, scale=0, min_width=110
        )
        resume = gr.Button(
            "Resume", size="sm", elem_id=f"{elem_id}-resume", visible=False, scale=0, min_width=110
        )
    timer = gr.Timer(every_s, active=False)

    def poll(request: gr.Request, workspace: str) -> tuple[Any, Any]:
        opened, actor = ui.open(request, workspace)
        jobs = opened.jobs.page(actor, kinds=list(kinds), limit=limit)
        html = "".join(job_html(job) for job in jobs)
        is_active = any(
            job.state.is_active for job in opened.jobs.page(actor, kinds=list(kinds), active=True)
        )
        shown = f'<div class="ds-jobs">{html}</div>' if jobs else note(empty)
        return shown, gr.Timer(active=is_active)

    def buttons(request: gr.Request, workspace: str) -> tuple[Any, Any]:
        opened, actor = ui.open(request, workspace)
        newest = opened.jobs.page(actor, kinds=list(kinds), limit=1)
        state = newest[0].state if newest else None
        can_resume = state in (JobState.CANCELLED, JobState.FAILED, JobState.NEEDS_KEY)
        is_active = any(
            job.state.is_active for job in opened.jobs.page(actor, kinds=list(kinds), active=True)
        )
        return gr.Button(visible=is_active), gr.Button(visible=can_resume)

    @guarded
    def on_stop(request: gr.Request, workspace: str) -> tuple[Any, Any]:
        opened, actor = ui.open(request, workspace)
        for job in opened.jobs.page(actor, kinds=list(kinds), active=True):
            opened.jobs.cancel(actor, job.id)
        return poll(request, workspace)

    @guarded
    def on_resume(request: gr.Request, workspace: str) -> tuple[Any, Any]:
        opened, actor = ui.open(request, workspace)
        for job in opened.jobs.page(actor, kinds=list(kinds), limit=1):
            opened.jobs.resume(actor, job.id)
        return poll(request, workspace)

    outputs = [view, timer]
    quiet: dict[str, Any] = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    timer.tick(guarded(poll), ui.workspace, outputs, **quiet)
    view.change(guarded(buttons), ui.workspace, [stop, resume], **quiet)
    stop.click(on_stop, ui.workspace, outputs, **quiet)
    resume.click(on_resume, ui.workspace, outputs, **quiet)
    return JobsPanel(view, timer, poll)

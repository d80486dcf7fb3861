"""A live list of jobs: polls while something runs, stays quiet otherwise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from distill_studio.core.records import Job, JobState
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET
from distill_studio.ui.html import chip, duration, esc, note, number, progress_bar

_CHIPS = {
    JobState.QUEUED: ("waiting", "info"),
    JobState.RUNNING: ("running", "info"),
    JobState.NEEDS_KEY: ("needs a key", "warn"),
    JobState.DONE: ("done", "good"),
    JobState.FAILED: ("failed", "bad"),
    JobState.CANCELLED: ("stopped", "warn"),
}


def job_html(job: Job, ahead: Job | None = None) -> str:
    """One job as a block: title, state, bar, note, error.

    Args:
        job: The job.
        ahead: What runs in its lane while it waits, from `JobsService.ahead`.
    """
    is_leaving = job.state is JobState.RUNNING and job.cancel_requested
    label, kind = ("stopping", "warn") if is_leaving else _CHIPS[job.state]
    top = f"<strong>{esc(job.title or job.kind)}</strong>{chip(label, kind)}"
    if job.total:
        top += f'<span class="ds-note">{number(job.done)} of {number(job.total)}</span>'
    if job.started_at:
        end = job.ended_at or datetime.now(UTC)
        top += f'<span class="ds-note">{duration((end - job.started_at).total_seconds())}</span>'
    parts = [f'<div class="ds-job-top">{top}</div>']
    if job.state.is_active:
        parts.append(progress_bar(job.done, job.total, job.title))
    if ahead is not None:
        parts.append(note(f"Waits until this has ended: {ahead.title or ahead.kind}."))
    if job.note and job.state.is_active:
        parts.append(note(job.note))
    if job.error:
        parts.append(note(job.error, "bad"))
    return f'<div class="ds-job">{"".join(parts)}</div>'


_RESUMES = (JobState.CANCELLED, JobState.FAILED, JobState.NEEDS_KEY)


@dataclass(frozen=True)
class JobsPanel:
    """The panel's components, and how they are filled.

    Attributes:
        state: Changes (`state.change`) when the newest job begins, waits or ends, and only then;
            an HTML component's own change event comes again and again in a tab that fills itself.
        look: `look(request, workspace)` gives the values of `outputs`.
    """

    view: gr.HTML
    stop: gr.Button
    resume: gr.Button
    timer: gr.Timer
    state: gr.State
    look: Callable[[gr.Request, str], tuple[Any, ...]]

    @property
    def outputs(self) -> list[Any]:
        """What `poll` and the timer fill."""
        return [*self.shown, self.state]

    @property
    def shown(self) -> list[Any]:
        """What `show` fills."""
        return [self.view, self.stop, self.resume, self.timer]

    def poll(self, request: gr.Request, workspace: str) -> tuple[Any, ...]:
        """Values of `outputs` for what starts a job: the timer looks once at least, and tells."""
        *shown, _, _ = self.look(request, workspace)
        return (*shown, gr.Timer(active=True), gr.skip())

    def show(self, request: gr.Request, workspace: str) -> tuple[Any, ...]:
        """Values of `shown` for a tab that opens; a timer that runs stops by itself."""
        *shown, timer, _ = self.look(request, workspace)
        return (*shown, timer if timer.active else gr.skip())


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
    state = gr.State("")

    def look(request: gr.Request, workspace: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        jobs = opened.jobs.page(actor, kinds=list(kinds), limit=limit)
        active = opened.jobs.page(actor, kinds=list(kinds), limit=1, active=True)
        html = "".join(job_html(job, opened.jobs.ahead(job)) for job in jobs)
        newest = jobs[0].state if jobs else None
        return (
            f'<div class="ds-jobs">{html}</div>' if jobs else note(empty),
            gr.Button(visible=bool(active)),
            gr.Button(visible=newest in _RESUMES),
            gr.Timer(active=bool(active)),
            f"{jobs[0].id} {newest}" if jobs else "",
        )

    panel = JobsPanel(view, stop, resume, timer, state, look)

    @guarded
    def on_stop(request: gr.Request, workspace: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        for job in opened.jobs.page(actor, kinds=list(kinds), active=True):
            opened.jobs.cancel(actor, job.id)
        return panel.poll(request, workspace)

    @guarded
    def on_resume(request: gr.Request, workspace: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        for job in opened.jobs.page(actor, kinds=list(kinds), limit=1):
            opened.jobs.resume(actor, job.id)
        return panel.poll(request, workspace)

    # A State tells of its change only where the event that changed it went through the queue.
    queued: dict[str, Any] = {**QUIET, "queue": True, "concurrency_limit": None}
    timer.tick(guarded(look), ui.workspace, panel.outputs, **queued)
    stop.click(on_stop, ui.workspace, panel.outputs, **QUIET)
    resume.click(on_resume, ui.workspace, panel.outputs, **QUIET)
    return panel

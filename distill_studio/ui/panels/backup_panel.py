"""Home's word on the backup: how it stands, a warning where nothing lasts, the restore drill."""

from datetime import UTC, datetime
from typing import Any

import gradio as gr

from distill_studio.core.actor import Role
from distill_studio.core.records.backup import BackupState
from distill_studio.services.backup import DRILL_KIND, Drill
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import QUIET, SAYING
from distill_studio.ui.html import chip, duration, esc, note, number, size, table
from distill_studio.ui.panels.jobs import build_jobs_panel

_LOOK_EVERY_S = 5.0
AT_RISK = (
    "<strong>Nothing here outlives a restart of this Space.</strong> Its data folder lies on the"
    " container's own disk. Make a private dataset repository the backup: in the Space's settings"
    " set the variable <code>DISTILL_STUDIO_BACKUP</code> to <code>hf://datasets/you/name</code>"
    " and the secret <code>HF_TOKEN</code> to a token that may write to it; or mount a disk and set"
    " <code>DISTILL_STUDIO_HOME</code> to a folder on it."
)
ON_NETWORK = (
    "The data folder lies on mounted storage that is no disk; a database there may be torn. Let"
    " <code>DISTILL_STUDIO_HOME</code> be a folder of the container and give the mounted folder as"
    " <code>DISTILL_STUDIO_BACKUP</code>."
)
_CHIPS = {"ok": ("backed up", "good"), "behind": ("behind", "bad"), "refused": ("off", "bad")}


class BackupPanel:
    """A line at the top of Home and, by `build_drill`, a part further down; `show` fills both."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        self._line = gr.HTML(elem_id="home-backup", apply_default_css=False)
        self._timer = gr.Timer(_LOOK_EVERY_S, active=False)
        self._timer.tick(guarded(self._look), ui.workspace, self._line, **QUIET)

    def build_drill(self) -> None:
        """The restore drill, for owners."""
        ui = self._ui
        with gr.Accordion(
            "Restore drill", open=True, visible=False, elem_id="home-backup-drill"
        ) as self._drill:
            self._found = gr.HTML(elem_id="home-backup-found", apply_default_css=False)
            start = gr.Button(
                "Try a restore", size="sm", elem_id="home-backup-try", scale=0, min_width=130
            )
            self._jobs = build_jobs_panel(ui, [DRILL_KIND], "home-backup-jobs", limit=1)
        start.click(guarded(self._start), ui.workspace, self._jobs.outputs, **SAYING)
        self._jobs.state.change(guarded(self._look_found), ui.workspace, self._found, **QUIET)

    @property
    def outputs(self) -> list[Any]:
        """What `show` fills."""
        return [self._line, self._timer, self._drill, self._found, *self._jobs.shown]

    def show(self, request: gr.Request, workspace: str) -> tuple[Any, ...]:
        """Values of `outputs`."""
        opened, actor = self._ui.open(request, workspace)
        state = opened.backup.state(actor)
        may_drill = state.is_on and actor.role >= Role.OWNER
        return (
            backup_html(state, datetime.now(UTC)),
            gr.Timer(active=state.is_on),
            gr.Accordion(visible=may_drill),
            drill_html(opened.backup.last_drill(actor)) if may_drill else "",
            *self._jobs.show(request, workspace),
        )

    def _look(self, request: gr.Request, workspace: str) -> str:
        opened, actor = self._ui.open(request, workspace)
        return backup_html(opened.backup.state(actor), datetime.now(UTC))

    def _look_found(self, request: gr.Request, workspace: str) -> str:
        opened, actor = self._ui.open(request, workspace)
        return drill_html(opened.backup.last_drill(actor)) if actor.role >= Role.OWNER else ""

    def _start(self, request: gr.Request, workspace: str) -> tuple[Any, ...]:
        opened, actor = self._ui.open(request, workspace)
        opened.backup.drill(actor)
        return self._jobs.poll(request, workspace)


def backup_html(state: BackupState, now: datetime) -> str:
    """How the backup stands; '' where there is none and none is needed."""
    parts = []
    if state.is_at_risk:
        parts.append(f'<p class="ds-note bad" role="alert">{AT_RISK}</p>')
    if state.is_space and state.disk == "network":
        parts.append(f'<p class="ds-note warn">{ON_NETWORK}</p>')
    if state.is_on:
        label, kind = _CHIPS.get(state.status, ("starting", "info"))
        parts.append(
            f'<p class="ds-note"><strong>Backup</strong> {chip(label, kind)}'
            f" {esc(_words(state, now))} <code>{esc(state.place)}</code></p>"
        )
        if state.message:
            since = f"Since {state.since:%H:%M} UTC: " if state.since else ""
            parts.append(note(f"{since}{state.message} {state.hint}".strip(), "bad"))
        if state.restored:
            parts.append(note(state.restored))
        parts += [note(text, "bad") for text in state.problems]
        if state.left_out:
            parts.append(note(f"Too big for the backup: {', '.join(state.left_out)}.", "warn"))
    return (
        f'<section class="ds-card" aria-label="Backup">{"".join(parts)}</section>' if parts else ""
    )


def _words(state: BackupState, now: datetime) -> str:
    if state.backed_up_at is None:
        return "Nothing is in the backup yet." if state.status != "starting" else "Starting."
    ago = duration((now - state.backed_up_at).total_seconds())
    told = f"All decisions and votes as of {ago} ago are in the backup"
    if state.whole_at is not None:
        told += f", a whole copy of {duration((now - state.whole_at).total_seconds())} ago"
    return f"{told}:"


def drill_html(drill: Drill | None) -> str:
    """What the last restore drill found."""
    if drill is None:
        return note(
            "A restore drill puts the backup into a temporary folder, checks every file by its hash"
            " and compares the counts. Nothing here changes."
        )
    kind = "good" if drill.is_well else "bad"
    said = (
        f"Restore of {drill.made_at[:16].replace('T', ' ')} UTC: {number(drill.files)} files"
        f" ({size(drill.size)}) and {number(drill.parts)} newer parts came back in"
        f" {duration(drill.seconds) if drill.seconds >= 10 else f'{drill.seconds:.1f} s'}"
    )
    said += ", every hash was right." if not drill.problems else ", not all as it was written."
    if drill.missing:
        said += f" {number(drill.missing)} decisions and votes are not in the backup."
    kinds = ("pairs", "decisions", "votes", "comparison_votes")
    shown = [r for r in drill.rows if r.table in kinds and (r.back or r.here)]
    cells = [
        [esc(r.workspace), esc(r.table.replace("_", " ")), number(r.back), number(r.here)]
        for r in shown
    ]
    return (
        note(said, kind)
        + "".join(note(text, "bad") for text in drill.problems)
        + table(["Workspace", "Rows", "Came back", "Here"], cells, caption="Restore drill")
    )
